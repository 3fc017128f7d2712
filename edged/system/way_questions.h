#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/netlink/rtnetlink.h"
#include "edged/core/tunnel_way.h"

namespace edged::edge {

absl::StatusOr<HostRouting> ObserveRouting(netlink::Rtnetlink& rtnetlink);

// Where the kernel would send a packet from `source` to `destination` that came
// in by `in`. What its rp_filter would drop is asked again as one of this host.
AskedWay AskWay(netlink::Rtnetlink& rtnetlink, const HostRouting& host,
                const IpAddress& destination, const std::string& in,
                const IpAddress& source);

// Where clients' packets to these addresses go, that come in by `interfaces`:
// of an ordinary client, and of one that each foreign rule selects. Of many
// addresses and rules only the first are asked for.
std::vector<AskedWay> AskWays(netlink::Rtnetlink& rtnetlink,
                              const HostRouting& host,
                              const std::vector<IpAddress>& destinations,
                              const std::vector<std::string>& interfaces);

}  // namespace edged::edge
