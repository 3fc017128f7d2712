#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "clusteragent/kube/http_client.h"

// What an API server refuses, as a Status that keeps how it was said.

namespace edged::kube {

// For an answer other than 2xx, whose body is a Status of the API, or anything:
// 400, 413 and 422 → InvalidArgument, 401 → Unauthenticated, 403 →
// PermissionDenied, 404 → NotFound, 405 and 415 → Unimplemented, 409 → Aborted
// (Conflict) or AlreadyExists, 410 → OutOfRange (expired), 429 and 5xx →
// Unavailable, else Internal. Message "WHAT: the server's own words", where
// WHAT is "list services in namespace a".
absl::Status ErrorOf(const HttpResponse& response, std::string_view what);
// The same of the Status object in a watch's ERROR event.
absl::Status ErrorOf(const nlohmann::json& status, std::string_view what);

// What ErrorOf knew; nothing for other statuses.
int HttpCodeOf(const absl::Status& status);        // 0: no answer
std::string ReasonOf(const absl::Status& status);  // "Conflict"
std::optional<std::chrono::seconds> RetryAfterOf(const absl::Status& status);

// Of a 403 that says that no rule grants it (apiserver's forbiddenMessage),
// what was asked for: "patch portbindings/status"; empty for all other
// statuses, also for what an admission refused in this object alone.
std::string MissingVerb(const absl::Status& status);

}  // namespace edged::kube
