#include "edged/system/guard_table.h"

#include "common/nftables/transaction.h"
#include "common/status.h"

namespace edged::edge {
namespace {

using nftables::AddTable;
using nftables::Chain;
using nftables::ChainType;
using nftables::Hook;
using nftables::HookPoint;
using nftables::Transaction;

constexpr char kGuardTable[] = "edged-guard";

// Where the kernel's own NAT runs.
constexpr int kDestinationNat = -100;
constexpr int kSourceNat = 100;

Chain NatChain(const char* name, HookPoint point, int priority) {
  return {.name = name, .hook = Hook{ChainType::kNat, point, priority}};
}

// Empty chains of all hooks keep NAT; it is inert without connection tracking,
// which a rule keeps that is never run.
Transaction MakeGuard() {
  const nftables::Rule tracked{
      {nftables::Match{nftables::Field::kCtState,
                       nftables::MarkBytes(nftables::kCtEstablished)},
       nftables::Verdict{nftables::VerdictKind::kAccept}}};
  Transaction transaction(kGuardTable);
  // One without an owner, as a reloaded listing leaves it, cannot be taken.
  transaction.Add(AddTable{});
  transaction.Add(nftables::DeleteTable{});
  transaction.Add(AddTable{.owned = true});
  for (const Chain& chain :
       {NatChain("prerouting", HookPoint::kPrerouting, kDestinationNat),
        NatChain("output", HookPoint::kOutput, kDestinationNat),
        NatChain("postrouting", HookPoint::kPostrouting, kSourceNat),
        NatChain("input", HookPoint::kInput, kSourceNat),
        Chain{.name = "tracking", .rules = {tracked}}}) {
    transaction.AddChainWithRules(chain);
  }
  return transaction;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GuardTable>> GuardTable::Hold() {
  ASSIGN_OR_RETURN(auto client, nftables::Client::Open());
  RETURN_IF_ERROR(Annotate(client->Apply(MakeGuard()), "guard table"));
  return std::unique_ptr<GuardTable>(new GuardTable(std::move(client)));
}

}  // namespace edged::edge
