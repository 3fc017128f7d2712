#include "clusteragent/kube/rest_client.h"

#include <atomic>
#include <catch2/catch.hpp>

#include "clusteragent/kube/api_error.h"
#include "clusteragent/kube/json_reading.h"
#include "common/files.h"
#include "common/status.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/common/temporary_folder.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::kube {
namespace {

using Answer = FakeHttpServer::Answer;
using Request = FakeHttpServer::Request;
using nlohmann::json;
using std::chrono::milliseconds;

const ObjectRef kWeb{kServices, "shop", "web", ""};

// "NOT_FOUND: get services a/b: words"
std::string Shown(const absl::Status& status) {
  return absl::StatusCodeToString(status.code()) + ": " +
         std::string(Message(status));
}

struct Api {
  explicit Api(FakeHttpServer::Handler handler, ClientConfig config = {})
      : server(std::move(handler)) {
    config.server = server.Url();
    client = RestClient::Create(runner.loop(), config,
                                {.deadline = milliseconds(1500),
                                 .attempt = milliseconds(500),
                                 .first_retry = milliseconds(4),
                                 .last_retry = milliseconds(50),
                                 .calls_per_second = 1000,
                                 .burst = 1000,
                                 .page_size = 2})
                 .value();
  }

  // The answer of one call, as JSON or as a status.
  template <typename Make>
  std::string Call(Make make) {
    std::optional<absl::StatusOr<json>> result;
    make([&](absl::StatusOr<json> given) { result = std::move(given); });
    CHECK_FALSE(result);
    CHECK(runner.Until([&] { return result.has_value(); }));
    if (!result) return "nothing";
    last = result->status();
    return result->ok() ? JsonText(**result) : Shown(last);
  }
  std::string Get(const ObjectRef& object = kWeb) {
    return Call([&](auto done) { client->Get(object, done); });
  }
  std::string List(const Collection& collection) {
    std::string text;
    client->List(collection, [&](absl::StatusOr<ObjectList> list) {
      text = list.ok() ? list->resource_version + ":" : Shown(list.status());
      if (!list.ok()) return;
      for (const json& item : list->items) text += " " + JsonText(item);
    });
    CHECK(runner.Until([&] { return !text.empty(); }));
    return text;
  }

