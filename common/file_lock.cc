#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "common/files.h"
#include "common/status.h"

namespace edged {
namespace {

// What the owner wrote: its pid, or nothing yet.
std::string Owner(int fd) {
  char text[32];
  const ssize_t size = pread(fd, text, sizeof text, 0);
  std::string_view owner(text, size > 0 ? static_cast<size_t>(size) : 0);
  owner = owner.substr(0, owner.find_first_not_of("0123456789"));
  return owner.empty() ? "another process" : fmt::format("process {}", owner);
}

}  // namespace

absl::StatusOr<FileLock> FileLock::Take(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                   S_IRUSR | S_IWUSR));
  // One that is there can be locked on a disk that went read-only, too.
  if (!fd && errno == EROFS) {
    fd.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  }
  if (!fd) return ErrnoStatus(errno, path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, path);
    return FailedPrecondition("{}: locked by {}", path, Owner(fd.get()));
  }
  // The pid is for people; a full or read-only disk does not make the lock
  // worse.
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd.get(), 0) == 0) {
    [[maybe_unused]] const ssize_t written =
        pwrite(fd.get(), pid.data(), pid.size(), 0);
  }
  return FileLock(std::move(fd));
}

absl::StatusOr<FileLock> FileLock::TakeWithin(
    const std::string& path, std::chrono::milliseconds patience) {
  constexpr auto kPause = std::chrono::milliseconds(2);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    auto lock = Take(path);
    if (!absl::IsFailedPrecondition(lock.status())) return lock;
    // A blocking flock() has no deadline, so it is asked again and again.
    if (std::chrono::steady_clock::now() >= deadline) return lock;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace edged
