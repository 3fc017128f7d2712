#include <catch2/catch.hpp>
#include <iostream>
#include <string>

#include "edged/system/guard_table.h"
#include "tests/common/nftables/nft_tool.h"

namespace edged::edge {
namespace {

using nftables::Nft;

bool IsThere() {
  return Nft("list tables").text.find("table inet edged-guard") !=
         std::string::npos;
}

}  // namespace

TEST_CASE("guard_table: nobody else flushes or deletes it",
          "[guard_table][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  auto guard = GuardTable::Hold();
  REQUIRE(guard.status() == absl::OkStatus());
  const std::string listed = Nft("list table inet edged-guard").text;
  CHECK(listed.find("flags owner") != std::string::npos);
  CHECK(listed.find("ct state established accept") != std::string::npos);

  REQUIRE(Nft("add table inet bystander").code == 0);
  REQUIRE(Nft("flush ruleset").code == 0);
  CHECK(Nft("list table inet bystander").code != 0);
  CHECK(Nft("list table inet edged-guard").text == listed);
  CHECK(Nft("delete table inet edged-guard")
            .text.find("Operation not permitted") != std::string::npos);
  CHECK(Nft("delete chain inet edged-guard input").code != 0);
  CHECK(Nft("list table inet edged-guard").text == listed);
}

TEST_CASE("guard_table: goes with its holder, and one process holds it",
          "[guard_table][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  auto guard = GuardTable::Hold();
  REQUIRE(guard.status() == absl::OkStatus());
  CHECK(absl::IsPermissionDenied(GuardTable::Hold().status()));
  CHECK(IsThere());
  guard->reset();
  CHECK_FALSE(IsThere());
  CHECK(GuardTable::Hold().status() == absl::OkStatus());
}

TEST_CASE("guard_table: replaces a copy that nobody owns",
          "[guard_table][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  REQUIRE(Nft("add table inet edged-guard").code == 0);
  REQUIRE(Nft("add chain inet edged-guard x").code == 0);
  auto guard = GuardTable::Hold();
  REQUIRE(guard.status() == absl::OkStatus());
  const std::string listed = Nft("list table inet edged-guard").text;
  CHECK(listed.find("flags owner") != std::string::npos);
  CHECK(listed.find("chain x") == std::string::npos);
}

}  // namespace edged::edge
