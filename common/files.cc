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
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return ErrnoStatus(errno, path);
  std::string content;
  std::array<char, 1 << 16> part;
  while (true) {
    const ssize_t size = read(fd.get(), part.data(), part.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoStatus(errno, path);
    if (size == 0) return content;
    content.append(part.data(), static_cast<size_t>(size));
    if (content.size() > limit) {
      return absl::ResourceExhaustedError(
          fmt::format("{}: longer than {} bytes", path, limit));
    }
  }
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

absl::StatusOr<std::string> ReadChecksummed(const std::string& path) {
  ASSIGN_OR_RETURN(std::string file, ReadFile(path));
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

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()),
                                                   closedir);
  if (folder == nullptr) return ErrnoStatus(errno, path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(folder.get())) {
    struct stat found;
    // Links count as what they point to: a ConfigMap's files are links.
    if (fstatat(dirfd(folder.get()), entry->d_name, &found, 0) == 0 &&
        S_ISREG(found.st_mode)) {
      names.emplace_back(entry->d_name);
    }
    errno = 0;
  }
  if (errno != 0) return ErrnoStatus(errno, path);
  std::ranges::sort(names);
  return names;
}

}  // namespace edged
