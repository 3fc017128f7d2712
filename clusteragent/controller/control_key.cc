#include "clusteragent/controller/control_key.h"

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "clusteragent/kube/cluster_json.h"
#include "common/status.h"

namespace edged::agent {

absl::StatusOr<PrivateKey> ReadControlKey(const nlohmann::json& object) {
  const auto secret = kube::ReadSecret(object);
  if (secret) {
    const auto entry = secret->data.find(kControlKeyEntry);
    if (entry != secret->data.end()) {
      if (auto key = PrivateKey::Parse(entry->second.Reveal()); key.ok()) {
        return key;
      }
    }
  }
  return FailedPrecondition(
      "Secret {}/{}: {}: holds no WireGuard key; delete the Secret, and the "
      "running agent makes a new one",
      secret ? secret->meta.name_space : "", kControlSecret, kControlKeyEntry);
}

nlohmann::json ControlSecretJson(const std::string& name_space,
                                 const PrivateKey& key) {
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata", {{"name", kControlSecret}, {"namespace", name_space}}},
          {"data", {{kControlKeyEntry, absl::Base64Escape(key.Reveal())}}}};
}

}  // namespace edged::agent
