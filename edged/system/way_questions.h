#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/netlink/route_events.h"
#include "common/netlink/rtnetlink.h"
#include "edged/core/tunnel_way.h"

namespace edged::edge {

absl::StatusOr<HostRouting> ObserveRouting(netlink::Rtnetlink& rtnetlink);

// What was observed last, for who asks often: it is observed again only after
// the kernel has told of a change, and at most ten times a second.
class RoutingMemory {
 public:
  using Observe = std::function<absl::StatusOr<HostRouting>()>;

  static absl::StatusOr<RoutingMemory> Open(Observe observe);

  // Good until the next call.
  absl::StatusOr<const HostRouting*> Recall();

 private:
  RoutingMemory(netlink::RouteEvents events, Observe observe)
      : events_(std::move(events)), observe_(std::move(observe)) {}

  netlink::RouteEvents events_;
  Observe observe_;
  std::optional<HostRouting> known_;
  std::chrono::steady_clock::time_point known_at_;
  bool changed_ = false;  // since then
};

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
