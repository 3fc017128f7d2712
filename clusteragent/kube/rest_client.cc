#include "clusteragent/kube/rest_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "clusteragent/kube/api_error.h"
#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/json_reading.h"
#include "common/status.h"

namespace edged::kube {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostConflicts = 8;
constexpr int kMostRestarts = 2;
// A watch that the server does not end in time.
constexpr std::chrono::seconds kWatchGrace(30);
constexpr char kJson[] = "application/json";
constexpr char kApplyPatch[] = "application/apply-patch+yaml";
constexpr char kMergePatch[] = "application/merge-patch+json";

void SetBody(HttpRequest& request, const nlohmann::json& body,
             const char* type = kJson) {
  request.body = JsonText(body);
  request.headers.push_back(fmt::format("Content-Type: {}", type));
}

std::string Query(const std::map<std::string, std::string>& values) {
  std::string text;
  for (const auto& [name, value] : values) {
    if (value.empty()) continue;
    text += fmt::format("{}{}={}", text.empty() ? "?" : "&", name,
                        PercentEncoded(value));
  }
  return text;
}

// What an answer means: its JSON, or the error.
absl::StatusOr<nlohmann::json> ObjectOf(
    const absl::StatusOr<HttpResponse>& response, const std::string& what) {
  RETURN_IF_ERROR(response.status());
  auto object = ParseJson(response->body);
  if (!object.is_object()) {
    return Unavailable("{}: the answer is not a JSON object", what);
  }
  return object;
}

// A failure that may pass.
bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

struct RestClient::Listing {
  Collection collection;
  ListDone done;
  ObjectList list;
  std::string next;  // page
  int page_size = 0;
  int restarts = 0;
};

absl::StatusOr<std::unique_ptr<RestClient>> RestClient::Create(
    EventLoop& loop, const ClientConfig& config, const RestSettings& settings) {
  ASSIGN_OR_RETURN(auto http, MakeHttpClient(loop, config.transport));
  return std::make_unique<RestClient>(loop, std::move(http), config, settings);
}

RestClient::RestClient(EventLoop& loop, std::unique_ptr<HttpClient> http,
                       const ClientConfig& config, const RestSettings& settings)
    : loop_(loop),
      server_(config.server),
      settings_(settings),
      token_(config.token, config.token_file),
      limit_(settings.calls_per_second, settings.burst),
      http_(std::move(http)) {}

RestClient::~RestClient() {
  for (auto& [id, call] : calls_) loop_.Cancel(call.timer);
}

RestClient::Call RestClient::MakeCall(std::string verb,
                                      const std::string& target,
                                      const std::string& path) const {
  Call call{.what = fmt::format("{} {}", verb, target),
            .backoff = Backoff(settings_.first_retry, settings_.last_retry),
            .deadline = Clock::now() + settings_.deadline};
  call.request.url = server_ + path;
  call.request.deadline = settings_.attempt;
  call.request.headers = {"Accept: application/json",
                          std::string("User-Agent: ") + kFieldManager};
  return call;
}

RestClient::CallId RestClient::Start(Call call) {
  const CallId id = next_++;
  Start(id, std::move(call));
  return id;
}

void RestClient::Start(CallId id, Call call) {
  calls_.insert_or_assign(id, std::move(call));
  Attempt(id, {});
}

void RestClient::Attempt(CallId id, EventLoop::Duration pause) {
  Call& call = calls_.at(id);
  pause = std::max(pause, limit_.Take(Clock::now()));
  call.timer = loop_.After(pause, [this, id] { SendNow(id); });
}

void RestClient::SendNow(CallId id) {
  Call& call = calls_.at(id);
  call.timer = 0;
  auto token = token_.Token(Clock::now());
  if (!token.ok()) return Answer(id, Annotate(token.status(), call.what));
  HttpRequest request = call.request;
  request.bearer = *std::move(token);
  call.sent = http_->Send(std::move(request),
                          [this, id](absl::StatusOr<HttpResponse> response) {
                            Answer(id, std::move(response));
                          });
}

void RestClient::Answer(CallId id, absl::StatusOr<HttpResponse> response) {
  Call& call = calls_.at(id);
  call.sent = 0;
  absl::StatusOr<HttpResponse> result = std::move(response);
  if (!result.ok()) {
    if (HttpCodeOf(result.status()) == 0) {
      result = Annotate(result.status(), call.what);
    }
  } else if (result->code / 100 != 2) {
    result = ErrorOf(*result, call.what);
  }
  if (!result.ok() && Retry(id, result.status())) return;
  const Answered done = std::move(call.done);
  calls_.erase(id);
  done(std::move(result));
}

bool RestClient::Retry(CallId id, const absl::Status& status) {
  Call& call = calls_.at(id);
  if (absl::IsUnauthenticated(status) && !call.token_renewed) {
    call.token_renewed = true;
    if (!token_.Renew()) return false;
    Attempt(id, {});
    return true;
  }
  if (!call.retries || !MayPass(status)) return false;
  // The server may have done what it did not live to tell.
  if (!call.repeatable && HttpCodeOf(status) == 0) return false;
  EventLoop::Duration pause = call.backoff.Next();
  if (const auto wanted = RetryAfterOf(status)) {
    pause = std::max<EventLoop::Duration>(pause, *wanted);
  }
  if (Clock::now() + pause >= call.deadline) return false;
  Attempt(id, pause);
  return true;
}

void RestClient::Cancel(CallId id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  loop_.Cancel(found->second.timer);
  http_->Cancel(found->second.sent);
  calls_.erase(found);
}

RestClient::CallId RestClient::StartJson(Call call, Done done) {
  call.done = [what = call.what, done = std::move(done)](
                  const absl::StatusOr<HttpResponse>& response) {
    done(ObjectOf(response, what));
  };
  return Start(std::move(call));
}

RestClient::CallId RestClient::Get(const ObjectRef& object, Done done) {
  return StartJson(MakeCall("get", object.ToString(), object.Path()),
                   std::move(done));
}

RestClient::Call RestClient::MakeCreation(const ObjectRef& object,
                                          const nlohmann::json& body) const {
  const Collection all{object.resource, object.name_space, "", ""};
  Call call = MakeCall("create", object.ToString(), all.Path());
  call.request.method = "POST";
  SetBody(call.request, body);
  return call;
}

RestClient::CallId RestClient::Create(const ObjectRef& object,
                                      nlohmann::json body, Done done) {
  Call call = MakeCreation(object, body);
  call.repeatable = false;
  return StartJson(std::move(call), std::move(done));
}

RestClient::CallId RestClient::CreateUnique(const ObjectRef& object,
                                            nlohmann::json body, Done done) {
  return StartJson(
      MakeCreation(object, body),
      [done = std::move(done)](const absl::StatusOr<nlohmann::json>& answer) {
        if (absl::IsAlreadyExists(answer.status())) {
          done(nlohmann::json::object());
        } else {
          done(answer);
        }
      });
}

RestClient::CallId RestClient::Replace(const ObjectRef& object,
                                       nlohmann::json body, Done done) {
  Call call = MakeCall("update", object.ToString(), object.Path());
  call.request.method = "PUT";
  // A second one would meet the first one's resourceVersion.
  call.repeatable = false;
  SetBody(call.request, body);
  return StartJson(std::move(call), std::move(done));
}

RestClient::CallId RestClient::Apply(const ObjectRef& object,
                                     nlohmann::json body,
                                     const FieldManager& manager, Done done) {
  const std::string query = Query(
      {{"fieldManager", manager.name}, {"force", manager.force ? "true" : ""}});
  Call call = MakeCall("patch", object.ToString(), object.Path() + query);
  call.request.method = "PATCH";
  SetBody(call.request, body, kApplyPatch);
  return StartJson(std::move(call), std::move(done));
}

RestClient::CallId RestClient::MergePatch(const ObjectRef& object,
                                          nlohmann::json patch, Done done) {
  Call call = MakeCall("patch", object.ToString(), object.Path());
  call.request.method = "PATCH";
  SetBody(call.request, patch, kMergePatch);
  return StartJson(std::move(call), std::move(done));
}

RestClient::CallId RestClient::Delete(const ObjectRef& object, Done done) {
  Call call = MakeCall("delete", object.ToString(), object.Path());
  call.request.method = "DELETE";
  return StartJson(
      std::move(call),
      [done = std::move(done)](const absl::StatusOr<nlohmann::json>& answer) {
        if (absl::IsNotFound(answer.status())) {
          done(nlohmann::json::object());
        } else {
          done(answer);
        }
      });
}

RestClient::CallId RestClient::Update(const ObjectRef& object, Change change,
                                      Done done) {
  const CallId id = next_++;
  UpdateOnce(id, object, change, kMostConflicts, done);
  return id;
}

void RestClient::UpdateOnce(CallId id, const ObjectRef& object,
                            const Change& change, int attempts,
                            const Done& done) {
  Call get = MakeCall("get", object.ToString(), object.Path());
  const auto replaced = [this, id, object, change, attempts,
                         done](const absl::StatusOr<HttpResponse>& response) {
    // Of a lost answer reading tells whether it was done.
    const bool lost =
        MayPass(response.status()) && HttpCodeOf(response.status()) == 0;
    if ((lost || absl::IsAborted(response.status())) && attempts > 1) {
      return UpdateOnce(id, object, change, attempts - 1, done);
    }
    done(ObjectOf(response, "update " + object.ToString()));
  };
  get.done = [this, id, object, change, done, replaced,
              what = get.what](const absl::StatusOr<HttpResponse>& response) {
    auto body = ObjectOf(response, what);
    if (!body.ok() || !change(*body)) return done(std::move(body));
    Call put = MakeCall("update", object.ToString(), object.Path());
    put.request.method = "PUT";
    put.repeatable = false;
    SetBody(put.request, *body);
    put.done = replaced;
    Start(id, std::move(put));
  };
  Start(id, std::move(get));
}

RestClient::CallId RestClient::List(const Collection& collection,
                                    ListDone done) {
  auto listing = std::make_shared<Listing>();
  listing->collection = collection;
  listing->done = std::move(done);
  listing->page_size = settings_.page_size;
  const CallId id = next_++;
  ListPage(id, std::move(listing));
  return id;
}

void RestClient::ListPage(CallId id, std::shared_ptr<Listing> listing) {
  const Collection& collection = listing->collection;
  const std::string limit = listing->page_size > 0
                                ? fmt::format("{}", listing->page_size)
                                : std::string();
  const std::string query =
      Query({{"limit", limit},
             {"continue", listing->next},
             {"labelSelector", collection.label_selector},
             {"fieldSelector", collection.field_selector}});
  Call call =
      MakeCall("list", collection.ToString(), collection.Path() + query);
  call.request.deadline = settings_.deadline;
  call.retries = false;
  call.done = [this, id, listing = std::move(listing)](
                  absl::StatusOr<HttpResponse> response) {
    TakePage(id, listing, std::move(response));
  };
  Start(id, std::move(call));
}

void RestClient::TakePage(CallId id, const std::shared_ptr<Listing>& listing,
                          absl::StatusOr<HttpResponse> response) {
  if (absl::IsOutOfRange(response.status()) && !listing->next.empty() &&
      listing->restarts < kMostRestarts) {
    // It took longer than the server keeps the state that the pages are of.
    listing->list = {};
    listing->next.clear();
    if (++listing->restarts == kMostRestarts) listing->page_size = 0;
    return ListPage(id, listing);
  }
  auto page = ObjectOf(response, "list " + listing->collection.ToString());
  if (!page.ok()) return listing->done(page.status());
  ObjectList& list = listing->list;
  if (const auto items = page->find("items");
      items != page->end() && items->is_array()) {
    list.items.reserve(list.items.size() + items->size());
    for (nlohmann::json& item : *items) list.items.push_back(std::move(item));
  }
  list.resource_version = Text(Field(*page, "metadata", "resourceVersion"));
  listing->next = Text(Field(*page, "metadata", "continue"));
  if (!listing->next.empty()) return ListPage(id, listing);
  listing->done(std::move(list));
}

RestClient::CallId RestClient::Watch(
    const Collection& collection, const std::string& resource_version,
    std::chrono::seconds lifetime,
    std::function<void(std::string_view)> on_data,
    std::function<void(const absl::Status&)> done) {
  const std::string query =
      Query({{"watch", "true"},
             {"allowWatchBookmarks", "true"},
             {"resourceVersion", resource_version},
             {"timeoutSeconds", fmt::format("{}", lifetime.count())},
             {"labelSelector", collection.label_selector},
             {"fieldSelector", collection.field_selector}});
  Call call =
      MakeCall("watch", collection.ToString(), collection.Path() + query);
  call.retries = false;
  call.request.deadline = lifetime + kWatchGrace;
  call.request.on_data = std::move(on_data);
  call.done =
      [done = std::move(done)](const absl::StatusOr<HttpResponse>& response) {
        done(response.status());
      };
  return Start(std::move(call));
}

}  // namespace edged::kube
