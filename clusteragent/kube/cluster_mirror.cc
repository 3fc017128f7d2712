#include "clusteragent/kube/cluster_mirror.h"

#include "clusteragent/kube/cluster_json.h"

namespace edged::kube {
namespace {

constexpr std::chrono::milliseconds kTellDelay(20);

}  // namespace

template <typename T>
KindMirror<T>::KindMirror(EventLoop& loop, RestClient& client,
                          Collection collection, Read read, Changed changed,
                          Trouble trouble, const WatchProgress::Pace& pace)
    : read_(read),
      changed_(std::move(changed)),
      trouble_(std::move(trouble)),
      reflector_(
          loop, client, std::move(collection),
          {.replace = [this](const auto& items) { Replace(items); },
           .put = [this](const nlohmann::json& item) { Put(item); },
           .remove = [this](const nlohmann::json& item) { Remove(item); },
           .trouble = [this](const absl::Status& status) { Hear(status); }},
          pace) {}

template <typename T>
std::vector<T> KindMirror<T>::Held() const {
  std::vector<T> held;
  held.reserve(held_.size());
  for (const auto& [name, object] : held_) held.push_back(object);
  return held;
}

template <typename T>
void KindMirror<T>::Replace(const std::vector<nlohmann::json>& items) {
  std::map<Name, T> held;
  for (const nlohmann::json& item : items) {
    auto object = read_(item);
    if (!object) continue;
    const Name name{object->meta.name_space, object->meta.name};
    held.insert_or_assign(name, *std::move(object));
  }
  if (complete_ && held == held_) return;
  complete_ = true;
  held_ = std::move(held);
  changed_();
}

template <typename T>
void KindMirror<T>::Put(const nlohmann::json& item) {
  auto object = read_(item);
  if (!object) return;
  const Name name{object->meta.name_space, object->meta.name};
  const auto before = held_.find(name);
  // Most changes of an object are none of what we use.
  if (before != held_.end() && before->second == *object) return;
  held_.insert_or_assign(name, *std::move(object));
  changed_();
}

template <typename T>
void KindMirror<T>::Remove(const nlohmann::json& item) {
  const auto meta = ReadMeta(item);
  if (meta && held_.erase({meta->name_space, meta->name}) > 0) changed_();
}

template <typename T>
void KindMirror<T>::Hear(const absl::Status& status) {
  // The cluster does not have the kind (yet).
  if (absl::IsNotFound(status)) return Replace({});
  trouble_(status);
}

ClusterMirror::ClusterMirror(EventLoop& loop, RestClient& client, Told told,
                             const WatchProgress::Pace& pace)
    : loop_(loop),
      told_(std::move(told)),
      services_(
          loop, client, {kServices}, ReadService, [this] { Change(); },
          [this](const auto& why) { told_.trouble("services", why); }, pace),
      slices_(
          loop, client, {kEndpointSlices}, ReadEndpointSlice,
          [this] { Change(); },
          [this](const auto& why) { told_.trouble("endpointslices", why); },
          pace),
      namespaces_(
          loop, client, {kNamespaces}, ReadNamespace, [this] { Change(); },
          [this](const auto& why) { told_.trouble("namespaces", why); }, pace),
      grants_(
          loop, client, {kReferenceGrants}, ReadReferenceGrant,
          [this] { Change(); },
          [this](const auto& why) { told_.trouble("referencegrants", why); },
          pace) {}

ClusterMirror::~ClusterMirror() { loop_.Cancel(timer_); }

void ClusterMirror::Start() {
  services_.Start();
  slices_.Start();
  namespaces_.Start();
  grants_.Start();
}

std::optional<agent::Cluster> ClusterMirror::cluster() const {
  if (!services_.complete() || !slices_.complete() || !namespaces_.complete() ||
      !grants_.complete()) {
    return std::nullopt;
  }
  return agent::Cluster{.services = services_.Held(),
                        .slices = slices_.Held(),
                        .namespaces = namespaces_.Held(),
                        .grants = grants_.Held()};
}

void ClusterMirror::Change() {
  if (timer_ != 0) return;
  timer_ = loop_.After(kTellDelay, [this] {
    timer_ = 0;
    if (cluster()) told_.changed();
  });
}

}  // namespace edged::kube
