#pragma once

#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/nftables/ruleset.h"

// A list of changes to one table that the kernel makes together or not at all.
// Pure data: printed as nft commands (print.h), sent by client.h.

namespace edged::nftables {

// An owned table can be changed by the client's socket alone, and goes with it.
struct AddTable {
  bool owned = false;
};
struct DeleteTable {};
struct AddSet {
  Set set;
};  // fine when it is there already
// `map` says how nft calls it; the kernel does not need it.
struct DeleteSet {
  std::string set;
  bool map = false;
};
struct FlushSet {
  std::string set;
  bool map = false;
};
// Adding an identical element again is fine; changed data needs a delete first.
struct AddElements {
  Set set;
  std::vector<Element> elements;
};
// A missing element fails the whole transaction.
struct DeleteElements {
  Set set;
  std::vector<Element> elements;
};
struct AddChain {
  Chain chain;
};  // without its rules
struct FlushChain {
  std::string chain;
};
struct DeleteChain {
  std::string chain;
};  // must be empty and unused
struct AddRule {
  std::string chain;
  Rule rule;
};  // at the end
// Fine when one of this name is there already, whatever it says.
struct AddTimeout {
  CtTimeout timeout;
};
struct DeleteTimeout {
  std::string timeout;
};  // must be unused

using Operation =
    std::variant<AddTable, DeleteTable, AddSet, DeleteSet, FlushSet,
                 AddElements, DeleteElements, AddChain, FlushChain, DeleteChain,
                 AddRule, AddTimeout, DeleteTimeout>;

class Transaction {
 public:
  explicit Transaction(std::string table) : table_(std::move(table)) {}

  // The first invalid operation (an element whose size does not fit its set, an
  // empty name) poisons the transaction; status() then names it.
  void Add(Operation operation);
  // Adds a chain's declaration, then its rules. A rule may only jump to a chain
  // that is there already: declare those first.
  void AddChainWithRules(const Chain& chain);
  void ReplaceRules(const Chain& chain);  // flush, then add each rule

  const std::string& table() const { return table_; }
  const std::vector<Operation>& operations() const { return operations_; }
  bool empty() const { return operations_.empty(); }
  const absl::Status& status() const { return status_; }

 private:
  std::string table_;
  std::vector<Operation> operations_;
  absl::Status status_;
};

}  // namespace edged::nftables
