#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/object_store.h"
#include "clusteragent/kube/cluster_mirror.h"
#include "clusteragent/kube/kind_mirror.h"
#include "clusteragent/kube/rest_client.h"
#include "clusteragent/source/object_json.h"
#include "clusteragent/source/source.h"
#include "common/event_loop.h"

namespace edged::agent {

// An object of ours as the API server tells it.
struct KubeObject {
  ObjectMeta meta;
  std::optional<Object> object;  // unset: `mistake` says why
  std::string mistake;
  std::vector<std::string> finalizers;
  std::string resource_version;
  nlohmann::json status;
  // Whether plans see no difference: of the status only what is remembered in
  // it counts (source/memory_json.h).
  bool operator==(const KubeObject& other) const;
};

// Everything that is wished for, from an API server: EdgeNodes, PortBindings,
// and what Services are looked up in. An object that cannot be read stands as
// it was last read, and says so in its own status; all others go on. Belongs to
// the loop thread.
class KubeSource {
 public:
  struct Told {
    std::function<void()> changed;  // the store or the mistakes, once complete
    // The API server told of an object, maybe of nothing that plans see.
    std::function<void(const ObjectKey&)> heard;
    // Why a collection ("portbindings in namespace a") is not in step; OK when
    // it is again.
    std::function<void(const std::string& collection, const absl::Status&)>
        trouble;
  };

  // Objects of `namespaces` alone; of all without any. Borrows loop and client.
  KubeSource(EventLoop& loop, kube::RestClient& client,
             const std::vector<std::string>& namespaces,
             const AnnotationNames& annotations, Told told,
             const kube::WatchProgress::Pace& pace = {});

  void Start();
  void Hurry();   // as kube::Reflector::Hurry()
  void Relist();  // likewise
  // Every kind was told once, ours are there, and the store has all of them.
  // Before, what is missing would look deleted.
  bool complete() const { return complete_; }
  ObjectStore& objects() { return objects_; }
  const ObjectStore& objects() const { return objects_; }
  const Mistakes& mistakes() const { return mistakes_; }

  const std::map<ObjectStore::Name, KubeObject>& edge_nodes() const {
    return edge_nodes_->held();
  }
  // As it was told last; nullptr: there is none.
  const KubeObject* Find(const ObjectKey& key) const;
  const kube::ServiceObject* FindService(const ObjectStore::Name& name) const {
    return cluster_.FindService(name);
  }

 private:
  using Mirror = kube::KindMirror<KubeObject>;

  std::unique_ptr<Mirror> MakeMirror(EventLoop& loop, kube::RestClient& client,
                                     Kind kind,
                                     const kube::Collection& collection,
                                     const kube::WatchProgress::Pace& pace);
  void Hear(Kind kind, const KubeObject* before, const KubeObject* after);
  void NoteMistake(const ObjectKey& key, const KubeObject* object);
  void TakePortBinding(const ObjectKey& key, const KubeObject* object);
  void TakeEdgeNodes();
  bool HeardAll() const;
  void Change();

  const Told told_;
  ObjectStore objects_;
  Mistakes mistakes_;
  bool complete_ = false;
  bool edge_nodes_changed_ = false;  // and the store does not have them
  std::unique_ptr<Mirror> edge_nodes_;
  std::vector<std::unique_ptr<Mirror>> port_bindings_;
  kube::ClusterMirror cluster_;
};

}  // namespace edged::agent
