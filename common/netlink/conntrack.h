#pragma once

#include <cstdint>
#include <functional>
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

class Conntrack {
 public:
  // FailedPrecondition when this kernel cannot list its connections.
  static absl::StatusOr<Conntrack> Open();

  // Every TCP and UDP flow of one family; others, and those in a conntrack zone
  // of their own, are left out. While flows come and go, one may come twice.
  absl::Status ForEachFlow(Family family,
                           const std::function<void(const Flow&)>& each);
  // Deletes exactly this flow; OK when it has gone already.
  absl::Status Delete(const Flow& flow);

 private:
  explicit Conntrack(Socket socket);

  Socket socket_;
};

}  // namespace edged::netlink
