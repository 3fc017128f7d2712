#include "clusteragent/kube/http_client.h"

#include <atomic>
#include <catch2/catch.hpp>

#include "common/files.h"
#include "common/status.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/clusteragent/kube/certificates.h"
#include "tests/fakes/fake_http_server.h"

namespace edged::kube {
namespace {

using Answer = FakeHttpServer::Answer;
using Request = FakeHttpServer::Request;
using std::chrono::milliseconds;

struct Browser {
  explicit Browser(Transport transport = {})
      : client(MakeHttpClient(runner.loop(), std::move(transport)).value()) {}

  // "200 body", or the code of the error and its message.
  std::string Fetch(HttpRequest request) {
    std::string text;
    client->Send(
        std::move(request), [&](absl::StatusOr<HttpResponse> response) {
          text = response.ok()
                     ? fmt::format("{} {}", response->code, response->body)
                     : response.status().ToString();
        });
    CHECK(text.empty());
    CHECK(runner.Until([&] { return !text.empty(); }));
    return text;
  }
  std::string Get(const std::string& url) { return Fetch({.url = url}); }

  agent::LoopRunner runner;
  std::unique_ptr<HttpClient> client;
};

void Echo(const Request& request, Answer& answer) {
  answer.Send(200, request.method + " " + request.target + " " + request.body);
}

TEST_CASE("http_client: one connection serves one request after the other",
          "[http_client]") {
  FakeHttpServer server(Echo);
  Browser browser;
  CHECK(browser.Get(server.Url() + "/a?b=c") == "200 GET /a?b=c ");
  CHECK(browser.Fetch(
            {.method = "PATCH", .url = server.Url() + "/x", .body = "{}"}) ==
        "200 PATCH /x {}");
  CHECK(browser.Fetch({.method = "DELETE", .url = server.Url() + "/x"}) ==
        "200 DELETE /x ");
  CHECK(server.connections() == 1);
}

TEST_CASE("http_client: sends headers and the token, and reads what matters",
          "[http_client]") {
  FakeHttpServer server([](const Request& request, Answer& answer) {
    answer.Send(429,
                request.headers.at("authorization") + " " +
                    request.headers.at("accept"),
                {"RETRY-AFTER: 7"});
  });
  Browser browser;
  std::optional<HttpResponse> response;
  browser.client->Send({.url = server.Url() + "/",
                        .headers = {"Accept: text/plain"},
                        .bearer = Secret("t0k")},
                       [&](auto given) { response = *given; });
  REQUIRE(browser.runner.Until([&] { return response.has_value(); }));
  CHECK(response->code == 429);
  CHECK(response->body == "Bearer t0k text/plain");
  CHECK(response->content_type == "application/json");
  CHECK(response->retry_after == std::chrono::seconds(7));
}

TEST_CASE("http_client: a server that is slow, away, or cuts the answer",
          "[http_client]") {
  FakeHttpServer server([](const Request& request, Answer& answer) {
    if (request.target == "/slow") answer.Wait(std::chrono::seconds(5));
    answer.Begin(200);
    answer.Write("half");
    answer.Cut();
  });
  Browser browser;
  const auto start = std::chrono::steady_clock::now();
  CHECK(
      browser
          .Fetch({.url = server.Url() + "/slow", .deadline = milliseconds(200)})
          .starts_with("DEADLINE_EXCEEDED: http://127.0.0.1"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(3));
  CHECK(browser.Get(server.Url() + "/cut").starts_with("UNAVAILABLE: "));
  CHECK(browser.Get("http://127.0.0.1:1/").starts_with("UNAVAILABLE: "));
  CHECK(browser.Get("gopher://127.0.0.1/").starts_with("INVALID_ARGUMENT: "));
  CHECK(browser.Get("not a url").starts_with("INVALID_ARGUMENT: "));
}

TEST_CASE("http_client: a body is bounded", "[http_client]") {
  FakeHttpServer server([](const Request& request, Answer& answer) {
    answer.Begin(request.target == "/error" ? 500 : 200);
    for (int i = 0; i < 100; ++i) answer.Write(std::string(50'000, 'x'));
  });
  Browser browser;
  const std::string url = server.Url();
  CHECK(browser.Fetch({.url = url + "/", .body_limit = 1000}) ==
        "RESOURCE_EXHAUSTED: " + url +
            "/: the answer is longer than 1000 bytes");
  CHECK(browser.Get(url + "/error").starts_with("RESOURCE_EXHAUSTED: "));
  CHECK(browser.Get(url + "/").size() == 5'000'004);
}

TEST_CASE("http_client: a stream comes in pieces, and can be cancelled by them",
          "[http_client]") {
  std::atomic<bool> go = false;
  FakeHttpServer server([&](const Request& request, Answer& answer) {
    answer.Begin(200);
    answer.Write("one ");
    answer.WaitUntil([&] { return go.load(); });
    answer.Write("two");
    if (request.target == "/endless") answer.Wait(std::chrono::seconds(30));
  });
  Browser browser;
  std::string text;
  const auto piece = [&](std::string_view data) {
    text += data;
    go = true;
  };
  CHECK(browser.Fetch({.url = server.Url() + "/", .on_data = piece}) == "200 ");
  CHECK(text == "one two");

  HttpClient::RequestId id = 0;
  bool done = false;
  id = browser.client->Send({.url = server.Url() + "/endless",
                             .on_data =
                                 [&](std::string_view) {
                                   browser.client->Cancel(id);
                                   browser.client->Cancel(0);
                                 }},
                            [&](auto) { done = true; });
  browser.runner.For(milliseconds(100));
  CHECK_FALSE(done);

  // A piece may end the client itself.
  browser.client->Send(
      {.url = server.Url() + "/endless",
       .on_data = [&](std::string_view) { browser.client.reset(); }},
      [&](auto) { done = true; });
  CHECK(browser.runner.Until([&] { return browser.client == nullptr; }));
  CHECK_FALSE(done);
}

TEST_CASE("http_client: many requests at once, more from their answers",
          "[http_client]") {
  FakeHttpServer server(Echo);
  Browser browser;
  int answered = 0;
  const std::function<void(int)> ask = [&](int more) {
    browser.client->Send(
        {.url = server.Url() + "/"},
        [&, more](const absl::StatusOr<HttpResponse>& response) {
          CHECK(response.ok());
          ++answered;
          if (more > 0) ask(more - 1);
        });
  };
  for (int i = 0; i < 10; ++i) ask(4);
  CHECK(browser.runner.Until([&] { return answered == 50; }));
}

TEST_CASE("http_client: knows a server by its certificate", "[http_client]") {
  const Certificates files;
  const FakeHttpServer::Tls tls{files.Path("server.crt"),
                                files.Path("server.key"), ""};
  FakeHttpServer server(Echo, &tls);
  const std::string url = server.Url() + "/";

  CHECK(Browser({.ca_file = files.Path("ca.crt")}).Get(url) == "200 GET / ");
  CHECK(Browser({.ca_pem = ReadFile(files.Path("ca.crt")).value()}).Get(url) ==
        "200 GET / ");
  CHECK(Browser({.ca_file = files.Path("other.crt")})
            .Get(url)
            .starts_with("FAILED_PRECONDITION: "));
  CHECK(Browser().Get(url).starts_with("FAILED_PRECONDITION: "));
  CHECK(Browser({.verify_server = false}).Get(url) == "200 GET / ");
  CHECK(Browser({.ca_file = files.Path("ca.crt"), .server_name = "api.example"})
            .Get(url) == "200 GET / ");
  CHECK(Browser({.ca_file = files.Path("ca.crt"),
                 .server_name = "elsewhere.example"})
            .Get(url)
            .starts_with("FAILED_PRECONDITION: "));
}

TEST_CASE("http_client: roots that do not fit are soon read again",
          "[http_client]") {
  const Certificates files;
  const FakeHttpServer::Tls tls{files.Path("server.crt"),
                                files.Path("server.key"), ""};
  FakeHttpServer server(Echo, &tls);
  const std::string url = server.Url() + "/";
  const std::string roots = files.Path("roots.crt");
  const auto copy = [&](const char* name) {
    const auto text = ReadFile(files.Path(name)).value();
    REQUIRE(WriteFileAtomically(roots, text).ok());
  };
  copy("other.crt");
  Browser browser({.ca_file = roots});
  CHECK(browser.Get(url).starts_with("FAILED_PRECONDITION: "));
  copy("ca.crt");
  browser.runner.For(milliseconds(1100));
  CHECK(browser.Get(url) == "200 GET / ");
}

TEST_CASE("http_client: shows its own certificate", "[http_client]") {
  const Certificates files;
  const FakeHttpServer::Tls tls{files.Path("server.crt"),
                                files.Path("server.key"), files.Path("ca.crt")};
  FakeHttpServer server(Echo, &tls);
  const std::string url = server.Url() + "/";
  CHECK(Browser({.ca_file = files.Path("ca.crt"),
                 .certificate_file = files.Path("client.crt"),
                 .key_file = files.Path("client.key")})
            .Get(url) == "200 GET / ");
  CHECK(Browser({.ca_file = files.Path("ca.crt"),
                 .certificate_pem = ReadFile(files.Path("client.crt")).value(),
                 .key_pem = Secret(ReadFile(files.Path("client.key")).value())})
            .Get(url) == "200 GET / ");
  CHECK_FALSE(
      Browser({.ca_file = files.Path("ca.crt")}).Get(url).starts_with("200"));
}

}  // namespace
}  // namespace edged::kube
