#include "common/slots.h"

#include <algorithm>
#include <string_view>

namespace edged {
namespace {

constexpr uint16_t kNobody = 0xffff;

// FNV-1a, finished by SplitMix64's mixer: fixed for ever, unlike absl::Hash,
// because a restart must deal the same slots.
uint64_t Mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

uint64_t HashOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return Mix(hash);
}

struct Claim {
  uint64_t score = 0;
  uint16_t slot = 0;
  uint16_t member = 0;
};

// Gives every slot that nobody has to one of the `allowed` members, the best
// claims first. In the end each holds its equal share, rounded down or up.
void Deal(const std::vector<std::string>& members,
          const std::vector<bool>& allowed, Slots& slots) {
  const auto count = static_cast<size_t>(std::ranges::count(allowed, true));
  const size_t share = kSlots / count;
  size_t larger_shares = kSlots % count;
  std::vector<size_t> held(members.size());
  const auto take = [&](uint16_t member) {
    if (++held[member] > share) --larger_shares;
  };
  for (const uint16_t member : slots) {
    if (member != kNobody) take(member);
  }
  std::vector<Claim> claims;
  for (uint16_t member = 0; member < members.size(); ++member) {
    if (!allowed[member]) continue;
    const uint64_t name = HashOf(members[member]);
    for (uint16_t slot = 0; slot < kSlots; ++slot) {
      if (slots[slot] != kNobody) continue;
      claims.push_back(
          {Mix(name + (slot + 1) * 0x9e3779b97f4a7c15), slot, member});
    }
  }
  std::ranges::stable_sort(claims, std::greater(), &Claim::score);
  for (const Claim& claim : claims) {
    const size_t holds = held[claim.member];
    const bool may = holds < share || (holds == share && larger_shares > 0);
    if (slots[claim.slot] != kNobody || !may) continue;
    slots[claim.slot] = claim.member;
    take(claim.member);
  }
}

}  // namespace

Slots DealSlots(const std::vector<std::string>& members,
                const std::vector<bool>& serving) {
  Slots slots;
  slots.fill(kNobody);
  Deal(members, std::vector<bool>(members.size(), true), slots);
  if (std::ranges::find(serving, false) == serving.end()) return slots;
  for (uint16_t& member : slots) {
    if (!serving[member]) member = kNobody;
  }
  Deal(members, serving, slots);
  return slots;
}

}  // namespace edged
