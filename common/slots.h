#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace edged {

inline constexpr size_t kSlots = 256;

// Which member serves each slot, as an index into the members.
using Slots = std::array<uint16_t, kSlots>;

// Deals 256 slots to those of `members` (uplink names, sorted) that serve
// (`serving[i]`, at least one): rendezvous hashing, limited to an equal share
// for each, rounded down or up. The slots of a member that does not serve go to
// the others and no other slot moves, so that it gets the same ones back later.
// A member more or less moves its share and some 3 % of the other slots.
// Depends on the names only: the same on every run and every edge.
Slots DealSlots(const std::vector<std::string>& members,
                const std::vector<bool>& serving);

}  // namespace edged