  agent::LoopRunner runner;
  FakeHttpServer server;
  std::unique_ptr<RestClient> client;
  absl::Status last;
};

std::string StatusBody(int code, const std::string& reason,
                       const std::string& message) {
  return JsonText({{"kind", "Status"},
                   {"code", code},
                   {"reason", reason},
                   {"message", message}});
}

TEST_CASE("rest_client: verbs, paths and bodies", "[rest_client]") {
  Api api([](const Request& request, Answer& answer) {
    const auto type = request.headers.find("content-type");
    answer.Send(
        200,
        JsonText({{"did", request.method + " " + request.target},
                  {"type", type == request.headers.end() ? "" : type->second},
                  {"body", request.body}}));
  });
  const auto did = [&](const std::string& text) {
    const json value = ParseJson(text);
    return Text(Field(value, "did")) + " " + Text(Field(value, "body")) + " " +
           Text(Field(value, "type"));
  };
  RestClient& client = *api.client;
  CHECK(did(api.Get()) == "GET /api/v1/namespaces/shop/services/web  ");
  CHECK(did(api.Get({kEdgeNodes, "", "a b/c", "status"})) ==
        "GET /apis/edged.dev/v1alpha1/edgenodes/a%20b%2Fc/status  ");
  CHECK(did(api.Call([&](auto done) {
          client.Create(kWeb, json{{"a", 1}}, done);
        })) ==
        "POST /api/v1/namespaces/shop/services {\"a\":1} application/json");
  CHECK(did(api.Call([&](auto done) {
          client.Apply(kWeb, json::object(), {"me", true}, done);
        })) ==
        "PATCH /api/v1/namespaces/shop/services/web?fieldManager=me&force=true "
        "{} application/apply-patch+yaml");
  CHECK(did(api.Call([&](auto done) {
          client.MergePatch(kWeb, json::object(), done);
        })).ends_with("application/merge-patch+json"));
  CHECK(did(api.Call([&](auto done) { client.Delete(kWeb, done); })) ==
        "DELETE /api/v1/namespaces/shop/services/web  ");
  CHECK(api.server.connections() == 1);
}

TEST_CASE("rest_client: errors say verb, resource and the server's own words",
          "[rest_client]") {
  std::atomic<int> code = 403;
  Api api([&](const Request&, Answer& answer) {
    answer.Send(code,
                code == 400 ? "<html>\n" : StatusBody(code, "R", "words"));
  });
  CHECK(api.Get() == "PERMISSION_DENIED: get services shop/web: words");
  CHECK(HttpCodeOf(api.last) == 403);
  CHECK(ReasonOf(api.last) == "R");
  CHECK(api.List({kServices, "shop"}) ==
        "PERMISSION_DENIED: list services in namespace shop: words");
  code = 404;
  CHECK(api.Get() == "NOT_FOUND: get services shop/web: words");
  CHECK(api.Call([&](auto done) { api.client->Delete(kWeb, done); }) == "{}");
  code = 409;
  CHECK(api.Get().starts_with("ABORTED: "));
  code = 422;
  CHECK(api.Get().starts_with("INVALID_ARGUMENT: "));
  code = 400;
  CHECK(api.Get() ==
        "INVALID_ARGUMENT: get services shop/web: HTTP 400 <html>\\n");
}

TEST_CASE("rest_client: what may pass is tried again, until the deadline",
          "[rest_client]") {
  std::atomic<int> requests = 0;
  std::atomic<int> failures = 3;
  Api api([&](const Request&, Answer& answer) {
    if (++requests > failures) return void(answer.Send(200, "{}"));
    if (requests == 1) return answer.Cut();
    answer.Send(503, "");
  });
  CHECK(api.Get() == "{}");
  CHECK(requests == 4);

  requests = 1;
  failures = 1'000'000;
  const auto start = std::chrono::steady_clock::now();
  CHECK(api.Get().starts_with("UNAVAILABLE: get services shop/web: HTTP 503"));
  CHECK(std::chrono::steady_clock::now() - start < milliseconds(2500));
  CHECK(requests > 5);
  CHECK(requests < 100);
}

TEST_CASE("rest_client: what must not be done twice is not sent twice",
          "[rest_client]") {
  std::atomic<int> requests = 0;
  Api api([&](const Request&, Answer& answer) {
    if (++requests == 1) return answer.Cut();
    answer.Send(requests < 4 ? 429 : 200, "{}");
  });
  const auto create = [&] {
    return api.Call([&](auto done) { api.client->Create(kWeb, {}, done); });
  };
  CHECK(create().starts_with("UNAVAILABLE: create services shop/web: http:"));
  CHECK(requests == 1);
  // The server has said that it did nothing.
  CHECK(create() == "{}");
}

TEST_CASE("rest_client: what has a name of its own is sent until it is there",
          "[rest_client]") {
  std::atomic<int> requests = 0;
  Api api([&](const Request&, Answer& answer) {
    if (++requests == 1) return answer.Cut();
    answer.Send(409, StatusBody(409, "AlreadyExists", "it is there"));
  });
  CHECK(api.Call([&](auto done) {
    api.client->CreateUnique(kWeb, {}, done);
  }) == "{}");
  CHECK(requests == 2);
}

TEST_CASE("rest_client: waits as long as it is asked to", "[rest_client]") {
  std::atomic<int> requests = 0;
  Api api([&](const Request&, Answer& answer) {
    if (++requests > 1) return void(answer.Send(200, "{}"));
    answer.Send(429, "", {"Retry-After: 1"});
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK(api.Get() == "{}");
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::seconds(1));
}

TEST_CASE("rest_client: a token that was replaced", "[rest_client]") {
  TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "token", "old").ok());
  Api api(
      [&](const Request& request, Answer& answer) {
        const bool good = request.headers.at("authorization") == "Bearer new";
        // The kubelet is quicker than we look.
        if (!good) CHECK(WriteFileAtomically(folder / "token", "new").ok());
        answer.Send(good ? 200 : 401, "{}");
      },
      {.token_file = folder / "token"});
  CHECK(api.Get() == "{}");
  CHECK(api.server.Log().size() == 2);

  Api refused([](const Request&, Answer& answer) { answer.Send(401, "{}"); },
              {.token = Secret("x")});
  CHECK(refused.Get().starts_with("UNAUTHENTICATED: "));
  CHECK(refused.server.Log().size() == 1);
}

// Answers a list of `count` numbers by pages; from page `expired` on the first
// `times` times with 410.
struct Pages {
  int count = 5;
  int expired = 100;
  std::atomic<int> times = 0;

