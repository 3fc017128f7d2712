#include "clusteragent/kube/cluster_mirror.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>

#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::kube {
namespace {

using Answer = FakeHttpServer::Answer;
using Request = FakeHttpServer::Request;
using std::chrono::milliseconds;

// A cluster with one Service, and events of Services that a test writes.
class Api {
 public:
  void operator()(const Request& request, Answer& answer) {
    const bool watch = !request.Query("watch").empty();
    const bool services = request.Path() == "/api/v1/services";
    if (request.Path().find("referencegrants") != std::string::npos) {
      return void(answer.Send(404, "{}"));
    }
    if (!watch) {
      return void(answer.Send(
          200, services
                   ? R"({"metadata":{"resourceVersion":"5"},"items":[)"
                     R"({"metadata":{"name":"web","namespace":"a"}}]})"
                   : R"({"metadata":{"resourceVersion":"5"},"items":[]})"));
    }
    answer.Begin(200);
    while (services && answer.WaitUntil([this] { return HasEvent(); })) {
      answer.Write(TakeEvent());
    }
    answer.Wait(std::chrono::seconds(30));
  }

  void Tell(const std::string& event) {
    const std::lock_guard lock(mutex_);
    events_ += event + "\n";
  }

 private:
  bool HasEvent() const {
    const std::lock_guard lock(mutex_);
    return !events_.empty();
  }
  std::string TakeEvent() {
    const std::lock_guard lock(mutex_);
    return std::exchange(events_, "");
  }

  mutable std::mutex mutex_;
  std::string events_;
};

TEST_CASE("cluster_mirror: complete when every kind was told, and follows",
          "[cluster_mirror]") {
  Api api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  ClientConfig config;
  config.server = server.Url();
  const auto client = RestClient::Create(runner.loop(), config).value();
  int changes = 0;
  std::string troubles;
  agent::ObjectStore objects;
  std::string heard;
  ClusterMirror mirror(
      runner.loop(), *client, {}, objects,
      {.changed = [&] { ++changes; },
       .heard =
           [&](const agent::ObjectStore::Name& name) {
             heard += name.second + ";";
           },
       .trouble =
           [&](const std::string& collection, const absl::Status& why) {
             if (!why.ok()) troubles += collection + ";";
           }});
  mirror.Start();
  CHECK_FALSE(mirror.complete());
  REQUIRE(runner.Until([&] { return changes > 0; }));
  CHECK(mirror.complete());
  CHECK(objects.services().size() == 1);
  CHECK(objects.GrantsOf("a").empty());
  CHECK(heard == "web;");
  CHECK(troubles.empty());

  // Only what we use counts as a change.
  const int before = changes;
  api.Tell(R"({"type":"MODIFIED","object":{"metadata":{"name":"web",)"
           R"("namespace":"a","resourceVersion":"6"},"status":{}}})");
  runner.For(milliseconds(100));
  CHECK(changes == before);
  CHECK(heard == "web;web;");
  api.Tell(R"({"type":"ADDED","object":{"metadata":{"name":"api",)"
           R"("namespace":"a","resourceVersion":"7"}}})");
  REQUIRE(runner.Until([&] { return changes == before + 1; }));
  CHECK(objects.services().size() == 2);
  api.Tell(R"({"type":"DELETED","object":{"metadata":{"name":"web",)"
           R"("namespace":"a","resourceVersion":"8"}}})");
  REQUIRE(runner.Until([&] { return changes == before + 2; }));
  REQUIRE(objects.services().size() == 1);
  CHECK(objects.services().contains({"a", "api"}));
}

}  // namespace
}  // namespace edged::kube
