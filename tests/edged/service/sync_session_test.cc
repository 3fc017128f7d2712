// Sync, driven by a real client over a Unix socket.

#include "edged/service/sync_session.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "common/status.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/edged/service/running_service.h"

namespace edged::edge {
namespace {

v1::SnapshotChunk Chunk(uint64_t version, uint32_t first_port, uint32_t count,
                        bool last = false) {
  v1::SnapshotChunk chunk;
  chunk.set_version(version);
  for (uint32_t i = 0; i < count; ++i) {
    v1::Mapping& mapping = *chunk.add_mappings();
    mapping.mutable_listener()->set_public_address("203.0.113.1");
    mapping.mutable_listener()->set_protocol(v1::PROTOCOL_TCP);
    mapping.mutable_listener()->set_first_port(first_port + i);
    mapping.set_group("g1");
  }
  chunk.set_last(last);
  return chunk;
}

// "snapshot 7 of 3 mappings", "delta 3 → 4".
std::string WordsOf(const ChangeCall& call) {
  if (const auto* snapshot = std::get_if<SnapshotCall>(&call)) {
    return fmt::format("snapshot {} of {} mappings", snapshot->version,
                       snapshot->state.mappings.size());
  }
  const auto& delta = std::get<DeltaCall>(call);
  return fmt::format("delta {} → {}", delta.base_version, delta.version);
}

std::vector<std::string> Changes(RunningService& service) {
  return service.OnLoop([&service] {
    std::vector<std::string> changes;
    for (const ChangeCall& call : service.api.changes) {
      changes.push_back(WordsOf(call));
    }
    return changes;
  });
}

using Words = std::vector<std::string>;

// How often streams were given back, and how often wrongly.
std::string Closes(RunningService& service) {
  return service.OnLoop([&service] {
    return fmt::format("{} closed, {} wrongly, {} left", service.api.closes,
                       service.api.wrong_closes, service.api.borrowed.size());
  });
}

bool HasNoStreams(RunningService& service) {
  return service.Eventually(
      [&service] { return service.api.borrowed.empty(); });
}

size_t OpenDescriptors() {
  const std::filesystem::directory_iterator descriptors("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(descriptors), {}));
}

TEST_CASE("sync: Hello is answered by Welcome", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello(3));
  const v1::SyncResponse response = stream.Read();
  REQUIRE(response.has_welcome());
  CHECK(response.welcome().reserved_ports(0) == "22/tcp");
  CHECK(service.OnLoop([&] { return service.api.hellos.at(0).epoch; }) ==
        Epoch{"7a1c", 3});
  stream.stream->WritesDone();
  CHECK(stream.End() == "OK");
  CHECK(HasNoStreams(service));
  CHECK(Closes(service) == "1 closed, 0 wrongly, 0 left");
}

TEST_CASE("sync: a refused Hello ends the stream with the edge's words",
          "[sync]") {
  RunningService service;
  service.OnLoop([&] {
    service.api.open_answer = FailedPrecondition("epoch 1 is older than 7");
  });
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  CHECK(stream.End() == "FAILED_PRECONDITION: epoch 1 is older than 7");
  CHECK(Closes(service) == "0 closed, 0 wrongly, 0 left");
}

TEST_CASE("sync: a Hello that does not parse is refused", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  v1::SyncRequest request;
  request.mutable_hello()->set_digest("short");
  REQUIRE(stream.stream->Write(request));
  CHECK(stream.End().starts_with("INVALID_ARGUMENT: "));
  CHECK(Closes(service) == "0 closed, 0 wrongly, 0 left");
}

TEST_CASE("sync: a second Hello ends the stream", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  REQUIRE(stream.SayHello());
  CHECK(stream.End() == "INVALID_ARGUMENT: sync request: a second Hello");
  CHECK(Closes(service) == "1 closed, 0 wrongly, 0 left");
}

TEST_CASE("sync: a change before Hello ends the stream", "[sync]") {
  RunningService service;
  ClientStream snapshot(*service.stub);
  REQUIRE(snapshot.Write(Chunk(1, 80, 1, /*last=*/true)));
  CHECK(snapshot.End() ==
        "INVALID_ARGUMENT: sync request: the first message is not Hello");
  ClientStream delta(*service.stub);
  REQUIRE(delta.Write(v1::Delta()));
  CHECK(delta.End() ==
        "INVALID_ARGUMENT: sync request: the first message is not Hello");
  CHECK(Changes(service).empty());
}

TEST_CASE("sync: chunks of who has not said who he is are not gathered",
          "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.Write(Chunk(1, 80, 1)));
  CHECK(stream.End() ==
        "INVALID_ARGUMENT: sync request: the first message is not Hello");
}

TEST_CASE("sync: a snapshot without end is refused before it takes the memory",
          "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  for (uint32_t i = 0; i < 400; ++i) {
    REQUIRE(stream.Write(Chunk(7, 1, 1000)));
  }
  REQUIRE(stream.Write(Chunk(7, 1, 1, /*last=*/true)));
  const v1::Result result = stream.Read().result();
  CHECK(result.error() == "snapshot version 7: more than 330000 records");
  CHECK(Changes(service).empty());
}

TEST_CASE("sync: who reads nothing is let go when another takes over",
          "[sync]") {
  RunningService service;
  ClientStream stuck(*service.stub);
  REQUIRE(stuck.SayHello(1));
  REQUIRE(stuck.Read().has_welcome());
  // More than is sent to who does not read.
  service.OnLoop([&] {
    service.api.current->Send(Report{.warnings = {std::string(32 << 20, 'w')}});
    return true;
  });
  ClientStream newer(*service.stub);
  REQUIRE(newer.SayHello(2));
  REQUIRE(newer.Read().has_welcome());
  std::this_thread::sleep_for(std::chrono::seconds(3));
  CHECK_THAT(stuck.End(), !Catch::StartsWith("ABORTED"));
  REQUIRE(newer.Write(Chunk(1, 80, 1, /*last=*/true)));
  CHECK(newer.Read().result().ack());
}

TEST_CASE("sync: a key is proposed and the answer heard", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  const PublicKey key = PrivateKey::Generate().Public();
  const PublicKey in_use = PrivateKey::Generate().Public();
  service.OnLoop([&] {
    service.api.current->Send(
        KeyNotice{OwnKeys::Phase::kProposed, key, in_use});
    return true;
  });
  const v1::SyncResponse proposal = stream.Read();
  CHECK(proposal.key().phase() == v1::EdgeKey::PHASE_PROPOSED);
  CHECK(proposal.key().public_key() == key.ToString());
  CHECK(proposal.key().key_in_use() == in_use.ToString());
  v1::SyncRequest stored;
  stored.mutable_key_stored()->set_public_key(key.ToString());
  REQUIRE(stream.stream->Write(stored));
  CHECK(service.Eventually(
      [&] { return service.api.stored_keys == std::vector<PublicKey>{key}; }));
  stored.mutable_key_stored()->set_public_key("mine");
  REQUIRE(stream.stream->Write(stored));
  CHECK(stream.End().starts_with("INVALID_ARGUMENT: key_stored: "));
}

TEST_CASE("sync: an empty request ends the stream", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  REQUIRE(stream.stream->Write({}));
  CHECK(stream.End() ==
        "INVALID_ARGUMENT: sync request: holds no known message");
}

TEST_CASE("sync: a snapshot in chunks is one change with one result",
          "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  for (uint32_t i = 0; i < 20; ++i) {
    REQUIRE(stream.Write(Chunk(7, 1000 + 1000 * i, 1000, i == 19)));
  }
  const v1::Result result = stream.Read().result();
  CHECK(result.ack());
  CHECK(result.version() == 7);
  v1::Delta delta;
  delta.set_base_version(7);
  delta.set_version(8);
  REQUIRE(stream.Write(delta));
  CHECK(stream.Read().result().version() == 8);
  CHECK(Changes(service) ==
        Words{"snapshot 7 of 20000 mappings", "delta 7 → 8"});
}

