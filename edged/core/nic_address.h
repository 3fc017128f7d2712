#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"
#include "common/protocol/records.h"

namespace edged::edge {

// Where packets for a public address arrive on this host. On clouds that
// translate 1:1 `nic` is the private address of the interface.
struct NicAddress {
  IpAddress nic;
  std::string interface;  // "lo" when the address is a /32 there
  int link = 0;           // interface index
  bool operator==(const NicAddress&) const = default;
};

using NicAddresses = std::map<IpAddress, NicAddress>;  // by public address

// For each public address of `settings` where it arrives, or why that is not
// known (FailedPrecondition, names the candidates). A given nicAddress must be
// local; auto is the address itself where it is local, else the only global
// address of the named interface (without a name: of this host). Two public
// addresses never share one: the later of the settings is refused. `device` is
// our tunnel, never a candidate. Pure.
std::map<IpAddress, absl::StatusOr<NicAddress>> ResolveNicAddresses(
    const protocol::Settings& settings, const std::vector<netlink::Link>& links,
    const std::vector<netlink::Address>& addresses, const std::string& device);

}  // namespace edged::edge
