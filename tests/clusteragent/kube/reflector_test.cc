#include "clusteragent/kube/reflector.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
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

json Object(const std::string& name, int version) {
  return {{"metadata",
           {{"name", name}, {"resourceVersion", std::to_string(version)}}}};
}

std::string Event(const std::string& type, const json& object) {
  return JsonText({{"type", type}, {"object", object}}) + "\n";
}

// A server whose collection is `items`, and whose watches a test writes.
class Script {
 public:
  using Watch = std::function<void(const Request&, Answer&)>;

  void SetList(std::vector<json> items, int version) {
    const std::lock_guard lock(mutex_);
    list_ =
        JsonText({{"metadata", {{"resourceVersion", std::to_string(version)}}},
                  {"items", std::move(items)}});
  }
  // What the n-th watch does; the last one is repeated.
  void SetWatches(std::vector<Watch> watches) {
    const std::lock_guard lock(mutex_);
    watches_ = std::move(watches);
  }

  void operator()(const Request& request, Answer& answer) {
    if (request.Query("watch").empty()) {
      ++lists;
      std::unique_lock lock(mutex_);
      const std::string body = list_;
      lock.unlock();
      answer.Send(200, body);
      return;
    }
    std::unique_lock lock(mutex_);
    versions_ += " " + request.Query("resourceVersion");
    const size_t number = std::min<size_t>(watches++, watches_.size() - 1);
    const Watch watch = watches_[number];
    lock.unlock();
    watch(request, answer);
  }

  std::string versions() const {
    const std::lock_guard lock(mutex_);
    return versions_;
  }

  std::atomic<int> lists = 0;
  std::atomic<size_t> watches = 0;

 private:
  mutable std::mutex mutex_;
  std::string list_;
  std::string versions_;
  std::vector<Watch> watches_;
};

void Forever(const Request&, Answer& answer) {
  answer.Begin(200);
  answer.Wait(std::chrono::seconds(30));
}

struct Mirror {
  explicit Mirror(
      Script& given,
      const WatchProgress::Pace& pace = {.first = milliseconds(20),
                                         .most = milliseconds(100),
                                         .shortest = milliseconds(200)})
      : script(given), server(std::ref(given)) {
    ClientConfig config;
    config.server = server.Url();
    client = RestClient::Create(runner.loop(), config).value();
    reflector = std::make_unique<Reflector>(
        runner.loop(), *client, Collection{kServices},
        Reflector::Told{.replace =
                            [this](std::vector<json> items) {
                              held.clear();
                              for (const json& item : items) Put(item);
                              ++replaced;
                            },
                        .put = [this](const json& item) { Put(item); },
                        .remove =
                            [this](const json& item) {
                              held.erase(Text(Field(item, "metadata", "name")));
                            },
                        .trouble =
                            [this](const absl::Status& status) {
                              troubles +=
                                  absl::StatusCodeToString(status.code()) + ";";
                            }},
        pace);
    reflector->Start();
  }

  void Put(const json& item) {
    held[Text(Field(item, "metadata", "name"))] =
        Text(Field(item, "metadata", "resourceVersion"));
  }
  // "a=10 b=11"
  std::string Held() const {
    std::string text;
    for (const auto& [name, version] : held) {
      text += (text.empty() ? "" : " ") + name + "=" + version;
    }
    return text;
  }
  bool Becomes(const std::string& wanted) {
    return runner.Until([&] { return Held() == wanted; });
  }

  Script& script;
  agent::LoopRunner runner;
  FakeHttpServer server;
  std::unique_ptr<RestClient> client;
  std::map<std::string, std::string> held;
  int replaced = 0;
  std::string troubles;
  std::unique_ptr<Reflector> reflector;
};

TEST_CASE("reflector: a list, then every change", "[reflector]") {
  Script script;
  script.SetList({Object("a", 5), Object("b", 6)}, 10);
  script.SetWatches({[](const Request& request, Answer& answer) {
    CHECK(request.Query("allowWatchBookmarks") == "true");
    answer.Begin(200);
    answer.Write(Event("ADDED", Object("c", 11)) +
                 Event("MODIFIED", Object("a", 12)));
    // One line in two pieces.
    const std::string last = Event("DELETED", Object("b", 13));
    answer.Write(last.substr(0, 20));
    answer.Wait(milliseconds(30));
    answer.Write(last.substr(20));
    answer.Wait(std::chrono::seconds(30));
  }});
  Mirror mirror(script);
  CHECK(mirror.Becomes("a=12 c=11"));
  CHECK(script.versions() == " 10");
  CHECK(mirror.troubles.empty());
}

TEST_CASE("reflector: a stream that is cut goes on where it was",
          "[reflector]") {
  Script script;
  script.SetList({Object("a", 5)}, 10);
  script.SetWatches({[](const Request&, Answer& answer) {
                       answer.Begin(200);
                       answer.Write(Event("ADDED", Object("b", 11)) +
                                    Event("BOOKMARK", Object("", 15)) +
                                    "{\"type\":\"ADD");
                       answer.Wait(milliseconds(20));
                       answer.Cut();
                     },
                     [](const Request&, Answer& answer) {
                       answer.Begin(200);
                       // An old one must not put the object back.
                       answer.Write(Event("MODIFIED", Object("a", 4)) +
                                    Event("ADDED", Object("c", 16)));
                       answer.Wait(std::chrono::seconds(30));
                     }});
  Mirror mirror(script);
  CHECK(mirror.Becomes("a=5 b=11 c=16"));
  CHECK(script.versions() == " 10 15");
  CHECK(script.lists == 1);
}

