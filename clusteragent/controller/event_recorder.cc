#include "clusteragent/controller/event_recorder.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clusteragent/controller/status_json.h"
#include "clusteragent/kube/api_error.h"
#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/json_reading.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using Clock = std::chrono::steady_clock;
using kube::Field;
using kube::ItemWith;
using kube::Text;
using nlohmann::json;

const kube::Resource kEvents{"", "v1", "Event", "events"};
constexpr size_t kLongestMessage = 1'024;  // the API's
constexpr char kClusterEvents[] = "default";

// Reasons of what is under way.
constexpr std::array<std::string_view, 4> kPassing = {
    reason::kNotProgrammed, reason::kNotCarried, reason::kNotEnrolled,
    reason::kEdgeNodeNotReady};

// Status and reason of a condition, empty where there is none.
std::pair<std::string, std::string> Was(const json& status,
                                        std::string_view type) {
  const json& condition = ItemWith(Field(status, "conditions"), "type", type);
  return {Text(Field(condition, "status")), Text(Field(condition, "reason"))};
}

}  // namespace

std::vector<Happening> NewsOf(const json& before, const ObjectStatus& status) {
  std::vector<Happening> news;
  const Condition* enrolled = status.Find("Enrolled");
  if (enrolled != nullptr && enrolled->status == ConditionStatus::kTrue &&
      Was(before, "Enrolled").first != "True") {
    news.push_back({false, "Enrolled", "the edge has joined"});
  }
  const Condition* ready = status.Find("Ready");
  if (ready == nullptr) return news;
  const auto [was, why] = Was(before, "Ready");
  if (ready->status == ConditionStatus::kTrue) {
    if (was != "True") news.push_back({false, "Ready", "it is served"});
    return news;
  }
  if (why == ready->reason ||
      std::ranges::find(kPassing, ready->reason) != kPassing.end()) {
    return news;
  }
  // An edge that goes is news for its own object alone.
  const bool edge = status.object.kind == Kind::kEdgeNode;
  if (ready->reason == reason::kTunnelDown && (!edge || was != "True"))
    return news;
  news.push_back({true, ready->reason, ready->message});
  return news;
}

EventRecorder::EventRecorder(kube::RestClient& client, std::string instance,
                             const Limits& limits)
    : client_(client), instance_(std::move(instance)), limits_(limits) {}

EventRecorder::~EventRecorder() {
  client_.loop().Cancel(pause_);
  for (const auto call : calls_) client_.Cancel(call);
}

void EventRecorder::Record(const ObjectKey& object, const std::string& uid,
                           const Happening& happening) {
  Record({.api_version = object.kind == Kind::kService ? "v1" : kApiVersion,
          .kind = std::string(ToString(object.kind)),
          .name_space = object.name_space,
          .name = object.name,
          .uid = uid},
         happening);
}

void EventRecorder::Record(const Subject& subject, const Happening& happening) {
  if (waiting_.size() >= limits_.waiting) return;
  const absl::Time now = absl::Now();
  const std::string time = TimeText(now);
  const std::string name_space =
      subject.name_space.empty() ? kClusterEvents : subject.name_space;
  // Names of events are as long as those of other objects at most.
  const std::string name =
      fmt::format("{}.{:x}{:x}", subject.name.substr(0, 200),
                  absl::ToUnixNanos(now), count_++ & 0xff);
  json about = {{"apiVersion", subject.api_version},
                {"kind", subject.kind},
                {"name", subject.name},
                {"uid", subject.uid}};
  if (!subject.name_space.empty()) about["namespace"] = subject.name_space;
  json body = {{"apiVersion", "v1"},
               {"kind", "Event"},
               {"metadata", {{"name", name}, {"namespace", name_space}}},
               {"involvedObject", std::move(about)},
               {"reason", happening.reason},
               {"message", happening.message.substr(0, kLongestMessage)},
               {"type", happening.warning ? "Warning" : "Normal"},
               {"source", {{"component", kube::kFieldManager}}},
               {"reportingComponent", kube::kFieldManager},
               {"reportingInstance", instance_},
               {"firstTimestamp", time},
               {"lastTimestamp", time},
               {"count", 1}};
  waiting_.push_back({{kEvents, name_space, name, ""},
                      std::move(body),
                      Clock::now() + limits_.age});
  SendWaiting();
}

void EventRecorder::SendWaiting() {
  while (pause_ == 0 && !waiting_.empty() && calls_.size() < limits_.calls) {
    Event event = std::move(waiting_.front());
    waiting_.pop_front();
    if (Clock::now() < event.stale) Send(std::move(event));
  }
}

void EventRecorder::Send(Event event) {
  auto call = std::make_shared<kube::RestClient::CallId>(0);
  const kube::ObjectRef ref = event.ref;
  json body = event.body;
  *call = client_.CreateUnique(
      ref, std::move(body),
      [this, call, event = std::move(event)](const auto& answer) {
        std::erase(calls_, *call);
        Conclude(event, answer.status());
      });
  calls_.push_back(*call);
}

void EventRecorder::Conclude(Event event, const absl::Status& status) {
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
    waiting_.push_back(std::move(event));
    if (pause_ == 0) {
      pause_ = client_.loop().After(limits_.pause.Next(), [this] {
        pause_ = 0;
        SendWaiting();
      });
    }
    return;
  }
  if (status.ok()) limits_.pause.Reset();
  std::string verb = kube::MissingVerb(status);
  if (std::exchange(missing_verb_, verb) != verb && !verb.empty()) {
    spdlog::warn("Kubernetes: Events are lost: {}", Message(status));
  }
  SendWaiting();
}

}  // namespace edged::agent
