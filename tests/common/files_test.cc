#include "common/files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/common/temporary_folder.h"

namespace edged {
namespace {

std::string Listing(const std::string& folder) {
  std::string text;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    text += entry.path().filename().string() + " ";
  }
  return text;
}

mode_t ModeOf(const std::string& path) {
  struct stat found {};
  REQUIRE(stat(path.c_str(), &found) == 0);
  return found.st_mode & 07777;
}

// While it lives, no file may grow beyond `bytes`: as near to a full disk as a
// process comes without being root.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    previous_ = signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, previous_);
  }

 private:
  rlimit before_{};
  void (*previous_)(int) = SIG_DFL;
};

TEST_CASE("files: reads back what it wrote", "[files]") {
  const TemporaryFolder folder;
  const std::string content =
      std::string("a\0b\n", 4) + std::string(1 << 18, 'x');
  REQUIRE(WriteFileAtomically(folder / "state", content).ok());
  CHECK(ReadFile(folder / "state").value() == content);
  REQUIRE(WriteFileAtomically(folder / "state", "").ok());
  CHECK(ReadFile(folder / "state").value().empty());
  CHECK(Listing(folder.path()) == "state ");
}

TEST_CASE("files: makes folders and files for their owner only", "[files]") {
  const TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "a/b/key", "secret").ok());
  CHECK(ModeOf(folder / "a") == 0700);
  CHECK(ModeOf(folder / "a/b") == 0700);
  CHECK(ModeOf(folder / "a/b/key") == 0600);
  REQUIRE(WriteFileAtomically(folder / "a/b/key", "public", 0644).ok());
  CHECK(ModeOf(folder / "a/b/key") == 0644);
}

TEST_CASE("files: says which file is missing or too long", "[files]") {
  const TemporaryFolder folder;
  const auto missing = ReadFile(folder / "none");
  CHECK(missing.status().code() == absl::StatusCode::kNotFound);
  CHECK(std::string(Message(missing.status())) ==
        folder / "none" + ": No such file or directory");
  REQUIRE(WriteFileAtomically(folder / "ten", "0123456789").ok());
  CHECK(ReadFile(folder / "ten", 10).ok());
  const auto longer = ReadFile(folder / "ten", 9);
  CHECK(longer.status().code() == absl::StatusCode::kOutOfRange);
  CHECK(std::string(Message(longer.status())) ==
        folder / "ten" + ": longer than 9 bytes");
  CHECK_FALSE(ReadFile(folder.path()).ok());
}

TEST_CASE("files: does not wait for what is no file", "[files]") {
  const TemporaryFolder folder;
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  REQUIRE(symlink("pipe", (folder / "link").c_str()) == 0);
  for (const std::string& path :
       {folder / "pipe", folder / "link", std::string("/dev/zero")}) {
    CHECK(Message(ReadFile(path).status()) == path + ": not a file");
  }
  REQUIRE(WriteFileAtomically(folder / "long", "").ok());
  std::filesystem::resize_file(folder / "long", 1LL << 40);  // takes no room
  CHECK(ReadFile(folder / "long").status().code() ==
        absl::StatusCode::kOutOfRange);
}

TEST_CASE("files: reads a pipe to its end where it is asked to", "[files]") {
  int fds[2];
  REQUIRE(pipe(fds) == 0);
  const UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  std::thread slow([&writer] {
    for (const char* word : {"a ", "slow ", "writer"}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      CHECK(write(writer.get(), word, strlen(word)) > 0);
    }
    writer.reset();
  });
  const auto text =
      ReadFileOrPipe("/dev/fd/" + std::to_string(reader.get()), 100);
  slow.join();
  CHECK(text.value() == "a slow writer");
}

