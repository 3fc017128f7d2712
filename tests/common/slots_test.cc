#include "common/slots.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

namespace edged {
namespace {

std::vector<std::string> Names(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    names.push_back("clusteragent-5d9c7b-" + std::string(1, 'a' + i % 26) +
                    std::to_string(10 + i));
  }
  std::ranges::sort(names);
  return names;
}

// Who holds each slot, by name.
std::vector<std::string> Holders(const std::vector<std::string>& members,
                                 const std::vector<bool>& serving) {
  std::vector<std::string> holders;
  for (const uint16_t member : DealSlots(members, serving)) {
    holders.push_back(members.at(member));
  }
  return holders;
}

std::vector<std::string> Holders(const std::vector<std::string>& members) {
  return Holders(members, std::vector<bool>(members.size(), true));
}

std::map<std::string, size_t> Shares(const std::vector<std::string>& holders) {
  std::map<std::string, size_t> shares;
  for (const auto& holder : holders) ++shares[holder];
  return shares;
}

TEST_CASE("slots: everybody holds an equal share", "[slots]") {
  for (int count = 1; count <= 63; ++count) {
    const auto members = Names(count);
    const auto shares = Shares(Holders(members));
    CHECK(shares.size() == members.size());
    for (const auto& [name, share] : shares) {
      CHECK(share >= kSlots / count);
      CHECK(share <= kSlots / count + 1);
    }
  }
}

TEST_CASE("slots: are the same on every run", "[slots]") {
  const Slots slots = DealSlots({"a", "b", "c"}, {true, true, true});
  std::string text;
  for (size_t i = 0; i < 32; ++i) text += "abc"[slots[i]];
  CHECK(text == "cccccaaabcbccacabcbccabccbababac");
}

TEST_CASE("slots: who stops serving gives up its slots and no other moves",
          "[slots]") {
  for (int count = 2; count <= 9; ++count) {
    const auto members = Names(count);
    const auto before = Holders(members);
    for (int gone = 0; gone < count; ++gone) {
      std::vector<bool> serving(members.size(), true);
      serving[gone] = false;
      const auto after = Holders(members, serving);
      for (size_t slot = 0; slot < kSlots; ++slot) {
        if (before[slot] == members[gone]) {
          CHECK(after[slot] != members[gone]);
        } else {
          CHECK(after[slot] == before[slot]);
        }
      }
      for (const auto& [name, share] : Shares(after)) {
        CHECK(share >= kSlots / (count - 1));
        CHECK(share <= kSlots / (count - 1) + 1);
      }
    }
  }
}

TEST_CASE("slots: a new member takes its share and hardly more moves",
          "[slots]") {
  for (int count = 1; count <= 12; ++count) {
    auto members = Names(count);
    const auto before = Holders(members);
    members.push_back("newcomer");
    std::ranges::sort(members);
    const auto after = Holders(members);
    size_t moved_elsewhere = 0;
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (before[slot] != after[slot] && after[slot] != "newcomer") {
        ++moved_elsewhere;
      }
    }
    INFO(count << " members, " << moved_elsewhere
               << " slots moved between old members");
    CHECK(moved_elsewhere <= kSlots / 16);
  }
}

}  // namespace
}  // namespace edged
