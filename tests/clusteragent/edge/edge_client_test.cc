#include "clusteragent/edge/edge_client.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <thread>

#include "common/socket_address.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/clusteragent/edge/scripted_server.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Epoch kEpoch{"cluster", 7};

// Writes down what it hears and calls `then` after each.
class Listener final : public SyncListener {
 public:
  std::string heard;
  std::function<void(const std::string&)> then;
  bool on_own_thread = true;

  void OnWelcome(const EdgeWelcome& welcome) override {
    Hear("welcome " + welcome.version);
  }
  void OnResult(const EdgeResult& result) override {
    Hear("result " + std::to_string(result.version));
  }
  void OnReport(const EdgeLifeReport& report) override {
    Hear("report " + std::to_string(report.mtu));
  }
  void OnKey(const EdgeKeyNotice& notice) override {
    Hear("key " + notice.key.Short());
  }
  void OnEnd(const absl::Status& status) override {
    Hear("end " + status.ToString());
  }
  bool ended() const { return heard.find("end ") != std::string::npos; }

 private:
  void Hear(const std::string& line) {
    on_own_thread = on_own_thread && std::this_thread::get_id() == thread_;
    heard += line + "\n";
    if (then) then(line);
  }

  const std::thread::id thread_ = std::this_thread::get_id();
};

protocol::EdgeState StateWith(uint16_t mappings) {
  protocol::EdgeState state;
  for (uint16_t n = 1; n <= mappings; ++n) {
    state.mappings.push_back(
        {{IpAddress::FromIpv4(0xcb007101), Protocol::kTcp, {n, n}}, "g"});
  }
  return state;
}

// Answers Hello and then every version.
grpc::Status AnswerAll(ScriptedServer::Stream& stream, grpc::ServerContext&) {
  v1::SyncRequest request;
  int mappings = 0;
  while (stream.Read(&request)) {
    if (request.has_hello()) {
      stream.Write(WelcomeResponse(
          "epoch " + std::to_string(request.hello().epoch().number())));
    } else if (request.has_delta()) {
      stream.Write(ResultResponse(request.delta().version()));
    } else {
      mappings += request.snapshot().mappings_size();
      if (!request.snapshot().last()) continue;
      stream.Write(ReportResponse(static_cast<uint32_t>(mappings)));
      stream.Write(ResultResponse(request.snapshot().version()));
    }
  }
  return grpc::Status::OK;
}

// Sends reports for as long as anybody listens.
grpc::Status Flood(ScriptedServer::Stream& stream, grpc::ServerContext&) {
  stream.Write(WelcomeResponse("flood"));
  for (uint32_t i = 0; stream.Write(ReportResponse(i)); ++i) {
  }
  return grpc::Status::OK;
}

// A TCP port of 127.0.0.1 that accepts in the kernel and never says anything.
class SilentPort {
 public:
  SilentPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto [storage, length] =
        ToSockaddr({IpAddress::FromIpv4(0x7f000001), 0});
    REQUIRE(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&storage),
                 length) == 0);
    REQUIRE(listen(fd_.get(), 8) == 0);
  }
  SocketAddress address() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    REQUIRE(getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage),
                        &length) == 0);
    return FromSockaddr(storage).value();
  }

 private:
  UniqueFd fd_;
};

// A port that refuses: it was free a moment ago.
SocketAddress RefusingAddress() { return SilentPort().address(); }

TEST_CASE("edge_client: carries a conversation, all on the loop thread",
          "[edge_client]") {
  ScriptedServer server(AnswerAll);
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  Listener listener;
  auto stream = client->OpenSync(kEpoch, {}, listener);
  listener.then = [&stream](const std::string& line) {
    if (line == "welcome epoch 7") stream->SendSnapshot(1, StateWith(2500));
    if (line == "result 1") stream->SendDelta(1, 2, {});
  };
  CHECK(runner.Until([&] { return listener.heard.ends_with("result 2\n"); }));
  CHECK(listener.heard == "welcome epoch 7\nreport 2500\nresult 1\nresult 2\n");
  CHECK(listener.on_own_thread);
}

