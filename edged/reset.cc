#include "edged/reset.h"

#include "common/files.h"
#include "common/netlink/conntrack.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/protocol/overlay.h"
#include "common/status.h"
#include "common/wireguard/client.h"
#include "edged/join.h"
#include "edged/state_owner.h"
#include "edged/system/dataplane.h"
#include "edged/system/state_store.h"

namespace edged::edge {
namespace {

// What the state folder says. A running daemon holds the lock.
struct Traces {
  absl::Status enrolled;
  absl::StatusOr<Join> join;
  absl::StatusOr<FileLock> lock;
  absl::StatusOr<StoredState> stored;
};

absl::StatusOr<Traces> FindTraces(const std::string& state) {
  ASSIGN_OR_RETURN(const auto owner, ActAsOwner::Of(state));
  return Traces{CheckEnrolled(state), LoadJoin(state),
                FileLock::Take(state + "/lock"), StateStore(state).Load()};
}

absl::Status RemoveFromKernel(const Config& config,
                              const std::string& wireguard_program,
                              const Traces& traces) {
  ASSIGN_OR_RETURN(auto nft, nftables::Client::Open());
  ASSIGN_OR_RETURN(auto wireguard,
                   wireguard::OpenClient(config.wireguard, wireguard_program));
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(auto conntrack, netlink::Conntrack::Open());
  // Any network will do: what is removed is found by name.
  const IpPrefix network = traces.join.ok()
                               ? traces.join->network
                               : IpPrefix(IpAddress::FromIpv4(0x0ac80000), 22);
  ASSIGN_OR_RETURN(const auto overlay, protocol::Overlay::Create(network));
  Dataplane dataplane({*nft, *wireguard, rtnetlink, conntrack},
                      Limits{.overlay = overlay}, {});
  if (traces.stored.ok()) {
    dataplane.RememberSwitched(traces.stored->switched_interfaces);
  }
  return dataplane.Remove();
}

}  // namespace

absl::Status Reset(const Config& config, const std::string& wireguard_program) {
  ASSIGN_OR_RETURN(const Traces traces, FindTraces(config.state));
  if (!traces.lock.ok()) RETURN_IF_ERROR(traces.enrolled);
  // A running daemon notices that the enrolment is gone, and removes what it
  // made.
  if (traces.lock.ok()) {
    RETURN_IF_ERROR(RemoveFromKernel(config, wireguard_program, traces));
  }
  ASSIGN_OR_RETURN(const auto owner, ActAsOwner::Of(config.state));
  if (traces.lock.ok()) RETURN_IF_ERROR(StateStore(config.state).Remove());
  return Leave(config.state);
}

absl::Status ResetKernel(const Config& config,
                         const std::string& wireguard_program) {
  ASSIGN_OR_RETURN(const Traces traces, FindTraces(config.state));
  if (!traces.lock.ok()) {
    return Annotate(traces.lock.status(),
                    "stop edged first, it would put all back");
  }
  return RemoveFromKernel(config, wireguard_program, traces);
}

}  // namespace edged::edge
