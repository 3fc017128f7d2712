#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "common/nftables/any_table_reader.h"
#include "common/nftables/program_text.h"
#include "tests/common/nftables/nft_tool.h"

namespace edged::nftables {
namespace {

std::vector<AnyTable> Read() {
  auto tables = ReadAllTables([](const AnyTable&) { return true; });
  REQUIRE(tables.status() == absl::OkStatus());
  return *std::move(tables);
}

AnyTable ReadOne() {
  std::vector<AnyTable> tables = Read();
  REQUIRE(tables.size() == 1);
  return tables[0];
}

std::string TextOf(const AnyTable& table, const std::string& chain) {
  std::string text;
  for (const AnyRule& rule : table.chains.at(chain).rules) {
    text += ProgramText(rule.program, table) + "\n";
  }
  return text;
}

// The rules of a chain as `nft list` prints them, without counters' values.
std::string NftTextOf(const std::string& chain) {
  std::istringstream lines(Nft("--stateless list chain " + chain).text);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const bool rule = line.starts_with("\t\t") && !line.starts_with("\t\ttype");
    if (rule) text += line.substr(2) + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("program: rules of others read as nft lists them",
          "[program][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  REQUIRE(Nft("-f -", R"(
    table inet filter {
      set banned { type ipv4_addr; flags interval; }
      chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname "lo" accept
        iifname "veth*" accept
        ip saddr @banned drop
        ip saddr 10.0.0.0/8 tcp dport 22 accept
        ip saddr 198.51.100.128/25 drop
        ip6 saddr fe80::/10 udp dport 546 accept
        ip6 saddr fd00::/8 drop
        tcp dport { 80, 443 } accept
        tcp dport 8000-8010 accept
        udp dport != 53 drop
        tcp flags syn tcp dport 25 drop
        meta mark 0x00000005 accept
        ip daddr . tcp dport { 192.0.2.1 . 80, 192.0.2.2 . 81 } accept
        meta l4proto { tcp, udp } jump more
        icmp type echo-request accept
        reject
      }
      chain more {
        tcp dport vmap { 22 : accept, 25 : drop }
        fib daddr type local accept
        ct status dnat accept
        return
      }
    })")
              .text.empty());
  const AnyTable table = ReadOne();
  CHECK(table.ToString() == "table inet filter");
  CHECK(TextOf(table, "input") == NftTextOf("inet filter input"));
  CHECK(TextOf(table, "more") == NftTextOf("inet filter more"));
  const AnyChain& input = table.chains.at("input");
  CHECK(input.drops_by_policy);
  REQUIRE(input.hook);
  CHECK(input.hook->type == "filter");
  CHECK(input.hook->number == 1);
  CHECK(input.hook->priority == 0);
  CHECK_FALSE(table.chains.at("more").hook);
}

TEST_CASE("program: tables of all families are listed", "[program][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  REQUIRE(Nft("-f -", R"(
    table ip filter { chain FORWARD {
      type filter hook forward priority filter; policy drop;
      ip protocol tcp drop
    }
    }
    table ip6 filter { chain FORWARD {
      type filter hook forward priority filter; policy accept;
    }
    }
    table netdev early { chain arrival {
      type filter hook ingress device "lo" priority 0;
      ip saddr 192.0.2.1 drop
    }
    }
    table bridge b { }
    table inet off { flags dormant; })")
              .text.empty());
  std::string text;
  for (const AnyTable& table : Read()) {
    text += table.ToString() + (table.dormant ? " dormant" : "");
    for (const auto& [name, chain] : table.chains) {
      text += fmt::format(
          ", {} {} hook {} {}", name, chain.drops_by_policy ? "drop" : "accept",
          chain.hook->number, fmt::join(chain.hook->devices, ","));
      for (const AnyRule& rule : chain.rules) {
        text += ": " + ProgramText(rule.program, table);
      }
    }
    text += "\n";
  }
  CHECK(
      text ==
      "table inet off dormant\n"
      "table ip filter, FORWARD drop hook 2 : ip protocol tcp drop\n"
      "table netdev early, arrival accept hook 0 lo: ip saddr 192.0.2.1 drop\n"
      "table bridge b\n"
      "table ip6 filter, FORWARD accept hook 2 \n");
}

TEST_CASE("program: sets come with their elements, ranges joined",
          "[program][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  REQUIRE(Nft("-f -", R"(
    table ip t {
      set plain { type inet_service; elements = { 80, 443 } }
      set nets { type ipv4_addr; flags interval;
                 elements = { 10.0.0.0/8, 192.0.2.1 } }
      set pairs { type ipv4_addr . inet_service; flags interval;
                  elements = { 10.0.0.0/8 . 80-90 } }
      map verdicts { type inet_service : verdict;
                     elements = { 22 : accept, 25 : drop } }
    })")
              .text.empty());
  const AnyTable table = ReadOne();
  CHECK(table.sets.at("plain").elements.size() == 2);
  CHECK(table.sets.at("plain").complete);
  const auto& nets = table.sets.at("nets").elements;
  REQUIRE(nets.size() == 2);
  CHECK(nets[0].key == Bytes{10, 0, 0, 0});
  CHECK(nets[0].key_end == Bytes{10, 255, 255, 255});
  CHECK(nets[1].key_end.empty());
  const AnySet& pairs = table.sets.at("pairs");
  CHECK(pairs.parts == std::vector<uint32_t>{4, 2});
  REQUIRE(pairs.elements.size() == 1);
  CHECK(pairs.elements[0].key_end == Bytes{10, 255, 255, 255, 0, 90, 0, 0});
  const auto& verdicts = table.sets.at("verdicts").elements;
  REQUIRE(verdicts.size() == 2);
  CHECK(verdicts[1].verdict == Verdict{VerdictKind::kDrop, ""});
}

TEST_CASE("program: elements that nobody wants are left out",
          "[program][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  REQUIRE(Nft("-f -", R"(
    table inet t {
      set named { type inet_service; elements = { 80 } }
      chain c { tcp dport { 1, 2 } accept; }
    })")
              .text.empty());
  const auto tables = ReadAllTables([](const AnyTable&) { return false; });
  REQUIRE(tables.status() == absl::OkStatus());
  REQUIRE(tables->size() == 1);
  CHECK((*tables)[0].sets.at("named").elements.empty());
  CHECK_FALSE((*tables)[0].sets.at("named").complete);
  CHECK(TextOf((*tables)[0], "c") == "tcp dport { 1, 2 } accept\n");
}

}  // namespace edged::nftables
