#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/enrolment.h"

// What a cluster remembers of an edge, as JSON: in the state folder's records,
// and in the status of the EdgeNode.

namespace edged::agent {

nlohmann::json PoolJson(const IndexPool& pool);
nlohmann::json RecordJson(const EdgeRecord& record);

// These throw the JSON library's exceptions at what they did not write.
IndexPool ReadPool(const nlohmann::json& value);
absl::StatusOr<EdgeRecord> ReadRecord(const nlohmann::json& value);

// What the status of an EdgeNode remembers.
//   status.allocation  the record, with `number`
//   status.keys        {registeredWith, current, other}: the edge's public keys
//   status.token       {id, expires, edgePublicKey}: the token last given out
struct EdgeMemory {
  std::optional<EdgeRecord> record;
  uint32_t number = 0;  // of its mark; 0: none
  EdgeEnrolment enrolment;
  std::optional<IssuedToken> token;
  bool operator==(const EdgeMemory&) const = default;
};

// Each part that cannot be read reads as nothing.
EdgeMemory ReadMemory(const nlohmann::json& status);
// Without the token, which is `clusteragent token`'s to write.
nlohmann::json MemoryJson(const EdgeMemory& memory);
nlohmann::json TokenJson(const IssuedToken& token);
// Whether ReadMemory() gives the same of both.
bool RemembersTheSame(const nlohmann::json& a, const nlohmann::json& b);

}  // namespace edged::agent
