#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "common/event_loop.h"
#include "common/files.h"
#include "tests/common/temporary_folder.h"

namespace edged {
namespace {

using std::chrono::milliseconds;

// A loop with a watch on a new folder, and how often it called.
struct Watched {
  Watched()
      : loop(EventLoop::Create().value()),
        watch(FolderWatch::Start(*loop, folder.path(), [this] {
                ++calls;
                if (on_call) on_call();
              }).value()) {}

  // Runs the loop until `calls` is `wanted` or 5 s have passed.
  void RunUntil(int wanted) {
    const auto check = loop->Every(milliseconds(2), [this, wanted] {
      if (calls >= wanted) loop->Stop();
    });
    const auto limit =
        loop->After(std::chrono::seconds(5), [this] { loop->Stop(); });
    loop->Run();
    loop->Cancel(check);
    loop->Cancel(limit);
  }
  void RunFor(milliseconds time) {
    loop->After(time, [this] { loop->Stop(); });
    loop->Run();
  }

  TemporaryFolder folder;
  std::unique_ptr<EventLoop> loop;
  int calls = 0;
  std::function<void()> on_call;
  std::unique_ptr<FolderWatch> watch;
};

TEST_CASE("folder_watch: sees files written, renamed and removed",
          "[folder_watch]") {
  Watched watched;
  const std::string path = watched.folder / "a.yaml";
  REQUIRE(WriteFileAtomically(path, "x").ok());
  watched.RunUntil(1);
  CHECK(watched.calls == 1);
  std::ofstream(path, std::ios::app) << "y";
  watched.RunUntil(2);
  CHECK(watched.calls == 2);
  std::filesystem::rename(path, watched.folder / "b.yaml");
  watched.RunUntil(3);
  CHECK(watched.calls == 3);
  REQUIRE(RemoveFile(watched.folder / "b.yaml").ok());
  watched.RunUntil(4);
  CHECK(watched.calls == 4);
}

TEST_CASE("folder_watch: calls once for a burst, and not while it is quiet",
          "[folder_watch]") {
  Watched watched;
  for (int i = 0; i < 200; ++i) {
    REQUIRE(WriteFileAtomically(watched.folder / std::to_string(i), "x").ok());
  }
  watched.RunUntil(1);
  watched.RunFor(milliseconds(60));
  CHECK(watched.calls == 1);
}

TEST_CASE("folder_watch: waits for a file to be closed", "[folder_watch]") {
  Watched watched;
  std::ofstream file(watched.folder / "a.yaml");
  file << "half" << std::flush;
  watched.RunFor(milliseconds(60));
  CHECK(watched.calls == 0);
  file.close();
  watched.RunUntil(1);
  CHECK(watched.calls == 1);
}

TEST_CASE("folder_watch: follows a ConfigMap's link to its new content",
          "[folder_watch]") {
  Watched watched;
  const std::string link = watched.folder / "..data";
  REQUIRE(symlink("one", (link + "_tmp").c_str()) == 0);
  std::filesystem::rename(link + "_tmp", link);
  watched.RunUntil(1);
  CHECK(watched.calls == 1);
}

TEST_CASE("folder_watch: ends when destroyed, also by its own call",
          "[folder_watch]") {
  Watched watched;
  watched.on_call = [&watched] { watched.watch.reset(); };
  REQUIRE(WriteFileAtomically(watched.folder / "a", "x").ok());
  watched.RunUntil(1);
  CHECK(watched.calls == 1);
  REQUIRE(WriteFileAtomically(watched.folder / "b", "x").ok());
  watched.RunFor(milliseconds(60));
  CHECK(watched.calls == 1);
}

TEST_CASE("folder_watch: finds a folder that was made again",
          "[folder_watch]") {
  const bool moved = GENERATE(false, true);
  Watched watched;
  if (moved) {
    std::filesystem::rename(watched.folder.path(), watched.folder.path() + "x");
    std::filesystem::remove_all(watched.folder.path() + "x");
  } else {
    std::filesystem::remove_all(watched.folder.path());
  }
  watched.RunUntil(1);
  CHECK(watched.calls == 1);
  REQUIRE(MakeFolders(watched.folder.path()).ok());
  watched.RunUntil(2);
  CHECK(watched.calls == 2);
  REQUIRE(WriteFileAtomically(watched.folder / "a", "x").ok());
  watched.RunUntil(3);
  CHECK(watched.calls == 3);
}

TEST_CASE("folder_watch: wants a folder that exists", "[folder_watch]") {
  const TemporaryFolder folder;
  const auto loop = EventLoop::Create().value();
  CHECK(FolderWatch::Start(*loop, folder / "none", [] {}).status().code() ==
        absl::StatusCode::kNotFound);
  REQUIRE(WriteFileAtomically(folder / "file", "x").ok());
  CHECK_FALSE(FolderWatch::Start(*loop, folder / "file", [] {}).ok());
}

}  // namespace
}  // namespace edged
