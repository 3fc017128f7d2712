#include "common/nftables/print.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

std::string Golden(const std::string& name) {
  std::ifstream file(std::string(TEST_SOURCE_DIR) + "/golden/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("print: tables are what the golden files say", "[print]") {
  CHECK(Print(EdgeTable()) == Golden("edge.nft"));
  CHECK(Print(UplinkTable()) == Golden("uplink.nft"));
  CHECK(Print(EverythingTable()) == Golden("everything.nft"));
}

TEST_CASE("print: an owned table has its flag", "[print]") {
  Transaction transaction("mine");
  transaction.Add(AddTable{.owned = true});
  CHECK(Print(transaction) == "add table inet mine { flags owner; }\n");
}

TEST_CASE("print: a transaction is one nft command a line", "[print]") {
  const Table edge = EdgeTable();
  const SetWithElements& groups = edge.sets[2];
  Transaction transaction("edged");
  transaction.Add(AddTable{});
  transaction.Add(AddSet{edge.sets[1].set});
  transaction.Add(AddSet{groups.set});
  transaction.Add(AddChain{edge.chains[2]});
  transaction.Add(AddChain{edge.chains[0]});
  transaction.Add(AddElements{groups.set, groups.elements});
  transaction.Add(DeleteElements{groups.set, groups.elements});
  transaction.Add(AddElements{edge.sets[4].set, edge.sets[4].elements});
  transaction.Add(DeleteElements{edge.sets[1].set, edge.sets[1].elements});
  transaction.ReplaceRules(edge.chains[2]);
  transaction.Add(DeleteChain{"group-1"});
  transaction.Add(FlushSet{"groups", true});
  transaction.Add(DeleteSet{"groups", true});
  transaction.Add(FlushSet{"reserved"});
  transaction.Add(DeleteSet{"reserved"});
  transaction.Add(DeleteTable{});
  REQUIRE(transaction.status() == absl::OkStatus());
  CHECK(Print(transaction) ==
        R"(add table inet edged
add map inet edged ranges4 { type ipv4_addr . inet_proto . inet_service : mark; flags interval; counter; }
add map inet edged groups { type mark : verdict; }
add chain inet edged prerouting { type nat hook prerouting priority dstnat - 10; policy accept; }
add chain inet edged group-1 { }
add element inet edged groups { 0xed000100 : goto group-1 }
delete element inet edged groups { 0xed000100 }
add element inet edged reserved { tcp . 22, udp . 51820 }
delete element inet edged ranges4 { 203.0.113.1 . tcp . 100-199, 203.0.113.1 . udp . 10000-60000 }
flush chain inet edged prerouting
add rule inet edged prerouting iifname != "edged0" jump translate
delete chain inet edged group-1
flush map inet edged groups
delete map inet edged groups
flush set inet edged reserved
delete set inet edged reserved
delete table inet edged
)");
}

TEST_CASE("print: an element is its key and what it maps to", "[print]") {
  const Table edge = EdgeTable();
  CHECK(Print(edge.sets[0].elements[0], edge.sets[0].set) ==
        "203.0.113.1 . tcp . 80 : 0xed000100");
  CHECK(Print(edge.sets[2].elements[0], edge.sets[2].set) ==
        "0xed000100 : goto group-1");
  CHECK(Print(edge.sets[4].elements[0], edge.sets[4].set) == "tcp . 22");
}

}  // namespace edged::nftables