TEST_CASE("edge_client: the end comes last, with the edge's reason",
          "[edge_client]") {
  ScriptedServer server([](ScriptedServer::Stream& stream, auto&) {
    stream.Write(WelcomeResponse("1"));
    stream.Write(ReportResponse(1));
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                        "belongs to cluster b");
  });
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  Listener listener;
  const auto stream = client->OpenSync(kEpoch, {}, listener);
  CHECK(runner.Until([&] { return listener.ended(); }));
  CHECK(listener.heard ==
        "welcome 1\nreport 1\n"
        "end FAILED_PRECONDITION: belongs to cluster b\n");
  stream->SendDelta(0, 1, {});  // into the void
  runner.For(milliseconds(20));
  CHECK(listener.heard.ends_with("belongs to cluster b\n"));
  CHECK(listener.on_own_thread);
}

TEST_CASE("edge_client: an edge that dies ends the stream", "[edge_client]") {
  ScriptedServer server(AnswerAll);
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  Listener listener;
  const auto stream = client->OpenSync(kEpoch, {}, listener);
  REQUIRE(runner.Until([&] { return !listener.heard.empty(); }));
  std::thread killer([&server] { server.Stop(); });
  CHECK(runner.Until([&] { return listener.ended(); }));
  killer.join();
  // The server cancels its streams or just goes.
  CHECK(listener.heard.find("end OK") == std::string::npos);
}

TEST_CASE("edge_client: an address that refuses ends the stream at once",
          "[edge_client]") {
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), RefusingAddress());
  Listener listener;
  const auto stream = client->OpenSync(kEpoch, {}, listener);
  CHECK(runner.Until([&] { return listener.ended(); }, seconds(4)));
  CHECK(listener.heard.starts_with("end UNAVAILABLE: "));
}

TEST_CASE("edge_client: an answer that makes no sense ends the stream, named",
          "[edge_client]") {
  ScriptedServer server([](ScriptedServer::Stream& stream, auto& context) {
    v1::SyncResponse response = WelcomeResponse("1");
    response.mutable_welcome()->set_digest("short");
    stream.Write(response);
    while (!context.IsCancelled() && stream.Write(WelcomeResponse("2"))) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    return grpc::Status::OK;
  });
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  Listener listener;
  const auto stream = client->OpenSync(kEpoch, {}, listener);
  REQUIRE(runner.Until([&] { return listener.ended(); }));
  CHECK(
      listener.heard.starts_with("end INVALID_ARGUMENT: the edge's answer: "));
}

TEST_CASE("edge_client: an answer that would take the memory ends the stream",
          "[edge_client]") {
  v1::SyncResponse bomb;
  bool compressed = false;
  std::string why;
  SECTION("when it is parsed") {
    for (int i = 0; i < 1'000'000; ++i) {
      bomb.mutable_report()->add_not_programmed();
    }
    why = "takes more than 67108864 bytes";
  }
  SECTION("when it is unpacked") {
    compressed = true;
    bomb.mutable_report()->add_warnings(std::string(64 << 20, ' '));
    why = "cannot be parsed";
  }
  ScriptedServer server([&](ScriptedServer::Stream& stream, auto& context) {
    if (compressed) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    stream.Write(bomb);
    while (!context.IsCancelled()) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    return grpc::Status::OK;
  });
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  Listener listener;
  const auto stream = client->OpenSync(kEpoch, {}, listener);
  REQUIRE(runner.Until([&] { return listener.ended(); }));
  CHECK(listener.heard ==
        "end INVALID_ARGUMENT: the edge's answer: SyncResponse: " + why + "\n");
}

