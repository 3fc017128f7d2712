#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"

// Who leads packets that are for uplinks away from the tunnel: routes and rules
// that others have made. Pure.

namespace edged::edge {

// What rtnetlink listed.
struct HostRouting {
  std::vector<netlink::Link> links;
  std::vector<netlink::Route> routes;
  std::vector<netlink::PolicyRule> rules;
};

// What the kernel answered about one packet.
struct AskedWay {
  IpAddress destination;
  std::string in;                       // interface; empty: it is made here
  std::optional<IpAddress> source;      // unset: likewise
  std::optional<netlink::Route> route;  // unset: it goes nowhere
  // The route is that of a packet of this host: the kernel refused the one that
  // comes in, for its source or on its way.
  bool refused = false;
};

struct OtherWay {
  std::string what;               // "route 10.200.0.17/32 dev eth1 of table 9"
  std::vector<std::string> mend;  // lines to be typed
  bool operator==(const OtherWay&) const = default;
};

// Unset when it is the way into `device`. `network`: the overlay network that
// the destination is of, for a line that keeps the others' rule otherwise.
std::optional<OtherWay> FindOtherWay(const AskedWay& way,
                                     const HostRouting& host,
                                     const std::string& device,
                                     const std::optional<IpPrefix>& network);

// A rule that is not there without anybody's doing.
bool IsForeign(const netlink::PolicyRule& rule);

}  // namespace edged::edge
