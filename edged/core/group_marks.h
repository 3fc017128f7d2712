#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/nftables/listing.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"

namespace edged::edge {

// The connection marks of groups: 0xedXXXX00, the same as long as the group
// exists. A freed mark rests until all others had their turn, because flows of
// its old group may still carry it.
class GroupMarks {
 public:
  static constexpr uint32_t kMask = 0xff000000;
  static constexpr uint32_t kValue = 0xed000000;

  GroupMarks() = default;
  // Marks for the groups of `model`: those that the kernel's table already
  // uses for them, new ones for the others.
  static absl::StatusOr<GroupMarks> TakeOver(const nftables::Listing& listing,
                                             const EdgeModel& model);

  // Whether there are marks for the groups of `accepted` while those that it
  // removes still have theirs.
  bool HasRoomFor(const protocol::EdgeDelta& accepted) const;
  // Gives marks to the groups of `accepted`; before CompileDelta(). Groups that
  // have one keep it. ResourceExhausted beyond 65,535 groups.
  absl::Status Reserve(const protocol::EdgeDelta& accepted);
  // Frees those of removed groups; after the delta was applied.
  void Release(const protocol::EdgeDelta& accepted);

  uint32_t MarkOf(const std::string& group) const;  // 0: none
  // nullptr: nobody's.
  const std::string* GroupOf(uint32_t mark) const;

 private:
  absl::Status Assign(const std::string& group);

  std::map<std::string, uint32_t> marks_;
  std::map<uint32_t, std::string> groups_;
  uint32_t last_ = 0;  // the number XXXX that was given last
};

}  // namespace edged::edge