TEST_CASE("sync: requests that come before their answers are answered in turn",
          "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  for (uint64_t version = 1; version <= 50; ++version) {
    v1::Delta delta;
    delta.set_base_version(version - 1);
    delta.set_version(version);
    REQUIRE(stream.Write(delta));
  }
  stream.stream->WritesDone();
  REQUIRE(stream.Read().has_welcome());
  for (uint64_t version = 1; version <= 50; ++version) {
    REQUIRE(stream.Read().result().version() == version);
  }
  CHECK(stream.End() == "OK");
}

TEST_CASE("sync: a malformed mapping is refused alone", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  v1::SnapshotChunk chunk = Chunk(1, 80, 2, /*last=*/true);
  chunk.mutable_mappings(0)->mutable_listener()->set_first_port(70000);
  REQUIRE(stream.Write(chunk));
  const v1::Result result = stream.Read().result();
  CHECK(result.ack());
  REQUIRE(result.refused_size() == 1);
  CHECK(result.refused(0).reason() == "InvalidMapping");
  CHECK(result.refused(0).message() ==
        "listener 203.0.113.1 first_port: 70000 is not 1 to 65535");
  CHECK(Changes(service) == Words{"snapshot 1 of 1 mappings"});
}

TEST_CASE(
    "sync: what does not parse is answered by a NACK, and the stream "
    "goes on",
    "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  v1::Delta delta;
  delta.set_version(4);
  delta.add_groups();
  REQUIRE(stream.Write(delta));
  v1::Result result = stream.Read().result();
  CHECK(!result.ack());
  CHECK(result.version() == 4);
  CHECK(result.error() == "group name: is empty");

  v1::SnapshotChunk spoilt = Chunk(5, 80, 1);
  spoilt.add_uplinks();
  REQUIRE(stream.Write(spoilt));
  REQUIRE(stream.Write(Chunk(5, 90, 1)));
  REQUIRE(stream.Write(Chunk(5, 100, 1, /*last=*/true)));
  result = stream.Read().result();
  CHECK(!result.ack());
  CHECK(result.version() == 5);
  CHECK(result.error() == "uplink name: is empty");
  CHECK(Changes(service).empty());

  REQUIRE(stream.Write(Chunk(6, 80, 2, /*last=*/true)));
  CHECK(stream.Read().result().ack());
  CHECK(Changes(service) == Words{"snapshot 6 of 2 mappings"});
}

