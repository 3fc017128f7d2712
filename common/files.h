#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/unique_fd.h"

namespace edged {

// The whole file; NotFound when it is missing, OutOfRange above `limit` bytes,
// FailedPrecondition for what is no file: a pipe or a device may keep its
// reader for ever.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     size_t limit = 64 << 20);
// The same, but a pipe is read to its end, too.
absl::StatusOr<std::string> ReadFileOrPipe(const std::string& path,
                                           size_t limit = 64 << 20);

// What changes with a file's content, also when another file takes its name.
struct FileVersion {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  std::chrono::nanoseconds changed{};
  // Old enough that a change to come will be seen in `changed`, whose clock is
  // a coarse one.
  bool settled = false;
  bool operator==(const FileVersion&) const = default;
};
absl::StatusOr<FileVersion> VersionOf(const std::string& path);

// Writes beside the file, syncs, and renames over it: a reader sees the old or
// the new content, also after a power cut. Makes missing parent folders (0700).
// A cut may leave ".NAME.XXXXXX" behind.
absl::Status WriteFileAtomically(const std::string& path,
                                 std::string_view content, mode_t mode = 0600);

// `content` with a header line that carries its SHA-256, and back. A damaged
// or cut file is DataLoss, and one of more than `limit` bytes.
absl::Status WriteChecksummed(const std::string& path,
                              std::string_view content);
absl::StatusOr<std::string> ReadChecksummed(const std::string& path,
                                            size_t limit = 64 << 20);

absl::Status RemoveFile(const std::string& path);  // OK when it is missing
absl::Status MakeFolders(const std::string& path, mode_t mode = 0700);
// A folder for us alone (0700). One that others may look into is closed when it
// is ours and holds nothing that they may read; the text warns of that, or of a
// folder that stays open. Empty: there is nothing to say.
absl::StatusOr<std::string> MakePrivateFolder(const std::string& path);
// Names (not paths) of the regular files and of links to such, sorted.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

// Holds an exclusive lock on PATH for as long as it lives; FailedPrecondition
// with the owner's pid when another process has it.
class FileLock {
 public:
  static absl::StatusOr<FileLock> Take(const std::string& path);
  // Waits for whoever has it, `patience` at most; blocks the thread.
  static absl::StatusOr<FileLock> TakeWithin(
      const std::string& path, std::chrono::milliseconds patience);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Calls `changed` on the loop thread when files in `folder` were written,
// renamed or removed (inotify), at most once per 20 ms burst. The folder must
// exist; when it goes and comes back it is found within a second. Ends when
// destroyed, which `changed` may do. Borrows the loop.
class FolderWatch {
 public:
  static absl::StatusOr<std::unique_ptr<FolderWatch>> Start(
      EventLoop& loop, const std::string& folder,
      std::function<void()> changed);
  virtual ~FolderWatch() = default;
};

}  // namespace edged
