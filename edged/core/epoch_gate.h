#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "edged/core/edge_api.h"

namespace edged::edge {

// Who may change this edge: one cluster, in the highest term seen. Pure.
class EpochGate {
 public:
  EpochGate() = default;
  // `owner`: the enrolled cluster, empty: whoever comes first; `seen`: the last
  // accepted epoch.
  EpochGate(std::string owner, std::optional<Epoch> seen)
      : owner_(std::move(owner)), seen_(std::move(seen)) {}

  // OK, or FailedPrecondition: another cluster (named, with the way out), or a
  // lower number of the same cluster (the highest one named: "epoch 3 is older
  // than 7").
  absl::Status Check(const Epoch& epoch) const;
  // Remembers a checked epoch. True when it is new and must be made durable.
  bool Accept(const Epoch& epoch);

  const std::optional<Epoch>& seen() const { return seen_; }

 private:
  std::string owner_;
  std::optional<Epoch> seen_;
};

}  // namespace edged::edge
