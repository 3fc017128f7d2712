#pragma once

#include <string>
#include <string_view>
#include <vector>

// How the API names things, and where they lie.

namespace edged::kube {

struct Resource {
  std::string group;  // empty: the core group
  std::string version;
  std::string kind;    // "EndpointSlice"
  std::string plural;  // "endpointslices"
  bool namespaced = true;

  std::string ApiVersion() const;  // "discovery.k8s.io/v1", "v1"
};

inline const Resource kServices{"", "v1", "Service", "services"};
inline const Resource kSecrets{"", "v1", "Secret", "secrets"};
// Its uid is the cluster's.
inline constexpr char kSystemNamespace[] = "kube-system";
inline const Resource kNamespaces{"", "v1", "Namespace", "namespaces", false};
inline const Resource kEndpointSlices{"discovery.k8s.io", "v1", "EndpointSlice",
                                      "endpointslices"};
inline const Resource kLeases{"coordination.k8s.io", "v1", "Lease", "leases"};
inline const Resource kReferenceGrants{"gateway.networking.k8s.io", "v1beta1",
                                       "ReferenceGrant", "referencegrants"};
inline const Resource kEdgeNodes{"edged.dev", "v1alpha1", "EdgeNode",
                                 "edgenodes", false};
inline const Resource kPortBindings{"edged.dev", "v1alpha1", "PortBinding",
                                    "portbindings"};
inline const Resource kUplinks{"edged.dev", "v1alpha1", "Uplink", "uplinks"};

// One object, or with `subresource` a part of it.
struct ObjectRef {
  Resource resource;
  std::string name_space;  // empty for what has none
  std::string name;
  std::string subresource;  // "status"; empty: the object

  std::string Path() const;
  std::string ToString() const;  // "services a/b", "services a/b status"
};

// All objects of a kind.
struct Collection {
  Resource resource;
  std::string name_space;      // empty: of all namespaces
  std::string label_selector;  // empty: all
  std::string field_selector;  // "metadata.name=tls"

  std::string Path() const;
  std::string ToString() const;  // "services in namespace a", "services"
};

// Collection::name_space for what is to be seen: one for each of `namespaces`,
// without any the one of all.
std::vector<std::string> ScopesOf(const std::vector<std::string>& namespaces);

// Everything but RFC 3986's unreserved characters as %XX.
std::string PercentEncoded(std::string_view text);

}  // namespace edged::kube
