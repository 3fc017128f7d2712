#include "clusteragent/kube/cluster_mirror.h"

#include <algorithm>
#include <utility>

#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/json_reading.h"

namespace edged::kube {
namespace {

constexpr std::chrono::milliseconds kTellDelay(20);
constexpr WatchProgress::Duration kMissingPause = std::chrono::minutes(5);

std::optional<ServiceObject> ReadServiceObject(const nlohmann::json& object) {
  auto service = ReadService(object);
  if (!service) return std::nullopt;
  ServiceObject read;
  static_cast<agent::Service&>(read) = *std::move(service);
  read.load_balancer = Field(object, "status", "loadBalancer");
  read.resource_version = Text(Field(object, "metadata", "resourceVersion"));
  return read;
}

template <typename Mirrors>
void StartAll(Mirrors& mirrors) {
  for (auto& mirror : mirrors) mirror->Start();
}

template <typename Mirrors>
bool AreComplete(const Mirrors& mirrors) {
  return std::ranges::all_of(
      mirrors, [](const auto& mirror) { return mirror->complete(); });
}

template <typename T, typename Mirrors>
std::vector<T> Held(const Mirrors& mirrors) {
  std::vector<T> held;
  for (const auto& mirror : mirrors) {
    for (const auto& [name, object] : mirror->held()) held.push_back(object);
  }
  return held;
}

}  // namespace

template <typename T>
void ClusterMirror::Add(RestClient& client, const Collection& collection,
                        std::optional<T> (*read)(const nlohmann::json&),
                        const WatchProgress::Pace& pace, Mirrors<T>& mirrors) {
  const bool optional_kind =
      collection.resource.plural == kReferenceGrants.plural;
  mirrors.push_back(std::make_unique<KindMirror<T>>(
      loop_, client, collection, read, [this] { Change(); },
      [this, name = collection.ToString(),
       optional_kind](const absl::Status& why) {
        const bool is_none = optional_kind && absl::IsNotFound(why);
        told_.trouble(name, is_none ? absl::OkStatus() : why);
      },
      pace));
}

ClusterMirror::ClusterMirror(EventLoop& loop, RestClient& client,
                             const std::vector<std::string>& namespaces,
                             Told told, const WatchProgress::Pace& pace)
    : loop_(loop), told_(std::move(told)) {
  for (const std::string& name : ScopesOf(namespaces)) {
    Add(client, {kServices, name, "", ""}, ReadServiceObject, pace, services_);
    Add(client, {kEndpointSlices, name, "", ""}, ReadEndpointSlice, pace,
        slices_);
  }
  Add(client, {kNamespaces, "", "", ""}, ReadNamespace, pace, namespaces_);
  // Most clusters have none, and get none.
  WatchProgress::Pace rarely = pace;
  rarely.missing = std::max(rarely.missing, kMissingPause);
  Add(client, {kReferenceGrants, "", "", ""}, ReadReferenceGrant, rarely,
      grants_);
}

ClusterMirror::~ClusterMirror() { loop_.Cancel(timer_); }

void ClusterMirror::Start() {
  StartAll(services_);
  StartAll(slices_);
  StartAll(namespaces_);
  StartAll(grants_);
}

bool ClusterMirror::complete() const {
  return AreComplete(services_) && AreComplete(slices_) &&
         AreComplete(namespaces_) && AreComplete(grants_);
}

const ServiceObject* ClusterMirror::FindService(const std::string& name_space,
                                                const std::string& name) const {
  for (const auto& mirror : services_) {
    const auto found = mirror->held().find({name_space, name});
    if (found != mirror->held().end()) return &found->second;
  }
  return nullptr;
}

std::optional<agent::Cluster> ClusterMirror::cluster() const {
  if (!complete()) return std::nullopt;
  return agent::Cluster{.services = Held<agent::Service>(services_),
                        .slices = Held<agent::EndpointSlice>(slices_),
                        .namespaces = Held<agent::Namespace>(namespaces_),
                        .grants = Held<agent::ReferenceGrant>(grants_)};
}

void ClusterMirror::Change() {
  if (timer_ != 0) return;
  timer_ = loop_.After(kTellDelay, [this] {
    timer_ = 0;
    if (complete()) told_.changed();
  });
}

}  // namespace edged::kube
