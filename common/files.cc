#include "common/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "common/status.h"

namespace edged {
namespace {

constexpr std::string_view kChecksumHeader = "# edged sha256 ";

// The folder that holds `path`.
std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

absl::Status WriteAll(int fd, std::string_view content,
                      const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, path);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& folder) {
  const UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return ErrnoStatus(errno, folder);
  return absl::OkStatus();
}

absl::Status TooLong(const std::string& path, size_t limit) {
  return absl::OutOfRangeError(
      fmt::format("{}: longer than {} bytes", path, limit));
}

absl::StatusOr<std::string> ReadAll(const UniqueFd& fd, const std::string& path,
                                    size_t limit) {
  std::string content;
  std::array<char, 1 << 16> part;
  while (true) {
    const ssize_t size = read(fd.get(), part.data(), part.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoStatus(errno, path);
    if (size == 0) return content;
    content.append(part.data(), static_cast<size_t>(size));
    if (content.size() > limit) return TooLong(path, limit);
  }
}

std::string ChecksumOf(std::string_view content) {
  std::array<uint8_t, crypto_hash_sha256_BYTES> hash;
  crypto_hash_sha256(hash.data(),
                     reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  std::array<char, crypto_hash_sha256_BYTES * 2 + 1> text;
  sodium_bin2hex(text.data(), text.size(), hash.data(), hash.size());
  return text.data();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit) {
  // Opening a pipe would wait for somebody who writes.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return ErrnoStatus(errno, path);
  struct stat file;
  if (fstat(fd.get(), &file) != 0) return ErrnoStatus(errno, path);
  if (!S_ISREG(file.st_mode)) return FailedPrecondition("{}: not a file", path);
  if (file.st_size > 0 && static_cast<size_t>(file.st_size) > limit) {
    return TooLong(path, limit);
  }
  return ReadAll(fd, path, limit);
}

absl::StatusOr<std::string> ReadFileOrPipe(const std::string& path,
                                           size_t limit) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return ErrnoStatus(errno, path);
  return ReadAll(fd, path, limit);
}

absl::StatusOr<FileVersion> VersionOf(const std::string& path) {
  // Clocks of file systems tick every 10 ms at least; old ones, whole seconds.
  constexpr auto kTick = std::chrono::milliseconds(20);
  constexpr auto kCoarseTick = std::chrono::seconds(2);
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return ErrnoStatus(errno, path);
  const auto changed = std::chrono::seconds(file.st_ctim.tv_sec) +
                       std::chrono::nanoseconds(file.st_ctim.tv_nsec);
  const auto age =
      std::chrono::system_clock::now().time_since_epoch() - changed;
  return FileVersion{.device = file.st_dev,
                     .inode = file.st_ino,
                     .size = static_cast<uint64_t>(file.st_size),
                     .changed = changed,
                     .settled = age > (file.st_ctim.tv_nsec != 0
                                           ? std::chrono::nanoseconds(kTick)
                                           : kCoarseTick)};
}

absl::Status WriteFileAtomically(const std::string& path,
                                 std::string_view content, mode_t mode) {
  const std::string folder = FolderOf(path);
  RETURN_IF_ERROR(MakeFolders(folder));
  std::string beside = fmt::format("{}/.{}.XXXXXX", folder, NameOf(path));
  UniqueFd fd(mkostemp(beside.data(), O_CLOEXEC));
  if (!fd) return ErrnoStatus(errno, path);

  absl::Status status = WriteAll(fd.get(), content, path);
  if (status.ok() && fchmod(fd.get(), mode) != 0) {
    status = ErrnoStatus(errno, path);
  }
  if (status.ok() && fsync(fd.get()) != 0) status = ErrnoStatus(errno, path);
  if (status.ok() && rename(beside.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, path);
  }
  if (!status.ok()) {
    unlink(beside.c_str());
    return status;
  }
  return SyncFolder(folder);
}

absl::Status WriteChecksummed(const std::string& path,
                              std::string_view content) {
  return WriteFileAtomically(path, fmt::format("{}{}\n{}", kChecksumHeader,
                                               ChecksumOf(content), content));
}

absl::StatusOr<std::string> ReadChecksummed(const std::string& path,
                                            size_t limit) {
  auto content = ReadFile(path, limit);
  if (absl::IsOutOfRange(content.status())) {
    return absl::DataLossError(content.status().message());
  }
  ASSIGN_OR_RETURN(std::string file, std::move(content));
  const size_t end = file.find('\n');
  if (!file.starts_with(kChecksumHeader) || end == std::string::npos) {
    return absl::DataLossError(fmt::format("{}: no checksum in front", path));
  }
  const std::string checksum =
      file.substr(kChecksumHeader.size(), end - kChecksumHeader.size());
  file.erase(0, end + 1);
  if (ChecksumOf(file) != checksum) {
    return absl::DataLossError(
        fmt::format("{}: damaged, its checksum is another one", path));
  }
  return file;
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoStatus(errno, path);
}

absl::Status MakeFolders(const std::string& path, mode_t mode) {
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string folder = path.substr(0, end);
    if (mkdir(folder.c_str(), mode) == 0) continue;
    const int error = errno;
    struct stat found;
    // A read-only file system says EROFS before EEXIST.
    if (stat(folder.c_str(), &found) != 0) return ErrnoStatus(error, folder);
    if (!S_ISDIR(found.st_mode)) {
      return FailedPrecondition("{}: not a folder", folder);
    }
  }
  return absl::OkStatus();
}

namespace {

constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

// The name of something in the folder that others may use too; empty: none.
absl::StatusOr<std::string> FindShared(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()),
                                                   closedir);
  if (folder == nullptr) return ErrnoStatus(errno, path);
  while (const dirent* entry = readdir(folder.get())) {
    const std::string name = entry->d_name;
    struct stat found;
    if (name == "." || name == ".." ||
        fstatat(dirfd(folder.get()), entry->d_name, &found,
                AT_SYMLINK_NOFOLLOW) != 0) {
      continue;
    }
    if ((found.st_mode & kOthers) != 0 || found.st_uid != geteuid()) {
      return name;
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<std::string> MakePrivateFolder(const std::string& path) {
  RETURN_IF_ERROR(MakeFolders(path));
  struct stat found;
  if (stat(path.c_str(), &found) != 0) return ErrnoStatus(errno, path);
  if ((found.st_mode & kOthers) == 0) return "";
  const auto open = fmt::format("{}: others may look into it (mode {:04o})",
                                path, found.st_mode & 07777);
  if (found.st_uid != geteuid()) return open + ", and it is not ours to close";
  ASSIGN_OR_RETURN(const std::string shared, FindShared(path));
  if (!shared.empty()) {
    return fmt::format("{}, as into {} in it, so it stays open", open, shared);
  }
  if (chmod(path.c_str(), S_IRWXU) != 0) {
    return fmt::format("{}: {}", open,
                       Message(ErrnoStatus(errno, "closing it")));
  }
  return open + "; it is closed now (0700)";
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()),
                                                   closedir);
  if (folder == nullptr) return ErrnoStatus(errno, path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(folder.get())) {
    struct stat found;
    // Links count as what they point to: a ConfigMap's files are links.
    const bool unclear = entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN;
    if (entry->d_type == DT_REG ||
        (unclear &&
         fstatat(dirfd(folder.get()), entry->d_name, &found, 0) == 0 &&
         S_ISREG(found.st_mode))) {
      names.emplace_back(entry->d_name);
    }
    errno = 0;
  }
  if (errno != 0) return ErrnoStatus(errno, path);
  std::ranges::sort(names);
  return names;
}

}  // namespace edged
