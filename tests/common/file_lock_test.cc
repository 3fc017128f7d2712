#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "common/files.h"
#include "common/status.h"
#include "tests/common/temporary_folder.h"

namespace edged {
namespace {

TEST_CASE("file_lock: names the process that holds it", "[file_lock]") {
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  auto lock = std::make_optional(FileLock::Take(path));
  REQUIRE(lock->ok());
  const auto second = FileLock::Take(path);
  CHECK(second.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(Message(second.status())) ==
        fmt::format("{}: locked by process {}", path, getpid()));
  lock.reset();
  CHECK(FileLock::Take(path).ok());
}

TEST_CASE("file_lock: is free again when its process has died", "[file_lock]") {
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  const pid_t child = fork();
  if (child == 0) {
    const auto lock = FileLock::Take(path);
    _exit(lock.ok() ? 0 : 1);  // without a destructor
  }
  int result = -1;
  REQUIRE(waitpid(child, &result, 0) == child);
  CHECK(result == 0);
  CHECK(ReadFile(path).value() == fmt::format("{}\n", child));
  const auto lock = FileLock::Take(path);
  CHECK(lock.ok());
  CHECK(ReadFile(path).value() == fmt::format("{}\n", getpid()));
}

TEST_CASE("file_lock: bears an owner that has not written its pid",
          "[file_lock]") {
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  const auto lock = FileLock::Take(path);
  REQUIRE(lock.ok());
  REQUIRE(truncate(path.c_str(), 0) == 0);
  CHECK(std::string(Message(FileLock::Take(path).status())) ==
        path + ": locked by another process");
}

TEST_CASE("file_lock: waits for its owner, and not for ever", "[file_lock]") {
  using std::chrono::milliseconds;
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  auto lock = std::make_optional(FileLock::Take(path));
  REQUIRE(lock->ok());
  const auto start = std::chrono::steady_clock::now();
  CHECK(std::string(
            Message(FileLock::TakeWithin(path, milliseconds(30)).status())) ==
        fmt::format("{}: locked by process {}", path, getpid()));
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(30));
  std::thread owner([&lock] {
    std::this_thread::sleep_for(milliseconds(20));
    lock.reset();
  });
  CHECK(FileLock::TakeWithin(path, std::chrono::seconds(10)).ok());
  owner.join();
}

TEST_CASE("file_lock: does not wait for what waiting cannot mend",
          "[file_lock]") {
  const TemporaryFolder folder;
  const auto start = std::chrono::steady_clock::now();
  CHECK(FileLock::TakeWithin(folder / "none/lock", std::chrono::seconds(10))
            .status()
            .code() == absl::StatusCode::kNotFound);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
}

TEST_CASE("file_lock: says why it cannot make its file", "[file_lock]") {
  const TemporaryFolder folder;
  CHECK(FileLock::Take(folder / "none/lock").status().code() ==
        absl::StatusCode::kNotFound);
  REQUIRE(symlink("elsewhere", (folder / "link").c_str()) == 0);
  CHECK_FALSE(FileLock::Take(folder / "link").ok());
}

}  // namespace
}  // namespace edged