TEST_CASE("edge_client: a stream can go at any moment", "[edge_client]") {
  ScriptedServer server(Flood);
  ScriptedServer closing([](auto&, auto&) { return grpc::Status::OK; });
  const SilentPort silent;
  const int round = GENERATE(range(0, 10));
  LoopRunner runner;
  Listener listener;
  SECTION("before it connects") {
    const auto client = DialEdge(runner.loop(), silent.address());
    client->OpenSync(kEpoch, {}, listener).reset();
    runner.For(milliseconds(2));
    CHECK(listener.heard.empty());
  }
  SECTION("while it connects") {
    const auto client = DialEdge(runner.loop(), server.address());
    auto stream = client->OpenSync(kEpoch, {}, listener);
    runner.For(std::chrono::microseconds(200 * round));
    stream.reset();
    const std::string heard = listener.heard;
    runner.For(milliseconds(5));
    CHECK(listener.heard == heard);
  }
  SECTION("in a flood, while it writes") {
    const auto client = DialEdge(runner.loop(), server.address());
    auto stream = client->OpenSync(kEpoch, {}, listener);
    stream->SendSnapshot(1, StateWith(5000));
    REQUIRE(runner.Until([&] { return !listener.heard.empty(); }));
    stream.reset();
    const std::string heard = listener.heard;
    runner.For(milliseconds(5));
    CHECK(listener.heard == heard);
  }
  SECTION("in its own call") {
    const auto client = DialEdge(runner.loop(), server.address());
    auto stream = client->OpenSync(kEpoch, {}, listener);
    listener.then = [&stream](const std::string&) { stream.reset(); };
    REQUIRE(runner.Until([&] { return !stream; }));
    runner.For(milliseconds(5));
    CHECK(listener.heard == "welcome flood\n");
  }
  SECTION("in the call that it ended") {
    const auto client = DialEdge(runner.loop(), closing.address());
    auto stream = client->OpenSync(kEpoch, {}, listener);
    listener.then = [&stream](const std::string&) { stream.reset(); };
    REQUIRE(runner.Until([&] { return !stream; }));
    CHECK(listener.heard == "end OK\n");
  }
  SECTION("after its end") {
    const auto client = DialEdge(runner.loop(), closing.address());
    auto stream = client->OpenSync(kEpoch, {}, listener);
    REQUIRE(runner.Until([&] { return listener.ended(); }));
    stream.reset();
    runner.For(milliseconds(2));
    CHECK(listener.heard == "end OK\n");
  }
  SECTION("with its client and its loop") {
    const auto client = DialEdge(runner.loop(), server.address());
    const auto stream = client->OpenSync(kEpoch, {}, listener);
    runner.For(std::chrono::microseconds(500 * round));
  }
}

TEST_CASE("edge_client: registers this uplink", "[edge_client]") {
  ScriptedServer server(AnswerAll);
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  std::optional<absl::Status> answer;
  const auto done = [&answer](const absl::Status& status) { answer = status; };
  client->Register(kEpoch, {"home", PublicKey(), 3}, "vps", done);
  CHECK_FALSE(answer);
  REQUIRE(runner.Until([&] { return answer.has_value(); }));
  CHECK(answer->ok());
  const auto registered = server.registered();
  REQUIRE(registered.size() == 1);
  CHECK(registered[0].epoch().cluster_uid() == "cluster");
  CHECK(registered[0].uplink().name() == "home");
  CHECK(registered[0].edge() == "vps");

  answer.reset();
  server.AnswerRegister({grpc::StatusCode::FAILED_PRECONDITION, "epoch 9"});
  client->Register(kEpoch, {"home", PublicKey(), 3}, "vps", done);
  REQUIRE(runner.Until([&] { return answer.has_value(); }));
  CHECK(answer->ToString() == "FAILED_PRECONDITION: epoch 9");
}

TEST_CASE("edge_client: registering where nobody listens ends",
          "[edge_client]") {
  LoopRunner runner;
  std::optional<absl::Status> answer;
  const auto done = [&answer](const absl::Status& status) { answer = status; };
  SECTION("at once when it is refused") {
    const auto client = DialEdge(runner.loop(), RefusingAddress());
    client->Register(kEpoch, {"home", PublicKey(), 3}, "vps", done);
    REQUIRE(runner.Until([&] { return answer.has_value(); }, seconds(4)));
    CHECK(answer->code() == absl::StatusCode::kUnavailable);
  }
  SECTION("after five seconds when nothing comes") {
    const SilentPort silent;
    const auto client = DialEdge(runner.loop(), silent.address());
    const auto start = std::chrono::steady_clock::now();
    client->Register(kEpoch, {"home", PublicKey(), 3}, "vps", done);
    REQUIRE(runner.Until([&] { return answer.has_value(); }));
    CHECK((answer->code() == absl::StatusCode::kDeadlineExceeded ||
           answer->code() == absl::StatusCode::kUnavailable));
    CHECK(std::chrono::steady_clock::now() - start < seconds(8));
  }
}

