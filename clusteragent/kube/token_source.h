#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/secret.h"

namespace edged::kube {

// The token that we show: one that was given, or that of a file, which the
// kubelet replaces from time to time.
class TokenSource {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  TokenSource(Secret token, std::string file)
      : token_(std::move(token)), file_(std::move(file)) {}

  // Empty where there is none. The file is read when it has changed, and once
  // a minute; one that cannot be read leaves the last token standing, and
  // without one is FailedPrecondition.
  absl::StatusOr<Secret> Token(TimePoint now);
  // The server refused it: whether the next Token() may be another one.
  bool Renew();

 private:
  Secret token_;
  std::string file_;
  std::optional<FileVersion> version_;
  TimePoint read_at_;
};

}  // namespace edged::kube
