#include "edged/core/group_marks.h"

#include <cstring>

#include "common/protocol/edge_limits.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

constexpr uint32_t kMostGroups = protocol::kMostGroups;

// 0 unless the element is `mark of ours : goto group-NAME`.
uint32_t MarkIn(const nftables::Element& element) {
  uint32_t mark = 0;
  if (element.key.size() != sizeof mark || !element.verdict) return 0;
  std::memcpy(&mark, element.key.data(), sizeof mark);
  const bool ours = (mark & GroupMarks::kMask) == GroupMarks::kValue &&
                    (mark & 0xff) == 0 && (mark & 0xffff00) != 0;
  return ours ? mark : 0;
}

}  // namespace

absl::StatusOr<GroupMarks> GroupMarks::TakeOver(
    const nftables::Listing& listing, const EdgeModel& model) {
  GroupMarks marks;
  const auto map = listing.sets.find(GroupsSet().name);
  if (map != listing.sets.end()) {
    for (const auto& element : map->second.elements) {
      const uint32_t mark = MarkIn(element);
      if (mark == 0) continue;
      const std::string group(GroupOfChain(element.verdict->chain));
      if (!model.groups().contains(group) || marks.marks_.contains(group)) {
        continue;
      }
      marks.marks_[group] = mark;
      marks.groups_[mark] = group;
      marks.last_ = std::max(marks.last_, mark >> 8 & 0xffff);
    }
  }
  for (const auto& [name, group] : model.groups()) {
    if (absl::Status status = marks.Assign(name); !status.ok()) return status;
  }
  return marks;
}

bool GroupMarks::HasRoomFor(const protocol::EdgeDelta& accepted) const {
  size_t wanted = marks_.size();
  for (const auto& group : accepted.groups) {
    wanted += marks_.contains(group.name) ? 0 : 1;
  }
  return wanted <= kMostGroups;
}

absl::Status GroupMarks::Reserve(const protocol::EdgeDelta& accepted) {
  for (const auto& group : accepted.groups) {
    if (absl::Status status = Assign(group.name); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void GroupMarks::Release(const protocol::EdgeDelta& accepted) {
  for (const auto& name : accepted.removed_groups) {
    const auto found = marks_.find(name);
    if (found == marks_.end()) continue;
    groups_.erase(found->second);
    marks_.erase(found);
  }
}

uint32_t GroupMarks::MarkOf(const std::string& group) const {
  const auto found = marks_.find(group);
  return found == marks_.end() ? 0 : found->second;
}

const std::string* GroupMarks::GroupOf(uint32_t mark) const {
  const auto found = groups_.find(mark);
  return found == groups_.end() ? nullptr : &found->second;
}

absl::Status GroupMarks::Assign(const std::string& group) {
  if (marks_.contains(group)) return absl::OkStatus();
  if (marks_.size() >= kMostGroups) {
    return absl::ResourceExhaustedError("all 65535 marks of groups are in use");
  }
  uint32_t mark = 0;
  do {
    last_ = last_ % kMostGroups + 1;
    mark = kValue | last_ << 8;
  } while (groups_.contains(mark));
  marks_[group] = mark;
  groups_[mark] = group;
  return absl::OkStatus();
}

}  // namespace edged::edge
