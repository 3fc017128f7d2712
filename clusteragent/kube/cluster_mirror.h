#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/core/cluster.h"
#include "clusteragent/core/object_store.h"
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
// and, where the cluster has the kind, ReferenceGrants. Borrows loop, client
// and the store that it keeps in step.
class ClusterMirror {
 public:
  struct Told {
    // The store is another, or complete for the first time; once for whatever
    // comes within 20 ms.
    std::function<void()> changed;
    // The API server told of a Service, maybe of nothing that plans see.
    std::function<void(const agent::ObjectStore::Name& service)> heard;
    // Why a collection ("services in namespace a") is not in step; OK when it
    // is again.
    std::function<void(const std::string& collection, const absl::Status&)>
        trouble;
  };

  // Services and EndpointSlices of `namespaces` alone; of all without any.
  ClusterMirror(EventLoop& loop, RestClient& client,
                const std::vector<std::string>& namespaces,
                agent::ObjectStore& objects, Told told,
                const WatchProgress::Pace& pace = {});
  ClusterMirror(const ClusterMirror&) = delete;
  ~ClusterMirror();

  void Start();
  void Hurry();   // as Reflector::Hurry()
  void Relist();  // likewise
  // Every kind was told once, and is in the store: before, what is missing
  // would look deleted.
  bool complete() const { return complete_; }
  // As it was told last; nullptr: there is none.
  const ServiceObject* FindService(const agent::ObjectStore::Name& name) const;

 private:
  using Name = agent::ObjectStore::Name;
  template <typename T>
  using Mirrors = std::vector<std::unique_ptr<KindMirror<T>>>;
  template <typename T>
  using Hear = void (ClusterMirror::*)(const T* before, const T* after);

  template <typename T>
  void Add(RestClient& client, const Collection& collection,
           std::optional<T> (*read)(const nlohmann::json&), Hear<T> hear,
           const WatchProgress::Pace& pace, Mirrors<T>& mirrors);
  void HearService(const ServiceObject* before, const ServiceObject* after);
  void HearSlice(const agent::EndpointSlice* before,
                 const agent::EndpointSlice* after);
  void HearNamespace(const agent::Namespace* before,
                     const agent::Namespace* after);
  void HearGrant(const agent::ReferenceGrant* before,
                 const agent::ReferenceGrant* after);
  void Change();
  bool HeardAll() const;
  void Tell();

  EventLoop& loop_;
  agent::ObjectStore& objects_;
  const Told told_;
  EventLoop::TimerId timer_ = 0;
  bool complete_ = false;
  Mirrors<ServiceObject> services_;
  Mirrors<agent::EndpointSlice> slices_;
  Mirrors<agent::Namespace> namespaces_;
  Mirrors<agent::ReferenceGrant> grants_;
  std::map<Name, std::set<Name>> slices_of_;  // by Service
  // What the store does not have as it is: slices of these Services, and more.
  std::set<Name> slices_changed_;
  bool namespaces_changed_ = false;
  bool grants_changed_ = false;
};

}  // namespace edged::kube
