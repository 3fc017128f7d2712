#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "clusteragent/core/cluster.h"
#include "clusteragent/core/objects.h"
#include "common/secret.h"

// The border between JSON of Kubernetes' own objects and plain values. Whoever
// wrote them, they are taken for what can be read: fields that we do not use,
// that are absent or of another type than the API says read as nothing. Nothing
// at all comes of what has no name.

namespace edged::kube {

// Who writes, as managedFields name us.
inline constexpr char kFieldManager[] = "clusteragent";

// Name, namespace, uid, creation, generation, labels and annotations.
std::optional<agent::ObjectMeta> ReadMeta(const nlohmann::json& object);

std::optional<agent::Service> ReadService(const nlohmann::json& object);
std::optional<agent::EndpointSlice> ReadEndpointSlice(
    const nlohmann::json& object);
std::optional<agent::Namespace> ReadNamespace(const nlohmann::json& object);
std::optional<agent::ReferenceGrant> ReadReferenceGrant(
    const nlohmann::json& object);

struct SecretObject {
  agent::ObjectMeta meta;
  std::string type;                    // "kubernetes.io/tls"
  std::map<std::string, Secret> data;  // decoded
};
// Entries that are not base64 are left out.
std::optional<SecretObject> ReadSecret(const nlohmann::json& object);

}  // namespace edged::kube
