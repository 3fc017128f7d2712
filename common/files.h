#pragma once

#include <sys/types.h>

#include <chrono>
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

// The whole file; NotFound when it is missing, ResourceExhausted above `limit`
// bytes.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     size_t limit = 64 << 20);

// Writes beside the file, syncs, and renames over it: a reader sees the old or
// the new content, also after a power cut. Makes missing parent folders (0700).
// A cut may leave ".NAME.XXXXXX" behind.
absl::Status WriteFileAtomically(const std::string& path,
                                 std::string_view content, mode_t mode = 0600);

// `content` with a header line that carries its SHA-256, and back. A damaged
// or cut file is DataLoss.
absl::Status WriteChecksummed(const std::string& path,
                              std::string_view content);
absl::StatusOr<std::string> ReadChecksummed(const std::string& path);

absl::Status RemoveFile(const std::string& path);  // OK when it is missing
absl::Status MakeFolders(const std::string& path, mode_t mode = 0700);
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
