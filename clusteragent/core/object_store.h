#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/core/address_index.h"
#include "clusteragent/core/cluster.h"
#include "clusteragent/core/objects.h"

namespace edged::agent {

// The objects of a world by their names, and which of them changed since they
// were planned. What is set again as it was is no change.
class ObjectStore {
 public:
  using Name = std::pair<std::string, std::string>;  // namespace, name

  struct Changes {
    // What every object may rest on: EdgeNodes, and Namespaces that are
    // exposed.
    bool everything = true;
    std::set<Name> port_bindings;
    std::set<Name> services;  // or their EndpointSlices
    // Whose holders are others.
    std::set<IpAddress> addresses;
    // Whose consent to bindings of others is another: labels, ReferenceGrants.
    std::set<std::string> consents;

    bool empty() const {
      return !everything && port_bindings.empty() && services.empty() &&
             addresses.empty() && consents.empty();
    }
  };

  // Without Kubernetes there is nothing but EdgeNodes and PortBindings.
  void UseCluster(const AnnotationNames& annotations);
  void SetEdgeNodes(std::vector<EdgeNode> nodes);
  void SetNamespaces(std::vector<Namespace> namespaces);
  void SetGrants(const std::vector<ReferenceGrant>& grants);
  void Put(const PortBinding& object);
  void RemovePortBinding(const Name& name);
  void Put(const Service& service);
  void RemoveService(const Name& name);
  // All of them.
  void SetSlices(const Name& service, std::vector<EndpointSlice> slices);
  // Becomes `world`.
  void Replace(const World& world);

  const Changes& changes() const { return changes_; }
  // Something that is not of here changed what objects mean.
  void ChangeEverything() { changes_.everything = true; }
  // They are planned.
  void ForgetChanges() { changes_ = {.everything = false}; }

  const std::map<std::string, EdgeNode>& edge_nodes() const {
    return edge_nodes_;
  }
  const std::map<Name, PortBinding>& port_bindings() const {
    return port_bindings_;
  }
  bool has_cluster() const { return has_cluster_; }
  const AnnotationNames& annotations() const { return annotations_; }
  const std::map<Name, Service>& services() const { return services_; }
  const std::map<std::string, Namespace>& namespaces() const {
    return namespaces_;
  }
  const AddressIndex& addresses() const { return addresses_; }
  // Those of one Service.
  const std::vector<EndpointSlice>& SlicesOf(const Name& service) const;
  // Those of one namespace.
  const std::vector<ReferenceGrant>& GrantsOf(
      const std::string& name_space) const;
  // The EdgeNodes alone: what networks and numbers are given out for.
  World EdgeWorld() const;

 private:
  void NoteAddresses(const Name& service);

  Changes changes_;
  std::map<std::string, EdgeNode> edge_nodes_;
  std::map<Name, PortBinding> port_bindings_;
  bool has_cluster_ = false;
  AnnotationNames annotations_;
  std::map<Name, Service> services_;
  std::map<Name, std::vector<EndpointSlice>> slices_;  // by Service
  AddressIndex addresses_;
  std::map<std::string, Namespace> namespaces_;
  std::map<std::string, std::vector<ReferenceGrant>> grants_;  // by namespace
};

}  // namespace edged::agent
