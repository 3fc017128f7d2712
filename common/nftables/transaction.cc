#include "common/nftables/transaction.h"

#include "common/nftables/check.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

absl::Status CheckElements(const Set& set,
                           const std::vector<Element>& elements) {
  RETURN_IF_ERROR(CheckSet(set));
  for (const Element& element : elements) {
    RETURN_IF_ERROR(CheckElement(set, element));
  }
  return absl::OkStatus();
}

// What would be wrong whatever the kernel already has.
struct Checker {
  absl::Status operator()(const AddTable&) { return absl::OkStatus(); }
  absl::Status operator()(const DeleteTable&) { return absl::OkStatus(); }
  absl::Status operator()(const AddSet& add) {
    return Annotate(CheckSet(add.set), "add set");
  }
  absl::Status operator()(const DeleteSet& removal) {
    return Annotate(CheckName(removal.set), "delete set");
  }
  absl::Status operator()(const FlushSet& flush) {
    return Annotate(CheckName(flush.set), "flush set");
  }
  absl::Status operator()(const AddElements& add) {
    return Annotate(CheckElements(add.set, add.elements), "add element");
  }
  absl::Status operator()(const DeleteElements& removal) {
    return Annotate(CheckElements(removal.set, removal.elements),
                    "delete element");
  }
  absl::Status operator()(const AddChain& add) {
    return Annotate(CheckName(add.chain.name), "add chain");
  }
  absl::Status operator()(const FlushChain& flush) {
    return Annotate(CheckName(flush.chain), "flush chain");
  }
  absl::Status operator()(const DeleteChain& removal) {
    return Annotate(CheckName(removal.chain), "delete chain");
  }
  absl::Status operator()(const AddTimeout& add) {
    return Annotate(CheckTimeout(add.timeout), "add");
  }
  absl::Status operator()(const DeleteTimeout& removal) {
    return Annotate(CheckName(removal.timeout), "delete ct timeout");
  }
  absl::Status operator()(const AddRule& add) {
    RETURN_IF_ERROR(Annotate(CheckName(add.chain), "add rule"));
    return Annotate(CheckRule(add.rule),
                    fmt::format("add rule to {}", add.chain));
  }
};

}  // namespace

void Transaction::Add(Operation operation) {
  if (status_.ok()) {
    status_ = Annotate(CheckName(table_), "table");
    status_.Update(Annotate(std::visit(Checker{}, operation),
                            fmt::format("table {}", table_)));
  }
  operations_.push_back(std::move(operation));
}

void Transaction::AddChainWithRules(const Chain& chain) {
  Add(AddChain{Chain{chain.name, chain.hook, {}}});
  for (const Rule& rule : chain.rules) Add(AddRule{chain.name, rule});
}

void Transaction::ReplaceRules(const Chain& chain) {
  Add(FlushChain{chain.name});
  for (const Rule& rule : chain.rules) Add(AddRule{chain.name, rule});
}

}  // namespace edged::nftables
