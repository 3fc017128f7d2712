#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/kube/client_config.h"
#include "clusteragent/kube/http_client.h"
#include "clusteragent/kube/resource.h"
#include "clusteragent/kube/token_source.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "common/rate_limit.h"

namespace edged::kube {

// How patient and how quick a client is.
struct RestSettings {
  using Duration = std::chrono::milliseconds;
  Duration deadline = std::chrono::seconds(30);  // of a call, with its retries
  Duration attempt = std::chrono::seconds(10);   // of one request
  Duration first_retry{250};
  Duration last_retry = std::chrono::seconds(8);
  double calls_per_second = 20;
  double burst = 40;
  int page_size = 500;
};

// Who writes by server-side apply.
struct FieldManager {
  std::string name = "clusteragent";
  bool force = false;  // takes fields that others own
};

struct ObjectList {
  std::vector<nlohmann::json> items;
  std::string resource_version;
};

// The verbs of the Kubernetes API. A call that fails for now (429, 5xx, no
// connection) is made again, with growing pauses or after the Retry-After,
// until its deadline; after a 401 the token is read again. Every answer comes
// on the loop thread, after the call has returned. Errors are those of
// api_error.h and http_client.h, and name verb, resource and namespace.
// Callbacks may destroy the client. Borrows the loop.
class RestClient {
 public:
  using CallId = uint64_t;  // never 0
  using Done = std::function<void(absl::StatusOr<nlohmann::json>)>;
  using ListDone = std::function<void(absl::StatusOr<ObjectList>)>;
  // Edits the object; false: it is as it should be.
  using Change = std::function<bool(nlohmann::json&)>;

  static absl::StatusOr<std::unique_ptr<RestClient>> Create(
      EventLoop& loop, const ClientConfig& config,
      const RestSettings& settings = {});
  RestClient(EventLoop& loop, std::unique_ptr<HttpClient> http,
             const ClientConfig& config, const RestSettings& settings);
  RestClient(const RestClient&) = delete;
  ~RestClient();

  EventLoop& loop() const { return loop_; }  // that callbacks come on

  CallId Get(const ObjectRef& object, Done done);
  // All pages; begins anew, without pages, when they expire in between. Not
  // made again when it fails: whoever keeps a list has a pace of his own.
  CallId List(const Collection& collection, ListDone done);
  // Not sent again when the answer is lost; but libcurl does so where a kept
  // connection was closed, and AlreadyExists may come of that.
  CallId Create(const ObjectRef& object, nlohmann::json body, Done done);
  // Of a name that nobody else gives: sent again also when the answer is lost,
  // and OK when it is there already.
  CallId CreateUnique(const ObjectRef& object, nlohmann::json body, Done done);
  // Aborted when it was changed since `body` was read (its resourceVersion).
  CallId Replace(const ObjectRef& object, nlohmann::json body, Done done);
  // Reads, changes, replaces; from the beginning after a conflict. Writes
  // nothing where `change` says that there is nothing to do.
  CallId Update(const ObjectRef& object, Change change, Done done);
  // Server-side apply of what `body` holds; makes the object where it is not.
  // Aborted names the fields that others own.
  CallId Apply(const ObjectRef& object, nlohmann::json body,
               const FieldManager& manager, Done done);
  CallId MergePatch(const ObjectRef& object, nlohmann::json patch, Done done);
  // OK also when it is gone already.
  CallId Delete(const ObjectRef& object, Done done);

  // What changes after `resource_version`, as lines of JSON in pieces of any
  // length; `done` when the server ends it. `lifetime` is how long the server
  // is asked to go on. Not made again when it fails.
  CallId Watch(const Collection& collection,
               const std::string& resource_version,
               std::chrono::seconds lifetime,
               std::function<void(std::string_view)> on_data,
               std::function<void(const absl::Status&)> done);

  // The call's callback is not made any more; 0 and unknown ones are fine.
  void Cancel(CallId call);

 private:
  using Answered = std::function<void(absl::StatusOr<HttpResponse>)>;

  struct Call {
    std::string what;  // "list services in namespace a"
    HttpRequest request;
    bool retries = true;
    bool repeatable = true;  // twice is as good as once
    Answered done;
    EventLoop::TimerId timer = 0;
    HttpClient::RequestId sent = 0;
    Backoff backoff;
    std::chrono::steady_clock::time_point deadline;
    bool token_renewed = false;
  };
  struct Listing;

  // A call to `path`; of its fields all that differ between verbs are unset.
  Call MakeCall(std::string verb, const std::string& target,
                const std::string& path) const;
  CallId Start(Call call);
  void Start(CallId id, Call call);  // the next step of a call
  void Attempt(CallId id, EventLoop::Duration pause);
  void SendNow(CallId id);
  void Answer(CallId id, absl::StatusOr<HttpResponse> response);
  // Whether it will be attempted again, which is then arranged.
  bool Retry(CallId id, const absl::Status& status);
  CallId StartJson(Call call, Done done);
  Call MakeCreation(const ObjectRef& object, const nlohmann::json& body) const;
  void ListPage(CallId id, std::shared_ptr<Listing> listing);
  void TakePage(CallId id, const std::shared_ptr<Listing>& listing,
                absl::StatusOr<HttpResponse> response);
  void UpdateOnce(CallId id, const ObjectRef& object, const Change& change,
                  int attempts, const Done& done);

  EventLoop& loop_;
  const std::string server_;
  const RestSettings settings_;
  TokenSource token_;
  RateLimit limit_;
  CallId next_ = 1;
  std::map<CallId, Call> calls_;
  std::unique_ptr<HttpClient> http_;
};

}  // namespace edged::kube
