#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/status_plan.h"

// Records and statuses as JSON text, for the files of the state folder. Equal
// values give equal bytes.

namespace edged::agent {

std::string ToJson(const Records& records);
// DataLoss when it is not what ToJson wrote.
absl::StatusOr<Records> RecordsFromJson(std::string_view text);

std::string ToJson(const ObjectStatus& status);
absl::StatusOr<ObjectStatus> StatusFromJson(std::string_view text);

}  // namespace edged::agent
