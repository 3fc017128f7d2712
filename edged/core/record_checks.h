#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/protocol/records.h"
#include "edged/core/limits.h"

// What makes sense of an edge's records, whatever is mapped: an edge refuses
// the whole change that would leave it with others. InvalidArgument names the
// record and its values. Pure.

namespace edged::edge {

// Public addresses that can be reached from outside, sorted, each with an index
// of its own that the overlay network has; an MTU and heartbeats that work.
absl::Status CheckSettings(const protocol::Settings& settings,
                           const Limits& limits);
// All uplinks of an edge, by name: they share no block and no key.
absl::Status CheckUplinks(
    const std::map<std::string, protocol::Uplink>& uplinks);
// Names become parts of nft identifiers.
absl::Status CheckGroupName(std::string_view name);
// A group beside the settings and uplinks that there will be.
absl::Status CheckGroup(const protocol::Group& group,
                        const protocol::Settings& settings,
                        const std::map<std::string, protocol::Uplink>& uplinks);

}  // namespace edged::edge