TEST_CASE("edge_client: a client that goes calls nobody", "[edge_client]") {
  const SilentPort silent;
  ScriptedServer server(AnswerAll);
  int calls = 0;
  const auto done = [&calls](const absl::Status&) { ++calls; };
  for (int round = 0; round < 10; ++round) {
    LoopRunner runner;
    auto client = DialEdge(
        runner.loop(), round % 2 == 0 ? silent.address() : server.address());
    client->Register(kEpoch, {"home", PublicKey(), 3}, "vps", done);
    std::this_thread::sleep_for(milliseconds(round));
    client.reset();
    runner.For(milliseconds(10));
  }
  CHECK(calls == 0);
}

TEST_CASE("edge_client: a client may go in the answer it gives",
          "[edge_client]") {
  ScriptedServer server(AnswerAll);
  for (int round = 0; round < 50; ++round) {
    LoopRunner runner;
    auto client = DialEdge(runner.loop(), server.address());
    client->Register(kEpoch, {"home", PublicKey(), 3}, "vps",
                     [&client](const absl::Status&) { client.reset(); });
    REQUIRE(runner.Until([&] { return !client; }));
  }
}

TEST_CASE("edge_client: an edge that talks without end waits for the loop",
          "[edge_client]") {
  std::atomic<int> written = 0;
  ScriptedServer server(
      [&written](ScriptedServer::Stream& stream, grpc::ServerContext&) {
        v1::SyncResponse report = ReportResponse(1);
        report.mutable_report()->add_warnings(std::string(1 << 20, 'w'));
        while (stream.Write(report)) ++written;
        return grpc::Status::OK;
      });
  LoopRunner runner;
  Listener listener;
  const auto client = DialEdge(runner.loop(), server.address());
  auto stream = client->OpenSync(kEpoch, protocol::Digest(), listener);
  REQUIRE(runner.Until([&] { return written > 0; }));
  // The loop is busy, and hears nothing.
  const auto soon = std::chrono::steady_clock::now() + milliseconds(500);
  std::this_thread::sleep_until(soon);
  CHECK(written < 50);
  const int before = written;
  REQUIRE(runner.Until([&] { return written > before + 50; }));
  // With a message that waits to be heard, and with one on its way.
  stream.reset();
  int last = -1;
  for (int i = 0; i < 100 && last != written; ++i) {
    last = written;
    runner.For(milliseconds(50));
  }
  CHECK(last == written);
}

// Counts what others did to an edge.
class Events final : public EventListener {
 public:
  int heard = 0;
  std::string end;
  std::function<void()> then;

  void OnEvent(const EdgeEvent&) override {
    ++heard;
    if (then) then();
  }
  void OnEventsEnd(const absl::Status& status) override {
    end = status.ToString();
  }
};

TEST_CASE("edge_client: hears events until it lets go", "[edge_client]") {
  ScriptedServer server(AnswerAll);
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server.address());
  Events events;
  auto stream = client->OpenEvents(30, events);
  REQUIRE(runner.Until([&] { return events.heard == 30; }));
  SECTION("while it waits") {}
  SECTION("while it hears") {
    std::unique_ptr<EventStream> second;
    events.then = [&second] { second.reset(); };
    second = client->OpenEvents(5, events);
    REQUIRE(runner.Until([&] { return events.heard == 31; }));
    runner.For(milliseconds(50));
  }
  stream.reset();
  runner.For(milliseconds(50));
  CHECK(events.end == "");
}

TEST_CASE("edge_client: an edge that dies ends the events", "[edge_client]") {
  std::optional<ScriptedServer> server(AnswerAll);
  LoopRunner runner;
  const auto client = DialEdge(runner.loop(), server->address());
  Events events;
  const auto stream = client->OpenEvents(1, events);
  REQUIRE(runner.Until([&] { return events.heard == 1; }));
  server->Stop();
  REQUIRE(runner.Until([&] { return !events.end.empty(); }));
}

}  // namespace
}  // namespace edged::agent
