#include "common/wireguard/detached_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "common/status.h"

namespace edged::wireguard {
namespace {

// What a script writes to its first argument, when it runs detached.
std::string RunScript(const std::string& script) {
  std::string path = "/tmp/edged-detached.XXXXXX";
  UniqueFd file(mkstemp(path.data()));
  REQUIRE(file);
  const auto process =
      StartDetached({"/bin/sh", "-c", "exec >\"$0\" 2>&1; " + script, path},
                    {"PATH=/usr/bin:/bin", "LOG_LEVEL=error"});
  REQUIRE(process.ok());
  pollfd ended{.fd = process->get(), .events = POLLIN};
  CHECK(poll(&ended, 1, 10'000) == 1);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  unlink(path.c_str());
  return text.str();
}

TEST_CASE("detached_process: it has nothing of ours", "[detached_process]") {
  // A descriptor that would be inherited, an ignored and a blocked signal.
  const UniqueFd leak(open("/dev/zero", O_RDONLY));
  REQUIRE(leak);
  const auto old_handler = signal(SIGPIPE, SIG_IGN);
  sigset_t term;
  sigset_t old_mask;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, &old_mask);
  setenv("EDGED_TEST_SECRET", "x", 1);

  CHECK(RunScript("pwd; exec readlink /proc/self/fd/0") == "/\n/dev/null\n");
  // 3 is the folder that ls itself reads.
  CHECK(RunScript("exec ls /proc/self/fd") == "0\n1\n2\n3\n");
  CHECK(RunScript("exec grep -E '^Sig(Blk|Ign)' /proc/self/status") ==
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  // The shell itself adds PWD.
  CHECK(RunScript("exec env | sort") ==
        "LOG_LEVEL=error\nPATH=/usr/bin:/bin\nPWD=/\n");

  sigprocmask(SIG_SETMASK, &old_mask, nullptr);
  signal(SIGPIPE, old_handler);
  unsetenv("EDGED_TEST_SECRET");
}

TEST_CASE("detached_process: it is in a session of its own, and not our child",
          "[detached_process]") {
  std::istringstream text(RunScript(
      "exec cut -d' ' -f4,5,6 /proc/self/stat"));  // parent, group, session
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  REQUIRE(text >> parent >> group >> session);
  CHECK(parent != getpid());
  CHECK(group != getpgrp());
  CHECK(session != getsid(0));
}

TEST_CASE("detached_process: says why a program cannot be started",
          "[detached_process]") {
  const auto missing = StartDetached({"/nonexistent/program"}, {});
  CHECK(absl::IsNotFound(missing.status()));
  CHECK(Message(missing.status()) ==
        "start /nonexistent/program: No such file or directory");
  CHECK(absl::IsPermissionDenied(StartDetached({"/etc/passwd"}, {}).status()));
}

}  // namespace
}  // namespace edged::wireguard
