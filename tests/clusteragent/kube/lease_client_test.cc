#include "clusteragent/kube/lease_client.h"

#include <catch2/catch.hpp>
#include <mutex>

#include "clusteragent/kube/json_reading.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::kube {
namespace {

using Answer = FakeHttpServer::Answer;
using Request = FakeHttpServer::Request;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

// One Lease, with the conflicts of an API server.
class LeaseServer {
 public:
  void operator()(const Request& request, Answer& answer) {
    const std::lock_guard lock(mutex_);
    if (down_) return answer.Cut();
    if (request.Path() == "/api/v1/namespaces/kube-system") {
      return void(answer.Send(200, R"({"metadata":{"uid":"cluster-1"}})"));
    }
    if (request.method == "GET") {
      return void(lease_.is_null() ? answer.Send(404, "{}")
                                   : answer.Send(200, JsonText(lease_)));
    }
    const json body = ParseJson(request.body);
    if (request.method == "POST" && !lease_.is_null()) {
      return void(answer.Send(409, R"({"reason":"AlreadyExists"})"));
    }
    if (request.method == "PUT" &&
        Text(Field(body, "metadata", "resourceVersion")) !=
            Text(Field(lease_, "metadata", "resourceVersion"))) {
      return void(answer.Send(409, R"({"reason":"Conflict"})"));
    }
    Set(body);
    answer.Send(200, JsonText(lease_));
  }

  void SetDown(bool down) {
    const std::lock_guard lock(mutex_);
    down_ = down;
  }
  // Versions begin anew, as in a store from a backup.
  void Restore(const json& lease) {
    const std::lock_guard lock(mutex_);
    version_ = 0;
    Set(lease);
  }
  void Delete() {
    const std::lock_guard lock(mutex_);
    lease_ = nullptr;
  }
  // "a 1 15": holder, transitions, duration
  std::string Shown() const {
    const std::lock_guard lock(mutex_);
    const json& spec = Field(lease_, "spec");
    return Text(Field(spec, "holderIdentity")) + " " +
           std::to_string(Number(Field(spec, "leaseTransitions"), -1)) + " " +
           std::to_string(Number(Field(spec, "leaseDurationSeconds"), -1));
  }
  json Lease() const {
    const std::lock_guard lock(mutex_);
    return lease_;
  }

 private:
  void Set(const json& body) {
    lease_ = body;
    lease_["metadata"]["resourceVersion"] = std::to_string(++version_);
  }

  mutable std::mutex mutex_;
  json lease_;
  int version_ = 0;
  bool down_ = false;
};

struct Replica {
  Replica(EventLoop& loop, const std::string& url, const std::string& name,
          bool alone = false,
          std::chrono::seconds duration = std::chrono::seconds(1)) {
    ClientConfig config;
    config.server = url;
    rest = RestClient::Create(loop, config,
                              {.deadline = milliseconds(300),
                               .attempt = milliseconds(200),
                               .first_retry = milliseconds(10)})
               .value();
    lease = std::make_unique<LeaseClient>(
        loop, *rest,
        LeaseClient::Settings{.name_space = "edged",
                              .identity = name,
                              .timing = {.lease = duration,
                                         .renewal = milliseconds(700),
                                         .retry = milliseconds(100)},
                              .alone = alone},
        LeaseClient::Told{.changed =
                              [this](const std::optional<Term>& term) {
                                told += term
                                            ? term->cluster_uid + "/" +
                                                  std::to_string(term->number) +
                                                  ";"
                                            : "none;";
                              },
                          .trouble = [](const absl::Status&) {},
                          .restored = [this] { ++restored; }});
    lease->Start();
  }

