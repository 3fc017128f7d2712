#include "clusteragent/source/kube_source.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::agent {
namespace {

using Answer = FakeHttpServer::Answer;
using Request = FakeHttpServer::Request;
using std::chrono::milliseconds;

std::string ItemOf(std::string_view kind) {
  if (kind == "edgenodes") {
    return R"({"metadata":{"name":"vps","uid":"1"},)"
           R"("spec":{"address":"203.0.113.1"}})";
  }
  if (kind == "portbindings") {
    return R"({"metadata":{"name":"web","namespace":"a","uid":"2"},"spec":{)"
           R"("edgeNodeRef":{"name":"vps"},"bindings":[{"name":"http",)"
           R"("protocol":"TCP","listenPort":80,"target":{"service":{"name":"web",)"
           R"("port":80}}}]}})";
  }
  if (kind == "services") {
    return R"({"metadata":{"name":"web","namespace":"a"}})";
  }
  if (kind == "endpointslices") {
    return R"({"metadata":{"name":"web-1","namespace":"a","labels":{)"
           R"("kubernetes.io/service-name":"web"}},"addressType":"IPv4",)"
           R"("endpoints":[{"addresses":["10.244.0.2"]}]})";
  }
  return R"({"metadata":{"name":"a"}})";
}

// A cluster with one object of each kind, and one kind that takes a while.
class Api {
 public:
  explicit Api(std::string slow) : slow_(std::move(slow)) {}

  void operator()(const Request& request, Answer& answer) const {
    const std::string path = request.Path();
    const std::string kind = path.substr(path.rfind('/') + 1);
    if (kind == slow_) answer.Wait(milliseconds(100));
    if (kind == "referencegrants") return void(answer.Send(404, "{}"));
    if (!request.Query("watch").empty()) {
      answer.Begin(200);
      return void(answer.Wait(std::chrono::seconds(30)));
    }
    answer.Send(200, R"({"metadata":{"resourceVersion":"5"},"items":[)" +
                         ItemOf(kind) + "]}");
  }

 private:
  const std::string slow_;
};

TEST_CASE("kube_source: complete when the store has all, whichever came last",
          "[kube_source]") {
  const std::string slow =
      GENERATE("edgenodes", "portbindings", "services", "endpointslices",
               "namespaces", "referencegrants");
  CAPTURE(slow);
  FakeHttpServer server{Api(slow)};
  LoopRunner runner;
  kube::ClientConfig config;
  config.server = server.Url();
  const auto client = kube::RestClient::Create(runner.loop(), config).value();
  std::string troubles;
  bool told = false;
  KubeSource source(
      runner.loop(), *client, {}, {},
      {.changed = [&] { told = true; },
       .heard = [](const ObjectKey&) {},
       .trouble =
           [&](const std::string& collection, const absl::Status& why) {
             if (!why.ok()) troubles += collection + ";";
           }});
  source.Start();
  REQUIRE(runner.Until([&] { return source.complete(); }));
  CHECK(told);
  CHECK(troubles.empty());
  const ObjectStore& objects = source.objects();
  CHECK(objects.edge_nodes().size() == 1);
  CHECK(objects.port_bindings().size() == 1);
  CHECK(objects.services().size() == 1);
  CHECK(objects.SlicesOf({"a", "web"}).size() == 1);
  CHECK(objects.namespaces().size() == 1);
}

}  // namespace
}  // namespace edged::agent
