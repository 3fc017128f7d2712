#include "clusteragent/controller/status_writer.h"

#include <catch2/catch.hpp>
#include <mutex>

#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::agent {
namespace {

using nlohmann::json;
using Answer = FakeHttpServer::Answer;
using Request = FakeHttpServer::Request;

const StatusWriter::Part kStatus{"status", [](const json& value) {
                                   return value.is_object() ? value
                                                            : json::object();
                                 }};
const kube::ObjectRef kObject{kube::kPortBindings, "a", "web", "status"};

// An API server that keeps one status, without the field "pruned".
struct Api {
  void operator()(const Request& request, Answer& answer) {
    const std::lock_guard lock(mutex);
    if (fails > 0) {
      --fails;
      return void(answer.Send(403, refusal));
    }
    patches += request.body + ";";
    status.merge_patch(json::parse(request.body)["status"]);
    status.erase("pruned");
    const json object = {
        {"metadata",
         {{"name", "web"}, {"resourceVersion", std::to_string(++version)}}},
        {"status", status}};
    answer.Send(200, object.dump());
  }
  std::string Patches() {
    const std::lock_guard lock(mutex);
    return patches;
  }

  std::mutex mutex;
  json status = json::object();
  std::string patches;
  std::string refusal = R"({"message":"forbidden"})";
  int version = 10;
  int fails = 0;
};

struct Setup {
  Api api;
  FakeHttpServer server{std::ref(api)};
  LoopRunner runner;
  std::unique_ptr<kube::RestClient> client;
  std::string troubles;
  std::optional<StatusWriter> writer;

  Setup() {
    kube::ClientConfig config;
    config.server = server.Url();
    client = kube::RestClient::Create(runner.loop(), config).value();
    writer.emplace(
        runner.loop(), *client,
        [this](const kube::ObjectRef& object, const absl::Status& why) {
          troubles +=
              object.name + ": " + absl::StatusCodeToString(why.code()) + "; ";
        });
  }
  void Want(const json& wanted) {
    writer->Want(kObject, kStatus, json::object(), "10", wanted);
  }
};

TEST_CASE("status_writer: sends what differs, and nothing twice",
          "[status_writer]") {
  Setup setup;
  setup.Want(json::object());
  setup.Want({{"a", 1}});
  setup.Want({{"a", 1}});
  REQUIRE(setup.runner.Until([&] { return !setup.api.Patches().empty(); }));
  // The watch is behind what was written.
  REQUIRE(setup.runner.Until([&] {
    return setup.writer->Known(kObject, kStatus, json::object(), "10") ==
           json({{"a", 1}});
  }));
  setup.Want({{"a", 1}});
  setup.Want({{"a", 2}});
  REQUIRE(setup.runner.Until([&] {
    return setup.api.Patches() == R"({"status":{"a":1}};{"status":{"a":2}};)";
  }));
}

TEST_CASE("status_writer: does not repeat what the server's schema drops",
          "[status_writer]") {
  Setup setup;
  setup.Want({{"a", 1}, {"pruned", 2}});
  REQUIRE(setup.runner.Until([&] {
    return setup.writer->Known(kObject, kStatus, json::object(), "10") ==
           json({{"a", 1}});
  }));
  setup.Want({{"a", 1}, {"pruned", 2}});
  setup.runner.Until([&] { return setup.api.version > 11; },
                     std::chrono::milliseconds(200));
  CHECK(setup.api.Patches() == R"({"status":{"a":1,"pruned":2}};)");
}

TEST_CASE("status_writer: what is refused is told of its object, once",
          "[status_writer]") {
  Setup setup;
  setup.api.fails = 2;
  setup.Want({{"a", 1}});
  REQUIRE(setup.runner.Until([&] { return !setup.troubles.empty(); }));
  CHECK(setup.troubles == "web: PERMISSION_DENIED; ");
  // By an admission, not by rules.
  CHECK(setup.writer->MissingVerbs().empty());
}

TEST_CASE("status_writer: a verb that no rule grants is named while it lacks",
          "[status_writer]") {
  Setup setup;
  setup.api.fails = 1;
  setup.api.refusal =
      R"({"message":"portbindings.edged.dev \"web\" is forbidden: User )"
      R"(\"agent\" cannot patch resource \"portbindings/status\" in API )"
      R"(group \"edged.dev\" in the namespace \"a\""})";
  setup.writer->BeginRound();
  setup.Want({{"a", 1}});
  REQUIRE(setup.runner.Until(
      [&] { return !setup.writer->MissingVerbs().empty(); }));
  CHECK(*setup.writer->MissingVerbs().begin() == "patch portbindings/status");
  // The object is gone.
  setup.writer->BeginRound();
  setup.writer->EndRound();
  CHECK(setup.writer->MissingVerbs().empty());
}

}  // namespace
}  // namespace edged::agent
