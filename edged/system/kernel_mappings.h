#pragma once

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nftables/client.h"
#include "common/protocol/digest.h"
#include "common/protocol/records.h"
#include "edged/core/edge_api.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"

namespace edged::edge {

// The mappings in the kernel's table, read back. Made for each reading: what it
// is given is borrowed.
class KernelMappings {
 public:
  KernelMappings(nftables::Client& nft, const GroupMarks& marks,
                 const HostFacts& facts)
      : nft_(nft), marks_(marks), facts_(facts) {}

  // What this delta touches is there as it says. Aborted names what is not.
  absl::Status Check(const protocol::EdgeDelta& accepted) const;
  // Of all there are, with what else `model` has.
  absl::StatusOr<protocol::Digest> Digest(const EdgeModel& model) const;
  // With their counters, sorted; what is not of our making is left out.
  absl::StatusOr<std::vector<MappingStatus>> List() const;

 private:
  absl::Status CheckSome(std::span<const protocol::Mapping> written,
                         std::span<const protocol::Listener> removed) const;

  nftables::Client& nft_;
  const GroupMarks& marks_;
  const HostFacts& facts_;
};

}  // namespace edged::edge
