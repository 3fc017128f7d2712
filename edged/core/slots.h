#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace edged::edge {

inline constexpr size_t kSlots = 256;

// Which member serves each slot, as an index into the members.
using Slots = std::array<uint16_t, kSlots>;

// Deals 256 slots to those of `members` (uplink names, sorted) that serve
// (`serving[i]`, at least one). Rendezvous hashing with at most
// ceil(256 / number) slots for each; the slots of a member that does not serve
// go to the others and no other slot moves, so that they come back to it
// unchanged. Depends on the names only: the same on every run and every edge.
Slots DealSlots(const std::vector<std::string>& members,
                const std::vector<bool>& serving);

}  // namespace edged::edge
