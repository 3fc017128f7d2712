#include "common/drift/repair_text.h"

#include <catch2/catch.hpp>
#include <vector>

namespace edged {
namespace {

using nftables::Element;
using nftables::Transaction;

TEST_CASE("repair_text: a summary tells the first commands", "[repair_text]") {
  const nftables::Set ports{.name = "ports",
                            .key = {nftables::Type::kInetService}};
  Transaction transaction("edged");
  transaction.Add(nftables::AddTable{});
  CHECK(Summary(transaction) == "1 change: add table inet edged");
  std::vector<Element> many;
  for (uint16_t port = 1; port <= 1000; ++port) {
    many.push_back({.key = nftables::PortBytes(port)});
  }
  transaction.Add(nftables::AddElements{ports, many});
  transaction.Add(nftables::FlushChain{"back"});
  CHECK(Summary(transaction) ==
        "1002 changes: add table inet edged; add element inet edged ports { 1, "
        "2, 3 } ...; ...");
}

}  // namespace
}  // namespace edged