TEST_CASE("sync: a newer stream takes over, the older is ABORTED", "[sync]") {
  RunningService service;
  ClientStream older(*service.stub);
  REQUIRE(older.SayHello(1));
  REQUIRE(older.Read().has_welcome());
  ClientStream newer(*service.stub);
  REQUIRE(newer.SayHello(2));
  REQUIRE(newer.Read().has_welcome());
  CHECK(older.End() == "ABORTED: a newer stream took over");
  REQUIRE(newer.Write(Chunk(1, 80, 1, /*last=*/true)));
  CHECK(newer.Read().result().ack());
  // Whoever ends a stream has let go of it: no Close.
  CHECK(Closes(service) == "0 closed, 0 wrongly, 1 left");
}

TEST_CASE("sync: a client that cancels is closed once", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  stream.context.TryCancel();
  CHECK(stream.End().starts_with("CANCELLED"));
  CHECK(HasNoStreams(service));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(Closes(service) == "1 closed, 0 wrongly, 0 left");
}

TEST_CASE("sync: a client whose connection breaks is closed once", "[sync]") {
  RunningService service;
  {
    const auto channel = service.NewChannel();
    const auto stub = v1::EdgeService::NewStub(channel);
    ClientStream stream(*stub);
    REQUIRE(stream.SayHello());
    REQUIRE(stream.Read().has_welcome());
    REQUIRE(stream.Write(Chunk(1, 80, 1)));  // not the last
  }
  CHECK(HasNoStreams(service));
  CHECK(Closes(service) == "1 closed, 0 wrongly, 0 left");
}

TEST_CASE("sync: two hundred dropped streams leave nothing behind", "[sync]") {
  RunningService service;
  const auto drop_one = [&service](int i) {
    const auto channel = service.NewChannel();
    const auto stub = v1::EdgeService::NewStub(channel);
    ClientStream stream(*stub);
    if (i % 4 == 0) return;  // without a word
    REQUIRE(stream.SayHello());
    if (i % 4 == 1) return;  // before it is answered
    REQUIRE(stream.Read().has_welcome());
    if (i % 4 == 2) stream.context.TryCancel();
  };
  drop_one(3);
  REQUIRE(HasNoStreams(service));
  const size_t before = OpenDescriptors();
  for (int i = 0; i < 200; ++i) drop_one(i);
  CHECK(HasNoStreams(service));
  CHECK(service.OnLoop([&] { return service.api.wrong_closes; }) == 0);
  // Connections are closed by gRPC's own threads, a moment later.
  CHECK(service.Eventually([before] { return OpenDescriptors() <= before; }));
}

