#include "common/nftables/batch.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "common/netlink/message.h"
#include "common/nftables/diff.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

Batch SealFrom(const Transaction& transaction, uint32_t first) {
  auto batch = Batch::Seal(transaction, [&first] { return first++; });
  REQUIRE(batch.status() == absl::OkStatus());
  return *std::move(batch);
}

std::vector<netlink::MessageView> MessagesOf(const Batch& batch) {
  std::vector<netlink::MessageView> messages;
  REQUIRE(netlink::ForEachMessage(batch.bytes(),
                                  [&](const netlink::MessageView& message) {
                                    messages.push_back(message);
                                    return absl::OkStatus();
                                  }) == absl::OkStatus());
  return messages;
}

const Set kMarks{"marks", {Type::kMark}, {}, false, false};

std::vector<Element> Marks(uint32_t count) {
  std::vector<Element> marks;
  for (uint32_t mark = 0; mark < count; ++mark) {
    marks.push_back({MarkBytes(mark), {}, {}, std::nullopt});
  }
  return marks;
}

}  // namespace

TEST_CASE("batch: has a beginning and an end, and asks for one answer",
          "[batch]") {
  const Batch batch = SealFrom(Diff(Listing{}, EdgeTable()), 100);
  const auto messages = MessagesOf(batch);
  REQUIRE(messages.size() > 20);
  CHECK(messages.front().type == NFNL_MSG_BATCH_BEGIN);
  CHECK(messages.back().type == NFNL_MSG_BATCH_END);
  CHECK(batch.first_sequence() == 100);
  for (size_t i = 0; i < messages.size(); ++i) {
    CHECK(messages[i].sequence == 100 + i);
    const bool asks = (messages[i].flags & NLM_F_ACK) != 0;
    CHECK(asks == (i == messages.size() - 2));
  }
  CHECK(batch.last_sequence() == messages[messages.size() - 2].sequence);
  CHECK(batch.Contains(100));
  CHECK(batch.Contains(batch.last_sequence()));
  CHECK_FALSE(batch.Contains(99));
  CHECK_FALSE(batch.Contains(batch.last_sequence() + 1));
}

TEST_CASE("batch: numbers may wrap", "[batch]") {
  const Batch batch = SealFrom(Diff(Listing{}, EdgeTable()), UINT32_MAX - 3);
  CHECK(batch.Contains(UINT32_MAX));
  CHECK(batch.Contains(2));
  CHECK_FALSE(batch.Contains(UINT32_MAX - 4));
}

TEST_CASE("batch: cuts long lists below what an attribute can hold",
          "[batch]") {
  Transaction transaction("edged");
  transaction.Add(AddElements{kMarks, Marks(60'000)});
  const Batch batch = SealFrom(transaction, 1);
  size_t elements = 0;
  for (const auto& message : MessagesOf(batch)) {
    if ((message.type & 0xff) != NFT_MSG_NEWSETELEM) continue;
    const absl::Status status = netlink::ForEachAttribute(
        message.AttributesAfter(sizeof(nfgenmsg)),
        [&](const netlink::Attribute& list) {
          if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) {
            return absl::OkStatus();
          }
          CHECK(list.payload.size() < 65'535 - NLA_HDRLEN);
          return netlink::ForEachAttribute(list.payload, [&](const auto&) {
            ++elements;
            return absl::OkStatus();
          });
        });
    CHECK(status == absl::OkStatus());
  }
  CHECK(elements == 60'000);
}

TEST_CASE("batch: names what was refused", "[batch]") {
  Transaction transaction("edged");
  transaction.Add(AddTable{});
  transaction.Add(AddSet{kMarks});
  transaction.Add(AddElements{kMarks, Marks(3)});
  transaction.Add(AddRule{"forward", {{MatchSet{{Field::kMark}, "marks"}}}});
  const Batch batch = SealFrom(transaction, 10);
  const auto name = [&](uint32_t sequence, uint32_t offset) {
    return batch.Name({2, "", offset, sequence});
  };
  CHECK(name(10, 0) == "batch");
  CHECK(name(11, 0) == "add table inet edged");
  CHECK(name(12, 0) == "add set inet edged marks { type mark; }");
  CHECK(name(14, 0) == "add rule inet edged forward meta mark @marks");
  CHECK(name(99, 0) == "batch");
  // Without an offset that tells, all of them.
  CHECK(name(13, 0) ==
        "add element inet edged marks { 0x00000000, 0x00000001, 0x00000002 }");
  std::vector<std::string> names;
  for (uint32_t offset = 40; offset < 100; ++offset) {
    const std::string text = name(13, offset);
    if (names.empty() || names.back() != text) names.push_back(text);
  }
  CHECK(std::ranges::count(names,
                           "add element inet edged marks { 0x00000001 }") == 1);
}

TEST_CASE("batch: cuts a long name", "[batch]") {
  Transaction transaction("edged");
  transaction.Add(AddElements{kMarks, Marks(1000)});
  const std::string name = SealFrom(transaction, 1).Name({2, "", 0, 2});
  CHECK(name.size() < 450);
  CHECK_THAT(name, Catch::EndsWith("..."));
}

TEST_CASE("batch: is empty when nothing is to be said", "[batch]") {
  Transaction transaction("edged");
  CHECK(SealFrom(transaction, 1).empty());
  transaction.Add(AddElements{kMarks, {}});
  CHECK(SealFrom(transaction, 1).empty());
}

TEST_CASE("batch: refuses what nft could not read back", "[batch]") {
  Transaction transaction("edged");
  transaction.Add(AddSet{{"marks", {Type::kMark}, {}, true, false}});
  const auto batch = Batch::Seal(transaction, [] { return 1u; });
  CHECK(absl::IsInvalidArgument(batch.status()));
  CHECK(batch.status().message() ==
        "table edged: set marks: no ranges over marks and interface names");
}

}  // namespace edged::nftables
