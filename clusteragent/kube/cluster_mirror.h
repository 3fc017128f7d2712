#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/core/cluster.h"
#include "clusteragent/kube/reflector.h"
#include "clusteragent/kube/rest_client.h"
#include "common/event_loop.h"

namespace edged::kube {

// The objects of one kind as plain values, in step with the API server.
template <typename T>
class KindMirror {
 public:
  // Nothing: not an object of this kind.
  using Read = std::optional<T> (*)(const nlohmann::json&);
  // What is held became another.
  using Changed = std::function<void()>;
  using Trouble = std::function<void(const absl::Status&)>;

  KindMirror(EventLoop& loop, RestClient& client, Collection collection,
             Read read, Changed changed, Trouble trouble,
             const WatchProgress::Pace& pace);

  void Start() { reflector_.Start(); }
  // All of them were told once, or there is no such kind: then none is held
  // until there is.
  bool complete() const { return complete_; }
  std::vector<T> Held() const;  // by namespace and name

 private:
  using Name = std::pair<std::string, std::string>;

  void Replace(const std::vector<nlohmann::json>& items);
  void Put(const nlohmann::json& item);
  void Remove(const nlohmann::json& item);
  void Hear(const absl::Status& status);

  Read read_;
  Changed changed_;
  Trouble trouble_;
  bool complete_ = false;
  std::map<Name, T> held_;
  Reflector reflector_;
};

// What bindings to Services are judged by: Services, EndpointSlices, Namespaces
// and, where the cluster has the kind, ReferenceGrants. Borrows loop and
// client.
class ClusterMirror {
 public:
  struct Told {
    // The cluster is another, or complete for the first time; once for whatever
    // comes within 20 ms.
    std::function<void()> changed;
    // Why a kind ("services") is not in step; OK when it is again.
    std::function<void(const std::string& kind, const absl::Status&)> trouble;
  };

  ClusterMirror(EventLoop& loop, RestClient& client, Told told,
                const WatchProgress::Pace& pace = {});
  ClusterMirror(const ClusterMirror&) = delete;
  ~ClusterMirror();

  void Start();
  // Unset until every kind was told once: before, what is missing would look
  // deleted.
  std::optional<agent::Cluster> cluster() const;

 private:
  void Change();

  EventLoop& loop_;
  const Told told_;
  EventLoop::TimerId timer_ = 0;
  KindMirror<agent::Service> services_;
  KindMirror<agent::EndpointSlice> slices_;
  KindMirror<agent::Namespace> namespaces_;
  KindMirror<agent::ReferenceGrant> grants_;
};

}  // namespace edged::kube