TEST_CASE("sync: a message of 5 MB is refused and harms nobody else",
          "[sync]") {
  RunningService service;
  ClientStream good(*service.stub);
  REQUIRE(good.SayHello());
  REQUIRE(good.Read().has_welcome());
  ClientStream large(*service.stub);
  v1::SyncRequest request;
  request.mutable_hello()->set_version(std::string(5 << 20, 'x'));
  large.stream->Write(request);
  CHECK(large.End().starts_with("RESOURCE_EXHAUSTED: "));
  REQUIRE(good.Write(Chunk(1, 80, 1, /*last=*/true)));
  CHECK(good.Read().result().ack());
  CHECK(Closes(service) == "0 closed, 0 wrongly, 1 left");
}

// A report that can be told from others, of about `size` bytes.
Report Numbered(uint32_t number, size_t size) {
  return {.warnings = {std::string(size, 'x')}, .mtu = number};
}

TEST_CASE("sync: of reports that wait only the newest is sent", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  service.OnLoop([&] {
    for (uint32_t i = 1; i <= 1000; ++i) {
      service.api.current->Send(Numbered(i, 10));
    }
  });
  uint32_t last = 0;
  int count = 0;
  while (last != 1000) {
    const v1::SyncResponse response = stream.Read();
    REQUIRE(response.has_report());
    CHECK(response.report().mtu() > last);
    last = response.report().mtu();
    ++count;
  }
  CHECK(count <= 2);
}

TEST_CASE("sync: a reader that does not read costs one report", "[sync]") {
  RunningService service;
  const auto channel = service.NewChannel();
  const auto stub = v1::EdgeService::NewStub(channel);
  ClientStream stream(*stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  constexpr uint32_t kReports = 400;
  for (uint32_t i = 1; i <= kReports; ++i) {
    service.OnLoop([&] { service.api.current->Send(Numbered(i, 200'000)); });
  }
  int count = 0;
  uint32_t last = 0;
  while (last != kReports) {
    const v1::SyncResponse response = stream.Read();
    REQUIRE(response.has_report());
    REQUIRE(response.report().mtu() > last);
    last = response.report().mtu();
    ++count;
  }
  CHECK(count < static_cast<int>(kReports) / 2);
}

TEST_CASE("sync: a reader that does not read cannot hold a takeover up",
          "[sync]") {
  RunningService service;
  const auto channel = service.NewChannel();
  const auto stub = v1::EdgeService::NewStub(channel);
  ClientStream stuck(*stub);
  REQUIRE(stuck.SayHello());
  REQUIRE(stuck.Read().has_welcome());
  service.OnLoop([&] {
    for (uint32_t i = 1; i <= 3; ++i) {
      service.api.current->Send(Numbered(i, 8 << 20));
    }
  });
  ClientStream newer(*service.stub);
  REQUIRE(newer.SayHello());
  REQUIRE(newer.Read().has_welcome());
  CHECK(stuck.End() == "ABORTED: a newer stream took over");
}

TEST_CASE("sync: reports do not overtake results", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  service.OnLoop([&] { service.api.current->Send(Numbered(1, 10)); });
  REQUIRE(stream.Write(Chunk(1, 80, 1, /*last=*/true)));
  CHECK(stream.Read().report().mtu() == 1);
  CHECK(stream.Read().result().version() == 1);
}

TEST_CASE("sync: a server that stops ends its streams", "[sync]") {
  RunningService service;
  ClientStream stream(*service.stub);
  REQUIRE(stream.SayHello());
  REQUIRE(stream.Read().has_welcome());
  const auto start = std::chrono::steady_clock::now();
  service.server.reset();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  CHECK(stream.End() != "OK");
  CHECK(HasNoStreams(service));
  CHECK(Closes(service) == "1 closed, 0 wrongly, 0 left");
}

}  // namespace
}  // namespace edged::edge