// The three shapes of an expired watch.
void Http410(const Request&, Answer& answer) { answer.Send(410, "{}"); }
void Event410(const Request&, Answer& answer) {
  answer.Begin(200);
  answer.Write(Event("ERROR", {{"code", 410}, {"reason", "Expired"}}));
}
void Empty200(const Request&, Answer& answer) { answer.Send(200, ""); }

TEST_CASE("reflector: an expired version lists anew, and notices what is gone",
          "[reflector]") {
  const auto shape = GENERATE(&Http410, &Event410, &Empty200);
  Script script;
  script.SetList({Object("a", 5), Object("b", 6)}, 10);
  script.SetWatches({[&script, shape](const Request& request, Answer& answer) {
                       script.SetList({Object("b", 20)}, 20);
                       shape(request, answer);
                     },
                     Forever});
  Mirror mirror(script);
  CHECK(mirror.Becomes("b=20"));
  CHECK(mirror.runner.Until([&] { return script.versions() == " 10 20"; }));
  CHECK(mirror.troubles.empty());
}

// As an API server does whose CRD was changed: storage of the old schema tells
// objects without what only the new one knows, and ends a second later.
TEST_CASE("reflector: what a watch of an old schema left out is read again",
          "[reflector]") {
  Script script;
  script.SetList({Object("a", 5)}, 10);
  script.SetWatches({[&script](const Request&, Answer& answer) {
                       answer.Begin(200);
                       answer.Write(Event("MODIFIED", Object("a", 11)));
                       script.SetList({Object("a", 11), Object("b", 9)}, 11);
                       answer.Wait(milliseconds(300));
                     },
                     Forever});
  Mirror mirror(script);
  CHECK(mirror.Becomes("a=11 b=9"));
  CHECK(script.lists == 2);
  CHECK(mirror.troubles.empty());
}

TEST_CASE("reflector: a server that always says so is not hurried",
          "[reflector]") {
  const auto shape = GENERATE(&Http410, &Event410, &Empty200);
  Script script;
  script.SetList({}, 10);
  script.SetWatches({shape});
  Mirror mirror(script);
  mirror.runner.For(milliseconds(600));
  CHECK(script.lists >= 4);
  CHECK(script.lists <= 20);
}

TEST_CASE("reflector: a server in trouble is told of, and what was told stands",
          "[reflector]") {
  Script script;
  std::atomic<bool> down = true;
  script.SetList({Object("a", 5)}, 10);
  script.SetWatches({[&](const Request&, Answer& answer) {
    if (down) return void(answer.Send(500, "{}"));
    answer.Begin(200);
    answer.Write(Event("ADDED", Object("b", 11)));
    answer.Wait(std::chrono::seconds(30));
  }});
  Mirror mirror(script);
  CHECK(mirror.Becomes("a=5"));
  CHECK(mirror.runner.Until([&] { return script.watches >= 5; }));
  CHECK(mirror.Held() == "a=5");
  CHECK(mirror.troubles.starts_with("UNAVAILABLE;"));
  down = false;
  CHECK(mirror.Becomes("a=5 b=11"));
  CHECK(mirror.troubles.ends_with(";OK;"));
}

TEST_CASE("reflector: one that waits for a server is hurried when it is there",
          "[reflector]") {
  Script script;
  std::atomic<bool> down = true;
  script.SetList({Object("a", 5)}, 10);
  script.SetWatches({[&](const Request&, Answer& answer) {
    if (down) return void(answer.Send(500, "{}"));
    Forever({}, answer);
  }});
  Mirror mirror(script, {.first = std::chrono::minutes(2),
                         .most = std::chrono::minutes(2)});
  CHECK(mirror.runner.Until([&] { return script.watches == 1; }));
  mirror.runner.For(milliseconds(50));
  down = false;
  mirror.reflector->Hurry();
  CHECK(mirror.runner.Until([&] { return script.watches == 2; }));
  mirror.reflector->Hurry();
  mirror.runner.For(milliseconds(50));
  CHECK(script.watches == 2);
}

TEST_CASE("reflector: a store from a backup is listed, however old it is",
          "[reflector]") {
  Script script;
  script.SetList({Object("a", 5), Object("b", 9)}, 10);
  script.SetWatches({Forever});
  Mirror mirror(script);
  CHECK(mirror.Becomes("a=5 b=9"));
  CHECK(mirror.runner.Until([&] { return script.watches == 1; }));
  script.SetList({Object("a", 5)}, 6);
  mirror.reflector->Relist();
  CHECK(mirror.Becomes("a=5"));
  CHECK(mirror.runner.Until([&] { return script.versions() == " 10 6"; }));
  CHECK(mirror.troubles.empty());
}

TEST_CASE("reflector: what is no event ends the watch, not the agent",
          "[reflector]") {
  Script script;
  script.SetList({Object("a", 5)}, 10);
  script.SetWatches({[](const Request&, Answer& answer) {
                       answer.Begin(200);
                       answer.Write("<html>\n");
                       answer.Wait(std::chrono::seconds(30));
                     },
                     Forever});
  Mirror mirror(script);
  CHECK(mirror.runner.Until([&] { return mirror.replaced == 2; }));
  CHECK(mirror.Becomes("a=5"));
}

}  // namespace
}  // namespace edged::kube
