#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/netlink/socket.h"

// The kernel's table of connections (ctnetlink).

namespace edged::netlink {

// One direction of a flow.
struct FlowTuple {
  IpAddress source;
  IpAddress destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  bool operator==(const FlowTuple&) const = default;
};

struct Flow {
  uint8_t protocol = 0;  // IPPROTO_*
  FlowTuple original;
  FlowTuple reply;
  uint32_t mark = 0;
  uint32_t status = 0;  // IPS_*: IPS_DST_NAT tells that we translated it
  uint32_t id = 0;  // of this entry, so that no later one is deleted instead
};

// Flows with this end. The port counts only with a protocol.
struct FlowFilter {
  enum class End : uint8_t {
    kOriginalSource,
    kOriginalDestination,
    kReplySource,  // where a translated flow goes
    kReplyDestination,
  };
  End end = End::kOriginalDestination;
  IpAddress address;
  uint8_t protocol = 0;  // 0: any
  uint16_t port = 0;     // 0: any

  bool Matches(const Flow& flow) const;
  // "udp original destination 203.0.113.1:53"
  std::string ToString() const;
  auto operator<=>(const FlowFilter&) const = default;
};

class Conntrack {
 public:
  // FailedPrecondition when this kernel cannot list its connections.
  static absl::StatusOr<Conntrack> Open();

  // Every TCP and UDP flow of one family; others, and those in a conntrack zone
  // of their own, are left out. While flows come and go, one may come twice.
  absl::Status ForEachFlow(Family family,
                           const std::function<void(const Flow&)>& each);
  // The same for those that `filter` matches. The kernel picks them (Linux
  // 5.8), of IPv6 by protocol and port alone: others cost a walk, no copies.
  // The walk takes 0.1 us for each of net.netfilter.nf_conntrack_buckets.
  absl::Status ForEachFlow(const FlowFilter& filter,
                           const std::function<void(const Flow&)>& each);
  // Deletes exactly these flows, not later ones with the same ends; returns how
  // many were still there. It goes entry by entry: a kernel that knew less of a
  // filter than it was told would delete everybody's.
  absl::StatusOr<int> Delete(const std::vector<Flow>& flows);

 private:
  explicit Conntrack(Socket socket);
  absl::Status Dump(MessageBuilder request,
                    const std::function<void(const Flow&)>& each);

  Socket socket_;
};

}  // namespace edged::netlink
