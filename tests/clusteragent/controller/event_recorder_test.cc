#include "clusteragent/controller/event_recorder.h"

#include <catch2/catch.hpp>
#include <mutex>
#include <optional>

#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

json Before(const char* status, const char* reason) {
  return {{"conditions",
           {{{"type", "Ready"}, {"status", status}, {"reason", reason}}}}};
}

ObjectStatus Status(Kind kind, ConditionStatus ready, const char* reason) {
  ObjectStatus status{.object = {kind, "", "x"}};
  status.conditions = {{"Ready", ready, reason, "a sentence"}};
  return status;
}

std::string NewsText(const json& before, const ObjectStatus& status) {
  std::string text;
  for (const Happening& one : NewsOf(before, status)) {
    text += (one.warning ? "!" : "") + one.reason + ";";
  }
  return text;
}

TEST_CASE(
    "event_recorder: what changed for good is news, what is under way not",
    "[event_recorder]") {
  const auto yes = ConditionStatus::kTrue;
  const auto no = ConditionStatus::kFalse;
  const Kind object = Kind::kPortBinding;
  CHECK(NewsText(json(), Status(object, yes, "Ready")) == "Ready;");
  CHECK(
      NewsText(Before("True", "Ready"), Status(object, yes, "Ready")).empty());
  CHECK(NewsText(json(), Status(object, no, "NotProgrammed")).empty());
  CHECK(NewsText(Before("True", "Ready"),
                 Status(object, no, "ListenerConflict")) ==
        "!ListenerConflict;");
  CHECK(NewsText(Before("False", "ListenerConflict"),
                 Status(object, no, "ListenerConflict"))
            .empty());
}

TEST_CASE("event_recorder: an edge that goes is told of once, at itself",
          "[event_recorder]") {
  const auto no = ConditionStatus::kFalse;
  const json served = Before("True", "Ready");
  CHECK(NewsText(served, Status(Kind::kEdgeNode, no, "TunnelDown")) ==
        "!TunnelDown;");
  CHECK(NewsText(served, Status(Kind::kPortBinding, no, "TunnelDown")).empty());
}

// An API server that refuses so many Events and takes the others.
struct Api {
  void operator()(const FakeHttpServer::Request& request,
                  FakeHttpServer::Answer& answer) {
    const std::lock_guard lock(mutex);
    ++requests;
    if (fails > 0) {
      --fails;
      return void(answer.Send(code, R"({"message":"etcd is away"})"));
    }
    taken += json::parse(request.body)["reason"].get<std::string>() + ";";
    answer.Send(201, "{}");
  }
  std::string Taken() {
    const std::lock_guard lock(mutex);
    return taken;
  }
  int Requests() {
    const std::lock_guard lock(mutex);
    return requests;
  }

  std::mutex mutex;
  int fails = 0;
  int code = 500;
  int requests = 0;
  std::string taken;
};

struct Setup {
  Api api;
  FakeHttpServer server{std::ref(api)};
  LoopRunner runner;
  std::unique_ptr<kube::RestClient> client;
  std::optional<EventRecorder> recorder;

  explicit Setup(int fails, const EventRecorder::Limits& limits = {
                                .calls = 1,
                                .waiting = 4,
                                .pause = {milliseconds(4), milliseconds(20)}}) {
    api.fails = fails;
    kube::ClientConfig config;
    config.server = server.Url();
    client = kube::RestClient::Create(runner.loop(), config,
                                      {.deadline = milliseconds(10),
                                       .first_retry = milliseconds(20),
                                       .calls_per_second = 1000,
                                       .burst = 1000})
                 .value();
    recorder.emplace(*client, "test", limits);
  }
  void Record(const char* reason) {
    recorder->Record({Kind::kPortBinding, "shop", "web"}, "uid",
                     {true, reason, "a sentence"});
  }
  bool Becomes(const std::string& taken) {
    return runner.Until([&] { return api.Taken() == taken; });
  }
};

TEST_CASE("event_recorder: what the server does not take for now comes later",
          "[event_recorder]") {
  Setup setup(5);
  for (const char* reason : {"A", "B", "C"}) setup.Record(reason);
  REQUIRE(setup.runner.Until([&] { return setup.api.Taken().size() == 6; }));
  for (const char* reason : {"A;", "B;", "C;"}) {
    CHECK(setup.api.Taken().find(reason) != std::string::npos);
  }
  CHECK(setup.api.Requests() == 8);
}

TEST_CASE("event_recorder: a server that takes none is asked ever more rarely",
          "[event_recorder]") {
  Setup setup(1'000'000);
  for (const char* reason : {"A", "B", "C"}) setup.Record(reason);
  setup.runner.For(milliseconds(400));
  CHECK(setup.api.Requests() > 10);
  CHECK(setup.api.Requests() < 50);
}

TEST_CASE("event_recorder: floods and old news are lost, and what is refused",
          "[event_recorder]") {
  Setup flooded(0);
  for (const char* reason : {"A", "B", "C", "D", "E", "F", "G"}) {
    flooded.Record(reason);
  }
  CHECK(flooded.Becomes("A;B;C;D;E;"));

  Setup old(1, {.calls = 1,
                .pause = {milliseconds(40), milliseconds(40)},
                .age = milliseconds(5)});
  old.Record("A");
  REQUIRE(old.runner.Until([&] { return old.api.Requests() == 1; }));
  old.runner.For(milliseconds(100));
  old.Record("B");
  CHECK(old.Becomes("B;"));

  Setup refused(1);
  refused.api.code = 422;
  refused.Record("A");
  refused.Record("B");
  CHECK(refused.Becomes("B;"));
}

}  // namespace
}  // namespace edged::agent
