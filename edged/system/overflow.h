#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/conntrack.h"
#include "common/nftables/client.h"
#include "edged/core/overflow_table.h"

namespace edged::edge {

// Holds the table of overflow_table.h in the kernel, which nobody else can
// change, and which goes with this object or the process. Belongs to the loop
// thread.
class Overflow {
 public:
  // `conntrack` is borrowed.
  explicit Overflow(netlink::Conntrack& conntrack) : conntrack_(conntrack) {}

  // To be called again and again while the table of connections is full, with
  // this host's `own` addresses. What has an entry is looked up the first time,
  // which takes a walk through the table (conntrack.h). Unimplemented when this
  // kernel cannot own tables (before 5.12).
  absl::Status Hold(const HostFacts& facts, const std::set<IpAddress>& own,
                    const std::vector<HeardUplink>& heard);
  // There is room again.
  void End();
  bool held() const { return loaded_.has_value(); }

 private:
  absl::StatusOr<TrackedEnds> LookUp(const HostFacts& facts,
                                     const std::vector<HeardUplink>& heard);

  netlink::Conntrack& conntrack_;
  std::optional<TrackedEnds> tracked_;
  // Its socket is the owner of the table.
  std::unique_ptr<nftables::Client> client_;
  std::optional<nftables::Table> loaded_;
};

}  // namespace edged::edge
