#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/reflector.h"
#include "clusteragent/kube/rest_client.h"
#include "common/event_loop.h"

namespace edged::kube {

// The objects of one kind as plain values, in step with the API server. A value
// has a `meta`; equal ones are the same to whoever is told of changes.
template <typename T>
class KindMirror {
 public:
  using Name = std::pair<std::string, std::string>;  // namespace, name
  // Nothing: not an object of this kind.
  using Read = std::function<std::optional<T>(const nlohmann::json&)>;
  // What is held became another.
  using Changed = std::function<void()>;
  // Why it is not in step; OK when it is again.
  using Trouble = std::function<void(const absl::Status&)>;

  // Borrows loop and client.
  KindMirror(EventLoop& loop, RestClient& client, Collection collection,
             Read read, Changed changed, Trouble trouble,
             const WatchProgress::Pace& pace = {})
      : read_(std::move(read)),
        changed_(std::move(changed)),
        trouble_(std::move(trouble)),
        reflector_(
            loop, client, std::move(collection),
            {.replace = [this](const auto& items) { Replace(items); },
             .put = [this](const nlohmann::json& item) { Put(item); },
             .remove = [this](const nlohmann::json& item) { Remove(item); },
             .trouble = [this](const absl::Status& status) { Hear(status); }},
            pace) {}

  void Start() { reflector_.Start(); }
  // All of them were told once, or there is no such kind: then none is held
  // until there is.
  bool complete() const { return complete_; }
  // There is such a kind.
  bool known() const { return known_; }
  const std::map<Name, T>& held() const { return held_; }

 private:
  void Replace(const std::vector<nlohmann::json>& items) {
    known_ = true;
    Become(items);
  }

  void Become(const std::vector<nlohmann::json>& items) {
    std::map<Name, T> held;
    for (const nlohmann::json& item : items) {
      auto object = read_(item);
      if (!object) continue;
      const Name name{object->meta.name_space, object->meta.name};
      held.insert_or_assign(name, *std::move(object));
    }
    const bool same = complete_ && held == held_;
    complete_ = true;
    held_ = std::move(held);
    if (!same) changed_();
  }

  void Put(const nlohmann::json& item) {
    auto object = read_(item);
    if (!object) return;
    const Name name{object->meta.name_space, object->meta.name};
    const auto before = held_.find(name);
    // Most changes of an object are none of what plans rest on.
    const bool same = before != held_.end() && before->second == *object;
    held_.insert_or_assign(name, *std::move(object));
    if (!same) changed_();
  }

  void Remove(const nlohmann::json& item) {
    const auto meta = ReadMeta(item);
    if (meta && held_.erase({meta->name_space, meta->name}) > 0) changed_();
  }

  void Hear(const absl::Status& status) {
    trouble_(status);
    // The cluster does not have the kind (yet). One that it had and does not
    // tell of now is no word about what is wished for.
    if (absl::IsNotFound(status) && !known_) Become({});
  }

  const Read read_;
  const Changed changed_;
  const Trouble trouble_;
  bool complete_ = false;
  bool known_ = false;
  std::map<Name, T> held_;
  Reflector reflector_;
};

}  // namespace edged::kube
