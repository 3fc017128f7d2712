#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// How errors travel. The code is the decision: InvalidArgument = the caller's
// fault, do not retry; Unavailable and Aborted = retry; FailedPrecondition = an
// operator must act; Internal = our bug.

namespace edged {

// The status for an errno: ENOENT → NotFound, EEXIST → AlreadyExists, EPERM and
// EACCES → PermissionDenied, EINVAL and ERANGE → InvalidArgument, EAGAIN,
// EINTR, EBUSY and ENOBUFS → Unavailable, EOPNOTSUPP → Unimplemented, ENOSPC
// and EMFILE → ResourceExhausted, others → Internal. Message "WHAT: strerror".
absl::Status ErrnoStatus(int error, std::string_view what);

// The same code and payloads, with "CONTEXT: " before the message.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// The message as a std::string_view.
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

template <typename... Args>
absl::Status InvalidArgument(fmt::format_string<Args...> format,
                             Args&&... args) {
  return absl::InvalidArgumentError(
      fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
absl::Status FailedPrecondition(fmt::format_string<Args...> format,
                                Args&&... args) {
  return absl::FailedPreconditionError(
      fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
absl::Status Unavailable(fmt::format_string<Args...> format, Args&&... args) {
  return absl::UnavailableError(
      fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
absl::Status Internal(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InternalError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace edged

#define EDGED_CONCAT_INNER(a, b) a##b
#define EDGED_CONCAT(a, b) EDGED_CONCAT_INNER(a, b)

// Returns the status of EXPRESSION from this function unless it is OK.
#define RETURN_IF_ERROR(expression)                           \
  do {                                                        \
    if (absl::Status status_ = (expression); !status_.ok()) { \
      return status_;                                         \
    }                                                         \
  } while (false)

// ASSIGN_OR_RETURN(auto value, StatusOrExpression());
#define ASSIGN_OR_RETURN(declaration, expression)                         \
  ASSIGN_OR_RETURN_INNER(EDGED_CONCAT(status_or_, __LINE__), declaration, \
                         expression)
#define ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                   \
  if (!temporary.ok()) return temporary.status();                  \
  declaration = *std::move(temporary)
