#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "common/unique_fd.h"

// Network namespaces of a test's own; they go with their last process.

namespace edged::wireguard {

// While it lives, this thread is in a network namespace.
class Inside {
 public:
  explicit Inside(const UniqueFd& network)
      : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    REQUIRE(before_);
    REQUIRE(setns(network.get(), CLONE_NEWNET) == 0);
  }
  ~Inside() { setns(before_.get(), CLONE_NEWNET); }

 private:
  UniqueFd before_;
};

// A new network namespace; the thread stays where it is.
inline UniqueFd NewNetwork() {
  const UniqueFd before(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(unshare(CLONE_NEWNET) == 0);
  UniqueFd network(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(setns(before.get(), CLONE_NEWNET) == 0);
  return network;
}

// Runs a shell command in this thread's namespace and returns what it prints;
// it must succeed.
inline std::string Run(const std::string& command) {
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "re");
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 4096> bytes;
  while (const size_t size = std::fread(bytes.data(), 1, bytes.size(), pipe)) {
    text.append(bytes.data(), size);
  }
  const int status = pclose(pipe);
  INFO(command << ": " << text);
  REQUIRE(status == 0);
  return text;
}

}  // namespace edged::wireguard
