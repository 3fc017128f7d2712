#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/core/uplink_status.h"
#include "clusteragent/source/memory_json.h"

// What is said about objects, as the `status` of each. Pure: `now` is the time
// as the API writes it, and `before` the status as it was last, whose times of
// transition stand where nothing changed.

namespace edged::agent {

// As the API writes it, to the second: "2026-01-31T12:00:00Z".
std::string TimeText(absl::Time time);
// RFC 7386: what makes `from` into `to`. An empty object where they are equal.
nlohmann::json MergeDiff(const nlohmann::json& from, const nlohmann::json& to);

// Without the token, which is not the agent's to write. `plan` may be null.
nlohmann::json EdgeNodeStatusJson(const ObjectStatus& status,
                                  const EdgePlan* plan,
                                  const EdgeMemory& memory,
                                  const nlohmann::json& before,
                                  const std::string& now);

// `object` as it is wished for; null where it cannot be read.
nlohmann::json PortBindingStatusJson(const ObjectStatus& status,
                                     const PlannedObject* planned,
                                     const PortBinding* object,
                                     const nlohmann::json& before,
                                     const std::string& now);

// status.loadBalancer of an exposed Service: every address that it holds, and
// of each port why it is not served.
nlohmann::json LoadBalancerJson(const PlannedObject& planned,
                                const ObjectStatus& status);
// The same addresses for an annotation, separated by commas.
std::string AddressesText(const PlannedObject& planned);

// What a replica says of itself, with its key for each edge.
nlohmann::json UplinkStatusJson(const std::map<std::string, PublicKey>& keys,
                                const UplinkStatus& status, int64_t generation,
                                const nlohmann::json& before,
                                const std::string& now);

}  // namespace edged::agent
