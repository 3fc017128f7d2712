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
void HurryAll(Mirrors& mirrors) {
  for (auto& mirror : mirrors) mirror->Hurry();
}

template <typename Mirrors>
void RelistAll(Mirrors& mirrors) {
  for (auto& mirror : mirrors) mirror->Relist();
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

template <typename T>
const T* Find(const std::vector<std::unique_ptr<KindMirror<T>>>& mirrors,
              const agent::ObjectStore::Name& name) {
  for (const auto& mirror : mirrors) {
    const auto found = mirror->held().find(name);
    if (found != mirror->held().end()) return &found->second;
  }
  return nullptr;
}

}  // namespace

template <typename T>
void ClusterMirror::Add(RestClient& client, const Collection& collection,
                        std::optional<T> (*read)(const nlohmann::json&),
                        Hear<T> hear, const WatchProgress::Pace& pace,
                        Mirrors<T>& mirrors) {
  const bool optional_kind =
      collection.resource.plural == kReferenceGrants.plural;
  mirrors.push_back(std::make_unique<KindMirror<T>>(
      loop_, client, collection, read,
      typename KindMirror<T>::Heard{
          .object = [this, hear](
                        const T* before,
                        const T* after) { (this->*hear)(before, after); },
          .all = [this] { Change(); }},
      [this, name = collection.ToString(),
       optional_kind](const absl::Status& why) {
        const bool is_none = optional_kind && absl::IsNotFound(why);
        told_.trouble(name, is_none ? absl::OkStatus() : why);
      },
      pace));
}

ClusterMirror::ClusterMirror(EventLoop& loop, RestClient& client,
                             const std::vector<std::string>& namespaces,
                             agent::ObjectStore& objects, Told told,
                             const WatchProgress::Pace& pace)
    : loop_(loop), objects_(objects), told_(std::move(told)) {
  for (const std::string& name : ScopesOf(namespaces)) {
    Add(client, {kServices, name, "", ""}, ReadServiceObject,
        &ClusterMirror::HearService, pace, services_);
    Add(client, {kEndpointSlices, name, "", ""}, ReadEndpointSlice,
        &ClusterMirror::HearSlice, pace, slices_);
  }
  Add(client, {kNamespaces, "", "", ""}, ReadNamespace,
      &ClusterMirror::HearNamespace, pace, namespaces_);
  // Most clusters have none, and get none.
  WatchProgress::Pace rarely = pace;
  rarely.missing = std::max(rarely.missing, kMissingPause);
  Add(client, {kReferenceGrants, "", "", ""}, ReadReferenceGrant,
      &ClusterMirror::HearGrant, rarely, grants_);
}

ClusterMirror::~ClusterMirror() { loop_.Cancel(timer_); }

void ClusterMirror::Start() {
  StartAll(services_);
  StartAll(slices_);
  StartAll(namespaces_);
  StartAll(grants_);
}

void ClusterMirror::Hurry() {
  HurryAll(services_);
  HurryAll(slices_);
  HurryAll(namespaces_);
  HurryAll(grants_);
}

void ClusterMirror::Relist() {
  RelistAll(services_);
  RelistAll(slices_);
  RelistAll(namespaces_);
  RelistAll(grants_);
}

bool ClusterMirror::HeardAll() const {
  return AreComplete(services_) && AreComplete(slices_) &&
         AreComplete(namespaces_) && AreComplete(grants_);
}

const ServiceObject* ClusterMirror::FindService(const Name& name) const {
  return Find(services_, name);
}

void ClusterMirror::HearService(const ServiceObject* before,
                                const ServiceObject* after) {
  const agent::ObjectMeta& meta = (after ? after : before)->meta;
  const Name name{meta.name_space, meta.name};
  if (after) {
    objects_.Put(*after);
  } else {
    objects_.RemoveService(name);
  }
  told_.heard(name);
  if (IsAnother(before, after)) Change();
}

void ClusterMirror::HearSlice(const agent::EndpointSlice* before,
                              const agent::EndpointSlice* after) {
  if (!IsAnother(before, after)) return;
  for (const agent::EndpointSlice* slice : {before, after}) {
    if (slice == nullptr) continue;
    const std::string& name_space = slice->meta.name_space;
    const Name service{name_space, slice->service};
    std::set<Name>& names = slices_of_[service];
    if (slice == after) {
      names.emplace(name_space, slice->meta.name);
    } else {
      names.erase({name_space, slice->meta.name});
    }
    if (names.empty()) slices_of_.erase(service);
    slices_changed_.insert(service);
  }
  Change();
}

void ClusterMirror::HearNamespace(const agent::Namespace* before,
                                  const agent::Namespace* after) {
  if (!IsAnother(before, after)) return;
  namespaces_changed_ = true;
  Change();
}

void ClusterMirror::HearGrant(const agent::ReferenceGrant* before,
                              const agent::ReferenceGrant* after) {
  if (!IsAnother(before, after)) return;
  grants_changed_ = true;
  Change();
}

void ClusterMirror::Change() {
  if (timer_ != 0) return;
  timer_ = loop_.After(kTellDelay, [this] { Tell(); });
}

void ClusterMirror::Tell() {
  timer_ = 0;
  for (const Name& service : std::exchange(slices_changed_, {})) {
    std::vector<agent::EndpointSlice> slices;
    const auto names = slices_of_.find(service);
    if (names != slices_of_.end()) {
      for (const Name& name : names->second) {
        slices.push_back(*Find(slices_, name));
      }
    }
    objects_.SetSlices(service, std::move(slices));
  }
  if (std::exchange(namespaces_changed_, false)) {
    objects_.SetNamespaces(Held<agent::Namespace>(namespaces_));
  }
  if (std::exchange(grants_changed_, false)) {
    objects_.SetGrants(Held<agent::ReferenceGrant>(grants_));
  }
  complete_ = complete_ || HeardAll();
  if (complete_) told_.changed();
}

}  // namespace edged::kube
