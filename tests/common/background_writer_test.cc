#include "common/background_writer.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "common/status.h"
#include "tests/fakes/slow_disk.h"

namespace edged {
namespace {

using std::chrono::milliseconds;

struct Writing {
  Writing() {
    auto created = EventLoop::Create();
    REQUIRE(created.ok());
    loop = *std::move(created);
    writer.emplace(*loop);
  }

  void Write(const std::string& what) {
    writer->Write([this, what] { return Put(what); },
                  [this, what](const absl::Status& status) {
                    told += what + (status.ok() ? " " : " failed ");
                  });
  }
  // The disk is at "a" and does not end, and "b" waits.
  void HoldUp() {
    disk.Hold();
    Write("a");
    disk.AwaitAccess();
    Write("b");
  }
  absl::Status WriteNow(const std::string& what) {
    return writer->WriteNow([this, what] { return Put(what); });
  }
  absl::Status Put(const std::string& what) {
    RETURN_IF_ERROR(disk.Access());
    written += what + " ";
    return absl::OkStatus();
  }
  void Run(milliseconds time) {
    loop->After(time, [this] { loop->Stop(); });
    loop->Run();
  }

  SlowDisk disk;
  std::string written;  // by the disk, in this order
  std::string told;
  std::unique_ptr<EventLoop> loop;
  std::optional<BackgroundWriter> writer;
};

TEST_CASE("background_writer: writes, and tells on the loop thread",
          "[background_writer]") {
  Writing writing;
  writing.Write("a");
  writing.Run(milliseconds(200));
  CHECK(writing.told == "a ");
  writing.disk.FailNext();
  writing.Write("b");
  writing.Run(milliseconds(200));
  CHECK(writing.told == "a b failed ");
  writing.writer.reset();
  CHECK(writing.written == "a ");
}

TEST_CASE("background_writer: a slow disk gets the newest, and holds up nobody",
          "[background_writer]") {
  Writing writing;
  writing.HoldUp();  // b is replaced before its turn comes
  writing.Write("c");
  writing.Run(milliseconds(20));  // the loop lives meanwhile
  CHECK(writing.told.empty());
  writing.disk.Release();
  writing.Run(milliseconds(200));
  CHECK(writing.told == "a c ");
  CHECK(writing.written == "a c ");
}

TEST_CASE("background_writer: what is written now comes last, and is there",
          "[background_writer]") {
  Writing writing;
  writing.HoldUp();
  writing.disk.ReleaseAfter(milliseconds(50));
  CHECK(writing.WriteNow("c") == absl::OkStatus());
  CHECK(writing.written == "a c ");
  writing.disk.FailNext();
  CHECK(!writing.WriteNow("d").ok());
  writing.Run(milliseconds(50));
  CHECK(writing.told == "a ");
}

TEST_CASE("background_writer: its end waits for what was handed over",
          "[background_writer]") {
  Writing writing;
  writing.HoldUp();
  writing.disk.ReleaseAfter(milliseconds(50));
  writing.writer.reset();
  CHECK(writing.written == "a b ");
  writing.Run(milliseconds(20));
  CHECK(writing.told.empty());  // nobody is there to hear it
}

TEST_CASE("background_writer: what is discarded is not written any more",
          "[background_writer]") {
  Writing writing;
  writing.HoldUp();
  writing.disk.ReleaseAfter(milliseconds(50));
  writing.writer->Discard();
  CHECK(writing.written == "a ");
  writing.writer.reset();
  CHECK(writing.written == "a ");
}

}  // namespace
}  // namespace edged
