#include "clusteragent/kube/token_source.h"

#include <sodium.h>

#include "common/status.h"

namespace edged::kube {
namespace {

constexpr std::chrono::seconds kLongest(60);
constexpr size_t kLargestToken = 64 << 10;

}  // namespace

absl::StatusOr<Secret> TokenSource::Token(TimePoint now) {
  if (file_.empty()) return token_;
  const auto version = VersionOf(file_);
  if (version_ && version_->settled && version.ok() && *version == *version_ &&
      now - read_at_ < kLongest) {
    return token_;
  }
  auto text = ReadFile(file_, kLargestToken);
  if (!text.ok()) {
    if (!token_.empty()) return token_;
    return FailedPrecondition("token: {}", Message(text.status()));
  }
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) {
    text->pop_back();
  }
  token_ = Secret(*text);
  sodium_memzero(text->data(), text->size());
  read_at_ = now;
  version_.reset();
  if (version.ok()) version_ = *version;
  return token_;
}

bool TokenSource::Renew() {
  version_.reset();
  return !file_.empty();
}

}  // namespace edged::kube
