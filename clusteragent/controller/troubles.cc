#include "clusteragent/controller/troubles.h"

#include <spdlog/spdlog.h>

namespace edged::agent {
namespace {

bool IsForOperator(const absl::Status& why) {
  return absl::IsPermissionDenied(why) || absl::IsNotFound(why) ||
         absl::IsFailedPrecondition(why) || absl::IsUnauthenticated(why);
}

}  // namespace

void Troubles::Hear(const std::string& what, const absl::Status& why) {
  if (why.ok()) {
    if (known_.erase(what) > 0) {
      spdlog::info("Kubernetes: {}: well again", what);
    }
    return;
  }
  Trouble& trouble = known_[what];
  if (!trouble.last.Becomes(why)) return;
  trouble.for_operator = IsForOperator(why);
  if (trouble.for_operator) {
    spdlog::error("Kubernetes: {}", trouble.last.text());
  } else {
    spdlog::warn("Kubernetes: {}; what was known stands", trouble.last.text());
  }
}

std::vector<std::string> Troubles::All() const {
  std::vector<std::string> all;
  for (const auto& [what, trouble] : known_) all.push_back(trouble.last.text());
  return all;
}

std::vector<std::string> Troubles::ForOperator() const {
  std::vector<std::string> some;
  for (const auto& [what, trouble] : known_) {
    if (trouble.for_operator) some.push_back(trouble.last.text());
  }
  return some;
}

}  // namespace edged::agent
