#include "edged/reset.h"

#include "common/files.h"
#include "common/netlink/conntrack.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/protocol/overlay.h"
#include "common/status.h"
#include "common/wireguard/client.h"
#include "edged/join.h"
#include "edged/system/dataplane.h"
#include "edged/system/state_store.h"

namespace edged::edge {

absl::Status Reset(const Config& config, const std::string& wireguard_program) {
  const auto join = LoadJoin(config.state);
  // A running daemon holds the lock, notices that the enrolment is gone, and
  // removes what it made.
  const auto lock = FileLock::Take(config.state + "/lock");
  if (!lock.ok()) {
    if (absl::IsNotFound(join.status())) {
      return FailedPrecondition("this edge is not enrolled: {} is not there",
                                JoinPath(config.state));
    }
    return Leave(config.state);
  }
  ASSIGN_OR_RETURN(auto nft, nftables::Client::Open());
  ASSIGN_OR_RETURN(auto wireguard,
                   wireguard::OpenClient(config.wireguard, wireguard_program));
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(auto conntrack, netlink::Conntrack::Open());
  // Any network will do: what is removed is found by name.
  const IpPrefix network =
      join.ok() ? join->network : IpPrefix(IpAddress::FromIpv4(0x0ac80000), 22);
  ASSIGN_OR_RETURN(const auto overlay, protocol::Overlay::Create(network));
  Dataplane dataplane({*nft, *wireguard, rtnetlink, conntrack},
                      Limits{.overlay = overlay}, {});
  StateStore store(config.state);
  const auto stored = store.Load();
  if (stored.ok()) dataplane.RememberSwitched(stored->switched_interfaces);
  RETURN_IF_ERROR(dataplane.Remove());
  RETURN_IF_ERROR(store.Remove());
  return Leave(config.state);
}

}  // namespace edged::edge
