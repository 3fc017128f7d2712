#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "common/files.h"
#include "common/status.h"

namespace edged {
namespace {

constexpr auto kBurst = std::chrono::milliseconds(20);
constexpr auto kReturnCheck = std::chrono::seconds(1);

// Not IN_CREATE: a file that is still being written would be read in part.
constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
                             IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR;

class InotifyWatch : public FolderWatch {
 public:
  InotifyWatch(EventLoop& loop, std::string folder,
               std::function<void()> changed)
      : loop_(loop), folder_(std::move(folder)), changed_(std::move(changed)) {}
  ~InotifyWatch() override {
    if (inotify_) loop_.Unwatch(inotify_.get());
    loop_.Cancel(burst_);
    loop_.Cancel(return_check_);
  }

  absl::Status Open() {
    inotify_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_) return ErrnoStatus(errno, "inotify_init1");
    if (!Add()) return ErrnoStatus(errno, folder_);
    return loop_.Watch(inotify_.get(), EPOLLIN, [this](uint32_t) { Read(); });
  }

 private:
  bool Add() {
    return inotify_add_watch(inotify_.get(), folder_.c_str(), kEvents) >= 0;
  }

  void Read() {
    alignas(inotify_event) std::array<char, 4096> buffer;
    bool gone = false;
    ssize_t size = 0;
    while ((size = read(inotify_.get(), buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < size;) {
        const auto* event =
            reinterpret_cast<const inotify_event*>(buffer.data() + at);
        gone = gone || (event->mask & IN_IGNORED) != 0;
        if ((event->mask & IN_MOVE_SELF) != 0) {
          // What has another name now is another folder.
          inotify_rm_watch(inotify_.get(), event->wd);
        }
        at += static_cast<ssize_t>(sizeof *event + event->len);
      }
    }
    if (gone && return_check_ == 0) {
      return_check_ = loop_.Every(kReturnCheck, [this] { CheckReturn(); });
    }
    Changed();
  }

  // The folder was deleted or moved away; whoever makes it again means the same
  // one.
  void CheckReturn() {
    if (!Add()) return;
    loop_.Cancel(std::exchange(return_check_, 0));
    Changed();
  }

  void Changed() {
    if (burst_ != 0) return;
    burst_ = loop_.After(kBurst, [this] {
      burst_ = 0;
      const auto changed = changed_;  // it may destroy this watch
      changed();
    });
  }

  EventLoop& loop_;
  const std::string folder_;
  const std::function<void()> changed_;
  UniqueFd inotify_;
  EventLoop::TimerId burst_ = 0;         // runs while changes come in
  EventLoop::TimerId return_check_ = 0;  // runs while the folder is gone
};

}  // namespace

absl::StatusOr<std::unique_ptr<FolderWatch>> FolderWatch::Start(
    EventLoop& loop, const std::string& folder, std::function<void()> changed) {
  auto watch = std::make_unique<InotifyWatch>(loop, folder, std::move(changed));
  RETURN_IF_ERROR(watch->Open());
  return watch;
}

}  // namespace edged
