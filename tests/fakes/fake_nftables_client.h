#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/nftables/client.h"
#include "common/nftables/diff.h"

// nf_tables in memory, as atomic as the kernel: a refused operation fails the
// transaction with the code and the words of the real client, and nothing of it
// remains. Stricter in two points: a chain that still has rules is not deleted,
// and a key must be exactly as wide as its set's.

namespace edged::nftables {

class FakeClient : public Client {
 public:
  // `expressions_of` makes the text of listed rules; Diff() must get the same.
  explicit FakeClient(CanonicalText expressions_of = ExpressionsOf)
      : expressions_of_(std::move(expressions_of)) {}

  absl::Status Apply(const Transaction& transaction) override;
  absl::StatusOr<Listing> List(const std::string& table) override;
  absl::Status ForEachElement(
      const std::string& table, const Set& set,
      const std::function<void(const Element&)>& each) override;
  absl::StatusOr<std::vector<Element>> GetElements(
      const std::string& table, const Set& set,
      const std::vector<Element>& keys) override;

  absl::StatusOr<uint32_t> Generation() override { return generation_; }

  // The next Apply() that is not empty changes nothing and returns `failure`.
  void FailNext(absl::Status failure) { failure_ = std::move(failure); }

  // What was applied so far, refused transactions left out.
  const std::vector<Transaction>& applied() const { return applied_; }

  // The table as it stands, elements sorted; nothing when there is none.
  std::optional<Table> Current(const std::string& table) const;

 private:
  struct FakeChain {
    std::optional<Hook> hook;
    std::vector<Rule> rules;
    std::vector<uint64_t> handles;  // of the rules
  };
  using ElementKey = std::pair<Bytes, Bytes>;  // first and last
  struct FakeSet {
    Set set;
    std::map<ElementKey, Element> elements;
  };
  struct FakeTable {
    std::map<std::string, FakeChain> chains;
    std::map<std::string, FakeSet> sets;
    std::vector<std::string> chain_order;
    std::vector<std::string> set_order;
    std::map<std::string, CtTimeout> timeouts;
  };
  class Batch;  // a transaction at work on a copy

  CanonicalText expressions_of_;
  std::map<std::string, FakeTable> tables_;
  std::vector<Transaction> applied_;
  std::optional<absl::Status> failure_;
  uint64_t next_handle_ = 1;
  uint32_t generation_ = 1;
};

}  // namespace edged::nftables
