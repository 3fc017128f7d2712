#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/core/cluster.h"
#include "common/net_types.h"

// Whether bindings of one namespace may lead to what is another's. Pure.

namespace edged::agent {

// By its label: to all that it has, and for everybody.
bool IsOpen(const Namespace& name_space, const AnnotationNames& names);

// Borrows the cluster.
class Consents {
 public:
  using Name = std::pair<std::string, std::string>;  // namespace, name

  explicit Consents(const Cluster& cluster);

  // Whether the Service's namespace consents to bindings of namespace `from`:
  // by its label, or a ReferenceGrant that names the Service or none.
  bool ToService(const std::string& from, const Name& service) const;

  // The first other namespace that has the ports at an address and does not
  // consent; empty: there is none. A ReferenceGrant that names a Service is
  // consent to the ports that this publishes there, and no others.
  std::string AgainstAddress(const std::string& from, const IpAddress& address,
                             Protocol protocol, PortRange ports) const;

  // What a namespace that does not consent lacks, as a part of a sentence: "has
  // neither the label ... nor a ReferenceGrant ...".
  std::string Lack(const std::string& from) const;

 private:
  bool ToAll(const std::string& from, const std::string& name_space) const;
  // By a ReferenceGrant; `service` empty: to all Services.
  bool Grants(const std::string& from, const std::string& name_space,
              const std::string& service) const;

  const Cluster& cluster_;
  std::map<std::string, const Namespace*> namespaces_;
  std::map<std::string, std::vector<const ReferenceGrant*>> grants_;
};

}  // namespace edged::agent
