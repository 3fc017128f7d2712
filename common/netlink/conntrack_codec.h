#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "common/netlink/conntrack.h"
#include "common/netlink/message.h"

// ctnetlink messages to values and back
// (include/uapi/linux/netfilter/nfnetlink_conntrack.h). Pure.

namespace edged::netlink {

// Unset for flows that are neither TCP nor UDP, or lie in another zone than 0.
absl::StatusOr<std::optional<Flow>> ReadFlow(const MessageView& message);

// Asks for every flow of a family; to be sent as a dump.
MessageBuilder FlowsRequest(Family family);
// The same for the flows that `filter` matches (CTA_FILTER), and others: the
// kernel's comparison of IPv6 addresses is the wrong way round (6.18: it picks
// those that differ), so it is not asked for.
MessageBuilder FlowsRequest(const FlowFilter& filter);

// Names exactly one flow: its original tuple and its id.
MessageBuilder DeleteFlowRequest(const Flow& flow);

}  // namespace edged::netlink
