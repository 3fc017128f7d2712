#include "edged/system/state_store.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "common/files.h"
#include "common/status.h"
#include "edged/v1/state.pb.h"
#include "tests/common/protocol/random_state.h"
#include "tests/common/temporary_folder.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

StoredState Sample() {
  StoredState stored{.epoch = Epoch{"7a1c", 3},
                     .network = IpPrefix::Parse("10.200.0.0/22").value(),
                     .state = SampleState()};
  stored.state.mappings = {{Tcp(80), "g1"}, {Udp(5000, 5999), "g1"}};
  stored.endpoints = {{Key(1), *SocketAddress::Parse("198.51.100.7:40123")},
                      {Key(2), *SocketAddress::Parse("[2001:db8::7]:1")}};
  stored.switched_interfaces = {"eth0", "eth1"};
  return stored;
}

TEST_CASE("state_store: what was saved is loaded", "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  REQUIRE(store.Save(Sample()) == absl::OkStatus());
  const auto loaded = StateStore(folder.path()).Load();
  REQUIRE(loaded.status() == absl::OkStatus());
  CHECK(*loaded == Sample());
}

TEST_CASE("state_store: any state is loaded as it was saved", "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  protocol::RandomStates states(20240607);
  for (int i = 0; i < 30; ++i) {
    const StoredState stored{.state = states.Next()};
    REQUIRE(store.Save(stored) == absl::OkStatus());
    const auto loaded = store.Load();
    REQUIRE(loaded.status() == absl::OkStatus());
    CHECK(*loaded == stored);
  }
}

TEST_CASE("state_store: an older edged reads all but what it would open wide",
          "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  const auto format = [&folder] {
    v1::StoredState stored;
    REQUIRE(
        stored.ParseFromString(*ReadChecksummed(folder / "state", 1 << 20)));
    return stored.format();
  };
  StoredState stored = Sample();
  REQUIRE(store.Save(stored) == absl::OkStatus());
  CHECK(format() == 1);
  stored.state.groups[0].access.allow = {Net("192.0.2.0/24")};
  REQUIRE(store.Save(stored) == absl::OkStatus());
  CHECK(format() == 2);
  CHECK(*store.Load() == stored);
}

TEST_CASE("state_store: no file is an empty state", "[state_store]") {
  const TemporaryFolder folder;
  for (const std::string& path : {folder.path(), folder / "not/there"}) {
    const auto loaded = StateStore(path).Load();
    REQUIRE(loaded.status() == absl::OkStatus());
    CHECK(*loaded == StoredState());
  }
}

TEST_CASE("state_store: a removed state is an empty one", "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  REQUIRE(store.Save(Sample()).ok());
  CHECK(store.Remove() == absl::OkStatus());
  CHECK(store.Remove() == absl::OkStatus());
  CHECK(*store.Load() == StoredState());
}

TEST_CASE("state_store: damage at any byte is noticed and kept aside",
          "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  REQUIRE(store.Save(Sample()).ok());
  const std::string good = *ReadFile(folder / "state");
  const auto refused = [&](const std::string& content) {
    std::filesystem::remove(folder / "state.damaged");
    REQUIRE(WriteFileAtomically(folder / "state", content).ok());
    const absl::Status status = store.Load().status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(status)),
               Catch::StartsWith("state file " + (folder / "state")) &&
                   Catch::EndsWith("; kept as " + (folder / "state.damaged")));
    CHECK(*ReadFile(folder / "state.damaged") == content);
    CHECK(!std::filesystem::exists(folder / "state"));
    CHECK(*store.Load() == StoredState());
  };
  // Every byte would sync the disk a thousand times.
  for (size_t i = 0; i < good.size(); i += i < 90 ? 1 : 7) {
    INFO("byte " << i);
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    refused(damaged);
    refused(good.substr(0, i));
  }
  refused(good + "x");
}

TEST_CASE("state_store: records that make no sense are damage, too",
          "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  REQUIRE(WriteChecksummed(folder / "state", "not a message").ok());
  CHECK_THAT(std::string(Message(store.Load().status())),
             Catch::Contains("cannot be used (does not parse)"));

  StoredState nameless = Sample();
  nameless.state.groups[0].name.clear();
  REQUIRE(store.Save(nameless).ok());
  const absl::Status status = store.Load().status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)),
             Catch::Contains("cannot be used (group name: is empty)"));
}

TEST_CASE("state_store: what is too long, or of a newer edged, is kept aside",
          "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  const auto refusal = [&] {
    const absl::Status status = store.Load().status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK(*store.Load() == StoredState());
    return std::string(Message(status));
  };
  v1::StoredState newer;
  newer.set_format(3);
  REQUIRE(WriteChecksummed(folder / "state", newer.SerializeAsString()).ok());
  CHECK_THAT(refusal(),
             Catch::Contains("(it is of a newer edged, format 3); kept as "));
  // 100 MB that take no room.
  REQUIRE(WriteFileAtomically(folder / "state", "").ok());
  std::filesystem::resize_file(folder / "state", 100'000'000);
  CHECK_THAT(refusal(), Catch::Contains("longer than 67108864 bytes"));
  REQUIRE(WriteFileAtomically(folder / "state", std::string(4096, '\0')).ok());
  CHECK_THAT(refusal(), Catch::Contains("no checksum in front"));
}

TEST_CASE("state_store: a file that cannot be read is not called damaged",
          "[state_store]") {
  const TemporaryFolder folder;
  REQUIRE(MakeFolders(folder / "state").ok());  // a folder in its place
  StateStore store(folder.path());
  const absl::Status status = store.Load().status();
  CHECK(!status.ok());
  CHECK(status.code() != absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)),
             Catch::StartsWith("state file " + (folder / "state")));
  CHECK(!std::filesystem::exists(folder / "state.damaged"));
  CHECK(std::filesystem::exists(folder / "state"));
}

TEST_CASE("state_store: a folder that cannot be written is an error",
          "[state_store]") {
  const TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "file", "").ok());
  StateStore store(folder / "file");
  const absl::Status status = store.Save(Sample());
  CHECK(!status.ok());
  CHECK_THAT(std::string(Message(status)), Catch::Contains(folder / "file"));
}

TEST_CASE(
    "state_store: a save replaces the one before, and nothing is left over",
    "[state_store]") {
  const TemporaryFolder folder;
  StateStore store(folder.path());
  REQUIRE(store.Save(Sample()).ok());
  REQUIRE(store.Save(StoredState()).ok());
  REQUIRE(store.Save(Sample()).ok());
  CHECK(*store.Load() == Sample());
  // Nothing is left beside it.
  CHECK(*ListFolder(folder.path()) == std::vector<std::string>{"state"});
}

}  // namespace
}  // namespace edged::edge
