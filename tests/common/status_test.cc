#include "common/status.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>
#include <string>

namespace edged {
namespace {

std::string Text(const absl::Status& status) {
  return status.ToString(absl::StatusToStringMode::kDefault);
}

TEST_CASE("status: turns an errno into a code that decides", "[status]") {
  CHECK(Text(ErrnoStatus(ENOENT, "/etc/x")) ==
        "NOT_FOUND: /etc/x: No such file or directory");
  CHECK(Text(ErrnoStatus(EEXIST, "a")) == "ALREADY_EXISTS: a: File exists");
  CHECK(Text(ErrnoStatus(EPERM, "a")) ==
        "PERMISSION_DENIED: a: Operation not permitted");
  CHECK(Text(ErrnoStatus(EINVAL, "a")) ==
        "INVALID_ARGUMENT: a: Invalid argument");
  CHECK(ErrnoStatus(ENOBUFS, "a").code() == absl::StatusCode::kUnavailable);
  CHECK(ErrnoStatus(EBUSY, "a").code() == absl::StatusCode::kUnavailable);
  CHECK(ErrnoStatus(EOPNOTSUPP, "a").code() ==
        absl::StatusCode::kUnimplemented);
  CHECK(ErrnoStatus(ENOSPC, "a").code() ==
        absl::StatusCode::kResourceExhausted);
  CHECK(ErrnoStatus(EROFS, "a").code() ==
        absl::StatusCode::kFailedPrecondition);
  CHECK(ErrnoStatus(EFAULT, "a").code() == absl::StatusCode::kInternal);
}

TEST_CASE("status: annotates and keeps code and payload", "[status]") {
  absl::Status status = InvalidArgument("port {} is taken", 443);
  status.SetPayload("edged.dev/offset", absl::Cord("12"));
  const absl::Status annotated = Annotate(status, "binding web");
  CHECK(std::string(Message(annotated)) == "binding web: port 443 is taken");
  CHECK(annotated.code() == absl::StatusCode::kInvalidArgument);
  CHECK(annotated.GetPayload("edged.dev/offset") == absl::Cord("12"));
  CHECK(Annotate(absl::OkStatus(), "anything").ok());
}

TEST_CASE("status: makes each code with its format", "[status]") {
  CHECK(Text(FailedPrecondition("{} {}", "a", 1)) ==
        "FAILED_PRECONDITION: a 1");
  CHECK(Text(Unavailable("{}", true)) == "UNAVAILABLE: true");
  CHECK(Text(Internal("x")) == "INTERNAL: x");
}

absl::StatusOr<std::unique_ptr<int>> Make(int value) {
  if (value < 0) return InvalidArgument("{} is negative", value);
  return std::make_unique<int>(value);
}

absl::StatusOr<int> Sum(int a, int b) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> first, Make(a));
  ASSIGN_OR_RETURN(const std::unique_ptr<int> second, Make(b));
  return *first + *second;
}

absl::Status Check(int value, bool& passed) {
  passed = false;
  RETURN_IF_ERROR(Make(value).status());
  passed = true;
  return absl::OkStatus();
}

TEST_CASE("status: returns early with the macros", "[status]") {
  CHECK(Sum(1, 2).value() == 3);
  CHECK(Text(Sum(1, -2).status()) == "INVALID_ARGUMENT: -2 is negative");
  CHECK(Text(Sum(-1, -2).status()) == "INVALID_ARGUMENT: -1 is negative");
  bool passed = false;
  CHECK(Check(1, passed).ok());
  CHECK(passed);
  CHECK_FALSE(Check(-1, passed).ok());
  CHECK_FALSE(passed);
}

}  // namespace
}  // namespace edged
