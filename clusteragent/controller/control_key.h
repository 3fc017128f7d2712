#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "common/keys.h"

namespace edged::agent {

// The Secret with the control key, and the Lease; in the agent's namespace.
inline constexpr char kControlSecret[] = "clusteragent";
inline constexpr char kControlKeyEntry[] = "control-key";

// The key that the Secret holds, as the API server gave it. FailedPrecondition
// names Secret and entry, and says what to do.
absl::StatusOr<PrivateKey> ReadControlKey(const nlohmann::json& secret);

// What to create.
nlohmann::json ControlSecretJson(const std::string& name_space,
                                 const PrivateKey& key);

}  // namespace edged::agent
