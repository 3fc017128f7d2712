#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/core/cluster.h"
#include "clusteragent/kube/kind_mirror.h"
#include "clusteragent/kube/rest_client.h"
#include "common/event_loop.h"

namespace edged::kube {

// A Service with its status as it was told last.
struct ServiceObject : agent::Service {
  nlohmann::json load_balancer;  // status.loadBalancer
  std::string resource_version;
  // Whether plans see no difference.
  bool operator==(const ServiceObject& other) const {
    return static_cast<const agent::Service&>(*this) == other;
  }
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
    // Why a collection ("services in namespace a") is not in step; OK when it
    // is again.
    std::function<void(const std::string& collection, const absl::Status&)>
        trouble;
  };

  // Services and EndpointSlices of `namespaces` alone; of all without any.
  ClusterMirror(EventLoop& loop, RestClient& client,
                const std::vector<std::string>& namespaces, Told told,
                const WatchProgress::Pace& pace = {});
  ClusterMirror(const ClusterMirror&) = delete;
  ~ClusterMirror();

  void Start();
  // Unset until every kind was told once: before, what is missing would look
  // deleted.
  std::optional<agent::Cluster> cluster() const;
  bool complete() const;
  // As it was told last; nullptr: there is none.
  const ServiceObject* FindService(const std::string& name_space,
                                   const std::string& name) const;

 private:
  template <typename T>
  using Mirrors = std::vector<std::unique_ptr<KindMirror<T>>>;

  template <typename T>
  void Add(RestClient& client, const Collection& collection,
           std::optional<T> (*read)(const nlohmann::json&),
           const WatchProgress::Pace& pace, Mirrors<T>& mirrors);
  void Change();

  EventLoop& loop_;
  const Told told_;
  EventLoop::TimerId timer_ = 0;
  Mirrors<ServiceObject> services_;
  Mirrors<agent::EndpointSlice> slices_;
  Mirrors<agent::Namespace> namespaces_;
  Mirrors<agent::ReferenceGrant> grants_;
};

}  // namespace edged::kube