  void operator()(const Request& request, Answer& answer) {
    const std::string limit = request.Query("limit");
    const int first = std::atoi(request.Query("continue").c_str());
    if (first >= expired && times-- > 0) {
      return void(answer.Send(410, StatusBody(410, "Expired", "too old")));
    }
    const int last =
        limit.empty() ? count : std::min(count, first + std::stoi(limit));
    json items = json::array();
    for (int i = first; i < last; ++i) items.push_back(i);
    json metadata = {{"resourceVersion", "77"}};
    if (last < count) metadata["continue"] = std::to_string(last);
    answer.Send(200, JsonText({{"metadata", metadata}, {"items", items}}));
  }
};

TEST_CASE("rest_client: lists page by page", "[rest_client]") {
  Pages pages;
  Api api(std::ref(pages));
  CHECK(api.List({kServices, "", "a=b"}) == "77: 0 1 2 3 4");
  CHECK(api.server.Log() ==
        std::vector<std::string>{
            "GET /api/v1/services?labelSelector=a%3Db&limit=2",
            "GET /api/v1/services?continue=2&labelSelector=a%3Db&limit=2",
            "GET /api/v1/services?continue=4&labelSelector=a%3Db&limit=2"});
}

TEST_CASE("rest_client: pages that expire are read again, then all at once",
          "[rest_client]") {
  Pages pages;
  pages.expired = 4;
  pages.times = 1;
  Api api(std::ref(pages));
  CHECK(api.List({kServices}) == "77: 0 1 2 3 4");
  pages.times = 1000;
  CHECK(api.List({kServices}) == "77: 0 1 2 3 4");
  CHECK(api.server.Log().back() == "GET /api/v1/services");
}

TEST_CASE("rest_client: an update begins anew after a conflict",
          "[rest_client]") {
  std::atomic<int> version = 1;
  std::atomic<int> conflicts = 2;
  Api api([&](const Request& request, Answer& answer) {
    if (request.method == "PUT" && conflicts-- > 0) {
      ++version;
      return void(answer.Send(409, StatusBody(409, "Conflict", "changed")));
    }
    answer.Send(200, request.method == "PUT"
                         ? request.body
                         : JsonText({{"version", version.load()}}));
  });
  const auto update = [&](bool change) {
    return api.Call([&](auto done) {
      api.client->Update(
          kWeb,
          [change](json& object) {
            object["mine"] = true;
            return change;
          },
          done);
    });
  };
  CHECK(update(true) == R"({"mine":true,"version":3})");
  const size_t before = api.server.Log().size();
  CHECK(update(false) == R"({"mine":true,"version":3})");
  CHECK(api.server.Log().size() == before + 1);
  conflicts = 1000;
  CHECK(update(true).starts_with("ABORTED: "));
}

TEST_CASE("rest_client: what is cancelled is not answered", "[rest_client]") {
  Api api([](const Request&, Answer& answer) {
    answer.Wait(milliseconds(20));
    answer.Send(200, "{}");
  });
  bool answered = false;
  const auto id = api.client->Get(kWeb, [&](const auto&) { answered = true; });
  api.client->Cancel(id);
  const auto sent =
      api.client->Get(kWeb, [&](const auto&) { answered = true; });
  api.runner.For(milliseconds(10));
  api.client->Cancel(sent);
  api.client->Get(kWeb, [&](const auto&) { api.client.reset(); });
  CHECK(api.runner.Until([&] { return api.client == nullptr; }));
  CHECK_FALSE(answered);
}

TEST_CASE("rest_client: an answer that is not what it should be",
          "[rest_client]") {
  Api api([](const Request&, Answer& answer) {
    answer.Send(200, "<html>a proxy's page</html>");
  });
  CHECK(api.Get().find("is not a JSON object") != std::string::npos);
  CHECK(api.List({kServices}).find("is not a JSON object") !=
        std::string::npos);
}

TEST_CASE("api_error: a verb that no rule grants", "[rest_client]") {
  const auto verb = [](const std::string& message) {
    return MissingVerb(ErrorOf(
        HttpResponse{.code = 403, .body = JsonText({{"message", message}})},
        "patch portbindings a/web status"));
  };
  CHECK(verb("portbindings.edged.dev \"web\" is forbidden: User \"agent\" "
             "cannot patch resource \"portbindings/status\" in API group "
             "\"edged.dev\" in the namespace \"a\"") ==
        "patch portbindings/status");
  CHECK(verb("services is forbidden: User \"agent\" cannot list resource "
             "\"services\" in API group \"\" at the cluster scope") ==
        "list services");
  CHECK(verb("admission webhook \"x\" denied the request: no").empty());
  CHECK(MissingVerb(absl::OkStatus()).empty());
}

}  // namespace
}  // namespace edged::kube
