#include "common/nftables/transaction.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/nftables/print.h"
#include "common/status.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

const Verdict kDrop{VerdictKind::kDrop};

std::string ErrorOf(const Operation& operation) {
  Transaction transaction("edged");
  transaction.Add(operation);
  return std::string(Message(transaction.status()));
}

}  // namespace

TEST_CASE("transaction: the first invalid operation poisons it",
          "[transaction]") {
  Transaction transaction("edged");
  transaction.Add(AddTable{});
  CHECK(transaction.status() == absl::OkStatus());
  transaction.Add(DeleteChain{""});
  transaction.Add(FlushChain{"back slash"});
  transaction.Add(AddChain{{"fine", {}, {}}});
  CHECK(transaction.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Message(transaction.status()) ==
        "table edged: delete chain: a name is empty");
  CHECK(transaction.operations().size() == 4);
}

TEST_CASE("transaction: says which operation is wrong", "[transaction]") {
  const Set ports{"ports", {Type::kInetService}, {}, false, false};
  CHECK(ErrorOf(AddElements{ports, {{PortBytes(1)}, {MarkBytes(1)}}}) ==
        "table edged: add element: an element of ports: the key has 4 bytes, "
        "not 2");
  CHECK(ErrorOf(DeleteElements{ports, {{{1}}}}) ==
        "table edged: delete element: an element of ports: the key has 1 "
        "bytes, not 2");
  CHECK(ErrorOf(AddSet{{"keyless", {}, {}}}) ==
        "table edged: add set: set keyless has no key");
  CHECK(ErrorOf(AddRule{"", {{kDrop}}}) ==
        "table edged: add rule: a name is empty");
  CHECK(ErrorOf(AddRule{"input", {}}) ==
        "table edged: add rule to input: the rule is empty");
  Transaction nameless("");
  nameless.Add(AddTable{});
  CHECK(Message(nameless.status()) == "table: a name is empty");
}

TEST_CASE("transaction: adds and replaces whole chains", "[transaction]") {
  const Chain chain{"input",
                    Hook{ChainType::kFilter, HookPoint::kInput, 0},
                    {{{Counter{}}}, {{kDrop}}}};
  Transaction transaction("edged");
  CHECK(transaction.empty());
  transaction.AddChainWithRules(chain);
  transaction.ReplaceRules(chain);
  CHECK(Print(transaction) ==
        "add chain inet edged input { type filter hook input priority filter; "
        "policy accept; }\n"
        "add rule inet edged input counter packets 0 bytes 0\n"
        "add rule inet edged input drop\n"
        "flush chain inet edged input\n"
        "add rule inet edged input counter packets 0 bytes 0\n"
        "add rule inet edged input drop\n");
}

}  // namespace edged::nftables
