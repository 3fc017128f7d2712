#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

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
class KubeSource : public Source {
 public:
  struct Told {
    std::function<void()> changed;  // what Read() gives, once it is complete
    // Why a collection ("portbindings in namespace a") is not in step; OK when
    // it is again.
    std::function<void(const std::string& collection, const absl::Status&)>
        trouble;
  };

  // Objects of `namespaces` alone; of all without any. Borrows loop and client.
  KubeSource(EventLoop& loop, kube::RestClient& client,
             const std::vector<std::string>& namespaces, Told told,
             const kube::WatchProgress::Pace& pace = {});

  void Start();
  // Every kind was told once, and ours are there. Before, what is missing would
  // look deleted.
  bool complete() const;
  Snapshot Read() override;

  const std::map<std::pair<std::string, std::string>, KubeObject>& edge_nodes()
      const {
    return edge_nodes_->held();
  }
  // As it was told last; nullptr: there is none.
  const KubeObject* Find(const ObjectKey& key) const;
  const kube::ServiceObject* FindService(const std::string& name_space,
                                         const std::string& name) const {
    return cluster_.FindService(name_space, name);
  }

 private:
  using Mirror = kube::KindMirror<KubeObject>;

  std::unique_ptr<Mirror> MakeMirror(EventLoop& loop, kube::RestClient& client,
                                     const kube::Collection& collection,
                                     const kube::WatchProgress::Pace& pace);
  void Change();
  void Add(const KubeObject& held, Kind kind, Snapshot& snapshot);

  const Told told_;
  std::unique_ptr<Mirror> edge_nodes_;
  std::vector<std::unique_ptr<Mirror>> port_bindings_;
  kube::ClusterMirror cluster_;
  struct Good {
    std::string uid;
    Object object;
  };
  std::map<ObjectKey, Good> last_good_;  // of what was read last
};

}  // namespace edged::agent
