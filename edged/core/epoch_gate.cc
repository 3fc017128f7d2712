#include "edged/core/epoch_gate.h"

#include "common/protocol/epoch_refusal.h"
#include "common/status.h"

namespace edged::edge {
absl::Status EpochGate::Check(const Epoch& epoch) const {
  if (epoch.cluster_uid.empty()) {
    return InvalidArgument("epoch cluster_uid: is empty");
  }
  if (epoch.number > protocol::kHighestEpoch) {
    return InvalidArgument("epoch number: {} is above {}, the highest there is",
                           epoch.number, protocol::kHighestEpoch);
  }
  if (!owner_.empty() && epoch.cluster_uid != owner_) {
    return FailedPrecondition(
        "this edge belongs to cluster {}, not to {}; `edged reset --owner` on "
        "the edge frees it",
        owner_, epoch.cluster_uid);
  }
  if (seen_ && epoch.number < seen_->number) {
    return FailedPrecondition(
        "{}", protocol::OlderEpochText(epoch.number, seen_->number));
  }
  return absl::OkStatus();
}

bool EpochGate::Accept(const Epoch& epoch) {
  owner_ = epoch.cluster_uid;
  if (seen_ == epoch) return false;
  seen_ = epoch;
  return true;
}

}  // namespace edged::edge
