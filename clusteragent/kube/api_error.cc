#include "clusteragent/kube/api_error.h"

#include <fmt/format.h>

#include <cstdlib>

#include "absl/strings/cord.h"
#include "clusteragent/kube/json_reading.h"
#include "common/status.h"
#include "common/utf8.h"

namespace edged::kube {
namespace {

constexpr char kCode[] = "edged.dev/http-code";
constexpr char kReason[] = "edged.dev/reason";
constexpr char kRetryAfter[] = "edged.dev/retry-after";
constexpr size_t kLongestMessage = 1000;

absl::StatusCode CodeOf(int http, const std::string& reason) {
  switch (http) {
    case 400:
    case 413:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 405:
    case 415:
      return absl::StatusCode::kUnimplemented;
    case 409:
      return reason == "AlreadyExists" ? absl::StatusCode::kAlreadyExists
                                       : absl::StatusCode::kAborted;
    case 410:
      return absl::StatusCode::kOutOfRange;
    case 429:
      return absl::StatusCode::kUnavailable;
    default:
      return http / 100 == 5 ? absl::StatusCode::kUnavailable
                             : absl::StatusCode::kInternal;
  }
}

// One line that can be shown.
std::string Shown(const std::string& text) {
  return Escaped(text.substr(0, kLongestMessage));
}

std::optional<std::string> PayloadOf(const absl::Status& status,
                                     const char* name) {
  const auto payload = status.GetPayload(name);
  if (!payload) return std::nullopt;
  return std::string(*payload);
}

absl::Status Make(int http, const nlohmann::json& status, std::string words,
                  std::string_view what,
                  std::optional<std::chrono::seconds> retry_after) {
  const std::string reason = Text(Field(status, "reason"));
  if (words.empty()) words = fmt::format("HTTP {} {}", http, reason);
  const std::string message = fmt::format("{}: {}", what, Shown(words));
  absl::Status made(CodeOf(http, reason), message);
  made.SetPayload(kCode, absl::Cord(fmt::format("{}", http)));
  made.SetPayload(kReason, absl::Cord(Shown(reason)));
  if (retry_after) {
    made.SetPayload(kRetryAfter,
                    absl::Cord(fmt::format("{}", retry_after->count())));
  }
  return made;
}

}  // namespace

absl::Status ErrorOf(const HttpResponse& response, std::string_view what) {
  const nlohmann::json status = ParseJson(response.body);
  std::string words = Text(Field(status, "message"));
  if (words.empty() && !status.is_object()) {
    words = fmt::format("HTTP {} {}", response.code, response.body);
  }
  auto retry_after = response.retry_after;
  const int64_t seconds =
      Number(Field(status, "details", "retryAfterSeconds"), 0);
  if (!retry_after && seconds > 0) retry_after = std::chrono::seconds(seconds);
  return Make(response.code, status, words, what, retry_after);
}

absl::Status ErrorOf(const nlohmann::json& status, std::string_view what) {
  const int64_t code = Number(Field(status, "code"), 500);
  const int http = code >= 400 && code <= 599 ? static_cast<int>(code) : 500;
  return Make(http, status, Text(Field(status, "message")), what, {});
}

int HttpCodeOf(const absl::Status& status) {
  return std::atoi(PayloadOf(status, kCode).value_or("0").c_str());
}

std::string ReasonOf(const absl::Status& status) {
  return PayloadOf(status, kReason).value_or("");
}

std::optional<std::chrono::seconds> RetryAfterOf(const absl::Status& status) {
  const auto text = PayloadOf(status, kRetryAfter);
  if (!text) return std::nullopt;
  return std::chrono::seconds(std::atol(text->c_str()));
}

std::string MissingVerb(const absl::Status& status) {
  static constexpr std::string_view kCannot = "\" cannot ";
  static constexpr std::string_view kResource = " resource \"";
  if (!absl::IsPermissionDenied(status)) return "";
  const std::string_view text = Message(status);
  const size_t cannot = text.find(kCannot);
  if (cannot == std::string_view::npos) return "";
  const std::string_view rest = text.substr(cannot + kCannot.size());
  const size_t middle = rest.find(kResource);
  if (middle == std::string_view::npos) return "";
  const std::string_view resource = rest.substr(middle + kResource.size());
  return fmt::format("{} {}", rest.substr(0, middle),
                     resource.substr(0, resource.find('"')));
}

}  // namespace edged::kube
