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

// Whether what KindMirror::Heard tells of is a difference.
template <typename T>
bool IsAnother(const T* before, const T* after) {
  return before == nullptr || after == nullptr || !(*before == *after);
}

// The objects of one kind as plain values, in step with the API server. A value
// has a `meta`.
template <typename T>
class KindMirror {
 public:
  using Name = std::pair<std::string, std::string>;  // namespace, name
  // Nothing: not an object of this kind.
  using Read = std::function<std::optional<T>(const nlohmann::json&)>;
  struct Heard {
    // The API server told of an object: what was held of it, and what is now;
    // nullptr: nothing. They may be equal.
    std::function<void(const T* before, const T* after)> object;
    // All of them were told, or there is no such kind.
    std::function<void()> all;
  };
  // Why it is not in step; OK when it is again.
  using Trouble = std::function<void(const absl::Status&)>;

  // Borrows loop and client.
  KindMirror(EventLoop& loop, RestClient& client, Collection collection,
             Read read, Heard heard, Trouble trouble,
             const WatchProgress::Pace& pace = {})
      : read_(std::move(read)),
        heard_(std::move(heard)),
        trouble_(std::move(trouble)),
        reflector_(
            loop, client, std::move(collection),
            {.replace = [this](const auto& items) { Replace(items); },
             .put = [this](const nlohmann::json& item) { Put(item); },
             .remove = [this](const nlohmann::json& item) { Remove(item); },
             .trouble = [this](const absl::Status& status) { Hear(status); }},
            pace) {}

  void Start() { reflector_.Start(); }
  void Hurry() { reflector_.Hurry(); }
  void Relist() { reflector_.Relist(); }
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
    std::map<Name, T> before = std::exchange(held_, {});
    for (const nlohmann::json& item : items) {
      auto object = read_(item);
      if (!object) continue;
      const Name name{object->meta.name_space, object->meta.name};
      held_.insert_or_assign(name, *std::move(object));
    }
    complete_ = true;
    for (const auto& [name, object] : before) {
      if (!held_.contains(name)) heard_.object(&object, nullptr);
    }
    for (const auto& [name, object] : held_) {
      const auto old = before.find(name);
      heard_.object(old == before.end() ? nullptr : &old->second, &object);
    }
    heard_.all();
  }

  void Put(const nlohmann::json& item) {
    auto object = read_(item);
    if (!object) return;
    const Name name{object->meta.name_space, object->meta.name};
    const auto [held, is_new] = held_.try_emplace(name, *object);
    if (is_new) return heard_.object(nullptr, &held->second);
    const T before = std::exchange(held->second, *std::move(object));
    heard_.object(&before, &held->second);
  }

  void Remove(const nlohmann::json& item) {
    const auto meta = ReadMeta(item);
    if (!meta) return;
    const auto held = held_.extract({meta->name_space, meta->name});
    if (held) heard_.object(&held.mapped(), nullptr);
  }

  void Hear(const absl::Status& status) {
    trouble_(status);
    // The cluster does not have the kind (yet). One that it had and does not
    // tell of now is no word about what is wished for.
    if (absl::IsNotFound(status) && !known_) Become({});
  }

  const Read read_;
  const Heard heard_;
  const Trouble trouble_;
  bool complete_ = false;
  bool known_ = false;
  std::map<Name, T> held_;
  Reflector reflector_;
};

}  // namespace edged::kube
