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

// Names exactly one flow: its original tuple and its id.
MessageBuilder DeleteFlowRequest(const Flow& flow);

}  // namespace edged::netlink
