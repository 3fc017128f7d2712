#pragma once

#include <string>

namespace edged::agent {

// The annotations and labels that people write on objects, and we on Services.
// All stand behind one prefix (--annotation-prefix).
struct AnnotationNames {
  std::string prefix = "edged.dev";  // a DNS subdomain

  // "true" on a Service, or on a Namespace for all of its Services that can be;
  // "false" on a Service takes it out of its Namespace.
  std::string expose() const { return prefix + "/expose"; }
  // On a Service. Addresses to take, separated by commas.
  std::string public_ip() const { return prefix + "/public-ip"; }
  // On a Service. Names of EdgeNodes, separated by commas: an address of each.
  // Without it, of the one that has the least to do.
  std::string edge_nodes() const { return prefix + "/edge-nodes"; }
  // On a Service. "true": an address that nobody else uses.
  std::string dedicated_ip() const { return prefix + "/dedicated-ip"; }
  // Written by us where a Service's status is not ours: its addresses.
  std::string public_addresses() const { return prefix + "/public-addresses"; }
  // A label. "true" on a Namespace: bindings of all namespaces may point into
  // it.
  std::string allow_port_bindings() const {
    return prefix + "/allow-port-bindings";
  }
  // "true" on an EdgeNode: it goes though its edge cannot be cleared.
  std::string skip_deprovision() const { return prefix + "/skip-deprovision"; }

  bool operator==(const AnnotationNames&) const = default;
};

}  // namespace edged::agent
