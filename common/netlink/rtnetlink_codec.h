#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/netlink/rtnetlink.h"

// What rtnetlink's messages say, as values (rtnetlink(7)). Pure. Each function
// reads the RTM_NEW... and the RTM_DEL... message of its object and is
// InvalidArgument when the message is malformed.

namespace edged::netlink {

// Unset for messages of another family than AF_UNSPEC, which tell of a link's
// place in a bridge.
absl::StatusOr<std::optional<Link>> ReadLink(const MessageView& message);

absl::StatusOr<Address> ReadAddress(const MessageView& message);

// Unset for one that is looked for or did not answer, or needs no looking for.
absl::StatusOr<std::optional<Neighbour>> ReadNeighbour(
    const MessageView& message);

// A route of any type, also one that RTM_GETROUTE made up for one destination.
// An MTU that ICMP errors told of is left out.
absl::StatusOr<Route> ReadAnyRoute(const MessageView& message);
// The MTU that the kernel has learned for this one destination, which hides
// that of the route it took.
absl::StatusOr<std::optional<LearnedMtu>> ReadLearnedMtu(
    const MessageView& message);
// Unset when it is neither a unicast route of a table nor one that refuses
// (local, broadcast, cached, ...).
absl::StatusOr<std::optional<Route>> ReadTableRoute(const MessageView& message);

absl::StatusOr<PolicyRule> ReadRule(const MessageView& message);

// Per-device settings that changed, or were asked for. A change of one that is
// not told here has neither value.
struct Netconf {
  Family family = Family::kIpv4;
  int link = 0;  // interface index, or NETCONFA_IFINDEX_ALL, _DEFAULT
  std::optional<bool> forwarding;
  std::optional<int> rp_filter;
  bool operator==(const Netconf&) const = default;
};
absl::StatusOr<Netconf> ReadNetconf(const MessageView& message);

}  // namespace edged::netlink
