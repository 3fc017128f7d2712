#include "edged/system/overflow.h"

#include "common/nftables/transaction.h"
#include "common/status.h"

namespace edged::edge {
namespace {

nftables::Transaction Anew(const nftables::Table& table) {
  nftables::Transaction transaction(table.name);
  // One without an owner, as a reloaded listing leaves it, cannot be taken.
  transaction.Add(nftables::AddTable{});
  transaction.Add(nftables::DeleteTable{});
  transaction.Add(nftables::AddTable{.owned = true});
  for (const nftables::SetWithElements& set : table.sets) {
    transaction.Add(nftables::AddSet{set.set});
    if (set.elements.empty()) continue;
    transaction.Add(nftables::AddElements{set.set, set.elements});
  }
  for (const nftables::Chain& chain : table.chains) {
    transaction.AddChainWithRules(chain);
  }
  return transaction;
}

}  // namespace

// Uplinks that were heard have an entry for the tunnel's packets.
absl::StatusOr<TrackedEnds> Overflow::LookUp(
    const HostFacts& facts, const std::vector<HeardUplink>& heard) {
  TrackedEnds tracked;
  for (const HeardUplink& uplink : heard) tracked.outer.insert(uplink.outer);
  const netlink::FlowFilter to_edge{.address =
                                        facts.limits.overlay.EdgeAddress()};
  RETURN_IF_ERROR(
      conntrack_.ForEachFlow(to_edge, [&tracked](const netlink::Flow& flow) {
        tracked.callers.insert(
            {static_cast<Protocol>(flow.protocol),
             {flow.original.source, flow.original.source_port}});
      }));
  return tracked;
}

absl::Status Overflow::Hold(const HostFacts& facts,
                            const std::set<IpAddress>& own,
                            const std::vector<HeardUplink>& heard) {
  if (!tracked_) {
    ASSIGN_OR_RETURN(tracked_, LookUp(facts, heard));
  }
  tracked_ = StillTracked(*tracked_, heard);
  nftables::Table table = OverflowTable(facts, own, *tracked_);
  if (loaded_ == table) return absl::OkStatus();
  if (client_ == nullptr) {
    ASSIGN_OR_RETURN(client_, nftables::Client::Open());
  }
  RETURN_IF_ERROR(client_->Apply(Anew(table)));
  loaded_ = std::move(table);
  return absl::OkStatus();
}

void Overflow::End() {
  tracked_.reset();
  loaded_.reset();
  client_.reset();
}

}  // namespace edged::edge