TEST_CASE("files: keeps the old content when a write fails half-way",
          "[files]") {
  const TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "state", "old").ok());
  {
    const FileSizeLimit limit(100'000);
    const absl::Status status =
        WriteFileAtomically(folder / "state", std::string(200'000, 'x'));
    CHECK_FALSE(status.ok());
    CHECK(std::string(Message(status)) ==
          folder / "state" + ": File too large");
  }
  CHECK(ReadFile(folder / "state").value() == "old");
  CHECK(Listing(folder.path()) == "state ");
}

TEST_CASE("files: leaves nothing behind when the name is taken by a folder",
          "[files]") {
  const TemporaryFolder folder;
  REQUIRE(MakeFolders(folder / "state/inner").ok());
  CHECK_FALSE(WriteFileAtomically(folder / "state", "x").ok());
  CHECK(Listing(folder.path()) == "state ");
}

TEST_CASE("files: refuses a folder that cannot be written", "[files]") {
  // /proc refuses new files to everybody, root included.
  CHECK_FALSE(WriteFileAtomically("/proc/edged-state", "x").ok());
  CHECK_FALSE(WriteFileAtomically("/proc/edged/state", "x").ok());
  CHECK_FALSE(MakeFolders("/proc/edged/folder").ok());
}

TEST_CASE("files: makes folders that are partly there", "[files]") {
  const TemporaryFolder folder;
  REQUIRE(MakeFolders(folder / "a/b").ok());
  REQUIRE(MakeFolders(folder / "a/b/c/d/").ok());
  REQUIRE(MakeFolders(folder / "a//b").ok());
  CHECK(std::filesystem::is_directory(folder / "a/b/c/d"));
  REQUIRE(WriteFileAtomically(folder / "file", "x").ok());
  const absl::Status status = MakeFolders(folder / "file/below");
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(Message(status)) == folder / "file" + ": not a folder");
  CHECK(MakeFolders(".").ok());
  CHECK(MakeFolders("/").ok());
}

TEST_CASE("files: a private folder is closed to others", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder / "state";
  CHECK(MakePrivateFolder(path).value() == "");
  CHECK(ModeOf(path) == 0700);

  REQUIRE(WriteFileAtomically(path + "/key", "x").ok());
  REQUIRE(chmod(path.c_str(), 0755) == 0);
  CHECK(MakePrivateFolder(path).value() ==
        path +
            ": others may look into it (mode 0755); it is closed now (0700)");
  CHECK(ModeOf(path) == 0700);
  CHECK(MakePrivateFolder(path).value() == "");
}

TEST_CASE("files: a folder that is not for us alone stays open", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder / "lib";
  REQUIRE(MakeFolders(path + "/others", 0755).ok());
  CHECK(MakePrivateFolder(path).value() ==
        path +
            ": others may look into it (mode 0755), as into others in it, "
            "so it stays open");
  CHECK(ModeOf(path) == 0755);
  CHECK_THAT(MakePrivateFolder("/proc").value(),
             Catch::StartsWith("/proc: others may look into it"));
}

TEST_CASE("files: removes a file, and is content when it is gone", "[files]") {
  const TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "file", "x").ok());
  CHECK(RemoveFile(folder / "file").ok());
  CHECK(RemoveFile(folder / "file").ok());
  CHECK_FALSE(RemoveFile(folder.path()).ok());
}

TEST_CASE("files: lists regular files and links to them, sorted", "[files]") {
  const TemporaryFolder folder;
  for (const char* name : {"b.yaml", "a.yaml", "..data/c.yaml"}) {
    REQUIRE(WriteFileAtomically(folder / name, "x").ok());
  }
  REQUIRE(symlink("..data/c.yaml", (folder / "c.yaml").c_str()) == 0);
  REQUIRE(symlink("nowhere", (folder / "broken.yaml").c_str()) == 0);
  const auto listed = ListFolder(folder.path());
  REQUIRE(listed.ok());
  std::string names;
  for (const std::string& name : *listed) names += name + " ";
  CHECK(names == "a.yaml b.yaml c.yaml ");
  CHECK(ListFolder(folder / "none").status().code() ==
        absl::StatusCode::kNotFound);
}

TEST_CASE("files: keeps checksummed content readable by people", "[files]") {
  const TemporaryFolder folder;
  REQUIRE(WriteChecksummed(folder / "state", "abc").ok());
  CHECK(
      ReadFile(folder / "state").value() ==
      "# edged sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
      "f20015ad\nabc");  // FIPS 180-4's example
  CHECK(ReadChecksummed(folder / "state").value() == "abc");
  REQUIRE(WriteChecksummed(folder / "state", "").ok());
  CHECK(ReadChecksummed(folder / "state").value().empty());
}

TEST_CASE("files: calls damage of every byte and every cut data loss",
          "[files]") {
  const TemporaryFolder folder;
  REQUIRE(WriteChecksummed(folder / "state", "line one\nline two\n").ok());
  const std::string whole = ReadFile(folder / "state").value();
  const auto read = [&folder](const std::string& file) {
    REQUIRE(WriteFileAtomically(folder / "damaged", file).ok());
    return ReadChecksummed(folder / "damaged").status().code();
  };
  CHECK(read(whole) == absl::StatusCode::kOk);
  CHECK(read(whole + "x") == absl::StatusCode::kDataLoss);
  for (size_t i = 0; i < whole.size(); ++i) {
    INFO(i);
    CHECK(read(whole.substr(0, i)) == absl::StatusCode::kDataLoss);
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    CHECK(read(flipped) == absl::StatusCode::kDataLoss);
  }
  CHECK(ReadChecksummed(folder / "none").status().code() ==
        absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace edged
