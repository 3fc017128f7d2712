#include "edged/core/group_marks.h"

#include <catch2/catch.hpp>

#include "edged/core/nft_names.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

protocol::EdgeDelta Groups(std::vector<std::string> names) {
  protocol::EdgeDelta delta;
  for (auto& name : names) delta.groups.push_back({.name = std::move(name)});
  return delta;
}

TEST_CASE("group_marks: are given in turn and kept", "[group_marks]") {
  GroupMarks marks;
  REQUIRE(marks.Reserve(Groups({"x", "y"})).ok());
  REQUIRE(marks.Reserve(Groups({"y", "z"})).ok());
  CHECK(marks.MarkOf("x") == 0xed000100);
  CHECK(marks.MarkOf("y") == 0xed000200);
  CHECK(marks.MarkOf("z") == 0xed000300);
  CHECK(marks.MarkOf("other") == 0);
  CHECK(*marks.GroupOf(0xed000200) == "y");
  CHECK(marks.GroupOf(0xed000201) == nullptr);
}

TEST_CASE("group_marks: a freed one rests until all others had their turn",
          "[group_marks]") {
  GroupMarks marks;
  REQUIRE(marks.Reserve(Groups({"x", "y"})).ok());
  marks.Release({.removed_groups = {"x", "unknown"}});
  CHECK(marks.GroupOf(0xed000100) == nullptr);
  for (uint32_t i = 3; i <= 0xffff; ++i) {
    REQUIRE(marks.Reserve(Groups({std::to_string(i)})).ok());
    CHECK(marks.MarkOf(std::to_string(i)) == (0xed000000 | i << 8));
  }
  CHECK(marks.HasRoomFor(Groups({"x again", "y"})));
  CHECK(!marks.HasRoomFor(Groups({"x again", "one more"})));
  REQUIRE(marks.Reserve(Groups({"x again"})).ok());
  CHECK(marks.MarkOf("x again") == 0xed000100);
  CHECK(marks.Reserve(Groups({"one more"})).code() ==
        absl::StatusCode::kResourceExhausted);
}

TEST_CASE("group_marks: the kernel's are taken over", "[group_marks]") {
  nftables::Listing listing{.exists = true};
  const auto element = [](uint32_t mark, std::string chain) {
    return nftables::Element{
        .key = nftables::MarkBytes(mark),
        .verdict = nftables::Verdict{nftables::VerdictKind::kGoto, chain}};
  };
  listing.sets["groups"] = {
      GroupsSet(),
      {element(0xed000500, "group-g2"), element(0xed000600, "group-gone"),
       element(0x00000700, "group-g1"), element(0xed000801, "group-g1"),
       element(0xed000900, "group-g2")}};
  const auto marks = GroupMarks::TakeOver(listing, ModelOf(SampleState()));
  REQUIRE(marks.ok());
  CHECK(marks->MarkOf("g2") == 0xed000500);
  CHECK(marks->MarkOf("g1") == 0xed000600);  // the next after the taken ones
  CHECK(marks->MarkOf("gone") == 0);
}

}  // namespace
}  // namespace edged::edge
