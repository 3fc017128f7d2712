#include "edged/system/quiet_loader.h"

#include <variant>

#include "common/status.h"

namespace edged::edge {
namespace {

// From here on a load is quicker with the two requests and the two system calls
// of the silence.
constexpr size_t kManyElements = 256;

// Of the anonymous maps of a rule.
size_t CountElements(const nftables::Rule& rule) {
  size_t count = 0;
  for (const auto& statement : rule.statements) {
    if (const auto* nat = std::get_if<nftables::NatByHash>(&statement)) {
      count += nat->slots.size();
    }
  }
  return count;
}

size_t CountElements(const nftables::Transaction& transaction) {
  size_t count = 0;
  for (const auto& operation : transaction.operations()) {
    if (const auto* add = std::get_if<nftables::AddElements>(&operation)) {
      count += add->elements.size();
    } else if (const auto* removal =
                   std::get_if<nftables::DeleteElements>(&operation)) {
      count += removal->elements.size();
    } else if (const auto* add = std::get_if<nftables::AddRule>(&operation)) {
      count += CountElements(add->rule);
    }
  }
  return count;
}

}  // namespace

absl::Status QuietLoader::Apply(const nftables::Transaction& transaction) {
  if (!events_ || CountElements(transaction) < kManyElements) {
    return client_.Apply(transaction);
  }
  const auto before = client_.Generation();
  RETURN_IF_ERROR(events_->Suspend());
  const absl::Status status = client_.Apply(transaction);
  RETURN_IF_ERROR(events_->Resume());
  const auto after = client_.Generation();
  const uint32_t own = status.ok() ? 1 : 0;
  if (!before.ok() || !after.ok() || *after - *before != own) missed_();
  return status;
}

}  // namespace edged::edge
