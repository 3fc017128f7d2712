#pragma once

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/unique_fd.h"

namespace edged::netlink {

// Puts this thread into a network namespace of its own, and back at the end.
class OwnNamespace {
 public:
  OwnNamespace()
      : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)),
        entered_(before_ && ::unshare(CLONE_NEWNET) == 0) {
    if (!entered_) {
      std::printf("SKIPPED: no network namespace of our own: %s\n",
                  std::strerror(errno));
    }
  }
  ~OwnNamespace() {
    if (entered_) ::setns(before_.get(), CLONE_NEWNET);
  }
  OwnNamespace(const OwnNamespace&) = delete;
  OwnNamespace& operator=(const OwnNamespace&) = delete;

  explicit operator bool() const { return entered_; }

 private:
  UniqueFd before_;
  bool entered_;
};

}  // namespace edged::netlink