  std::unique_ptr<RestClient> rest;
  std::unique_ptr<LeaseClient> lease;
  std::string told;
  int restored = 0;
};

TEST_CASE("lease_client: leads, keeps leading, and lets go", "[lease_client]") {
  constexpr seconds kLong(60);
  LeaseServer api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  Replica a(runner.loop(), server.Url(), "a", false, kLong);
  REQUIRE(runner.Until([&] { return a.lease->term().has_value(); }));
  Replica b(runner.loop(), server.Url(), "b", false, kLong);
  runner.For(milliseconds(1500));
  CHECK(a.told == "cluster-1/1;");
  CHECK(b.told == "");
  CHECK(b.lease->holder() == "a");
  CHECK(api.Shown() == "a 1 60");

  bool released = false;
  a.lease->Release([&] { released = true; });
  CHECK(a.told == "cluster-1/1;none;");
  CHECK(runner.Until([&] { return released; }));
  // Long before the lease would be over.
  CHECK(runner.Until([&] { return b.lease->term().has_value(); }));
  CHECK(b.told == "cluster-1/2;");
  CHECK(Field(api.Lease(), "spec", "acquireTime").is_string());
}

TEST_CASE("lease_client: without an API server nobody leads for long",
          "[lease_client]") {
  LeaseServer api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  Replica a(runner.loop(), server.Url(), "a");
  REQUIRE(runner.Until([&] { return a.lease->term().has_value(); }));
  api.SetDown(true);
  CHECK(runner.Until([&] { return !a.lease->term(); }));
  api.SetDown(false);
  // It is the one in the lease still.
  CHECK(runner.Until([&] { return a.lease->term().has_value(); }));
  CHECK(a.told == "cluster-1/1;none;cluster-1/1;");
}

TEST_CASE("lease_client: a lease deleted by hand", "[lease_client]") {
  LeaseServer api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  Replica a(runner.loop(), server.Url(), "a");
  REQUIRE(runner.Until([&] { return a.lease->term().has_value(); }));
  api.Delete();
  CHECK(runner.Until([&] { return api.Shown() == "a 2 1"; }));
  CHECK(runner.Until([&] { return a.lease->term().has_value(); }));
  CHECK(a.lease->term()->number == 2);
  a.lease->Exceed(40);
  CHECK(runner.Until([&] { return api.Shown() == "a 41 1"; }));
}

TEST_CASE("lease_client: a lease that is older than it was tells of a backup",
          "[lease_client]") {
  LeaseServer api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  Replica a(runner.loop(), server.Url(), "a");
  REQUIRE(runner.Until([&] { return a.lease->term().has_value(); }));
  const json backup = api.Lease();
  Replica b(runner.loop(), server.Url(), "b");
  runner.For(milliseconds(600));
  api.Delete();  // made anew by one of them: no backup
  CHECK(runner.Until([&] { return !api.Lease().is_null(); }));
  runner.For(milliseconds(300));
  CHECK(a.restored + b.restored == 0);
  api.Restore(backup);
  CHECK(runner.Until([&] { return a.restored == 1 && b.restored == 1; }));
  runner.For(milliseconds(500));
  CHECK(a.restored == 1);
  CHECK(b.restored == 1);
}

TEST_CASE("lease_client: one that is alone writes a term once, and keeps it",
          "[lease_client]") {
  LeaseServer api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  Replica before(runner.loop(), server.Url(), "before", false, seconds(60));
  REQUIRE(runner.Until([&] { return before.lease->term().has_value(); }));
  // Another process, whose lease is not over.
  before.lease.reset();
  Replica a(runner.loop(), server.Url(), "a", true);
  REQUIRE(runner.Until([&] { return a.lease->term().has_value(); }));
  CHECK(api.Shown() == "a 2 1");
  const std::string version =
      Text(Field(api.Lease(), "metadata", "resourceVersion"));
  api.SetDown(true);
  runner.For(milliseconds(1500));
  CHECK(a.told == "cluster-1/2;");
  api.SetDown(false);
  CHECK(Text(Field(api.Lease(), "metadata", "resourceVersion")) == version);
  a.lease->Exceed(40);
  CHECK(runner.Until([&] { return api.Shown() == "a 41 1"; }));
  CHECK(a.told == "cluster-1/2;none;cluster-1/41;");
  bool released = false;
  a.lease->Release([&] { released = true; });
  CHECK(runner.Until([&] { return released; }));
  CHECK(api.Shown() == " 41 1");
}

TEST_CASE("lease_client: of two at once one leads", "[lease_client]") {
  LeaseServer api;
  FakeHttpServer server(std::ref(api));
  agent::LoopRunner runner;
  Replica a(runner.loop(), server.Url(), "a");
  Replica b(runner.loop(), server.Url(), "b");
  bool both = false;
  runner.Until(
      [&] {
        both = both || (a.lease->term() && b.lease->term());
        return both;
      },
      milliseconds(600));
  CHECK_FALSE(both);
  CHECK(runner.Until([&] {
    return a.lease->term().has_value() || b.lease->term().has_value();
  }));
}

}  // namespace
}  // namespace edged::kube
