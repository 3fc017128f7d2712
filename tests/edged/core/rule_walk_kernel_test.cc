#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <regex>
#include <string>

#include "common/nftables/any_table_reader.h"
#include "edged/core/doctor.h"
#include "edged/core/rule_walk.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/edged/core/sample_host.h"

// Rules are loaded by the nft tool and read back, because that is what doctor
// meets; no packet is sent.

namespace edged::edge {
namespace {

std::vector<nftables::AnyTable> Load(const std::string& rules) {
  nftables::Nft("flush ruleset");
  const auto loaded = nftables::Nft("-f -", rules);
  INFO(loaded.text);
  REQUIRE(loaded.code == 0);
  auto tables =
      nftables::ReadAllTables([](const nftables::AnyTable&) { return true; });
  REQUIRE(tables.status() == absl::OkStatus());
  return *std::move(tables);
}

// An ordinary client's new connection to a mapped port, on its way from eth0
// into the tunnel.
Probe Client() {
  return {.in = "eth0",
          .out = "edged0",
          .in_index = 2,
          .out_index = 3,
          .destination = AddressOf("10.200.0.17"),
          .protocol = Protocol::kTcp,
          .destination_port = 80,
          .translated = true};
}

// "passes", "dropped by CHAIN: RULE", with "unless RULE" or "but perhaps RULE".
std::string Walk(const std::string& body, const Probe& probe = Client(),
                 const std::string& policy = "accept") {
  const auto tables = Load(fmt::format(
      "table inet filter {{\n"
      "set named {{ type ipv4_addr; flags interval; "
      "elements = {{ 192.0.2.0/24 }}\n}}\n"
      "chain more {{\ntcp dport 81 accept\nct state new return\ndrop\n}}\n"
      "chain base {{\ntype filter hook forward priority 0; policy {};\n{}\n}}\n"
      "}}\n",
      policy, body));
  REQUIRE(tables.size() == 1);
  const WalkEnd end =
      WalkBaseChain(tables[0], tables[0].chains.at("base"), probe);
  std::string text = "passes";
  if (end.dropped_by) {
    text = fmt::format("{} by {}: {}",
                       end.dropped_by->refuses ? "refused" : "dropped",
                       end.dropped_by->chain, end.dropped_by->text);
  }
  if (end.perhaps_accepted_by) {
    text += ", unless " + end.perhaps_accepted_by->text;
  }
  if (end.perhaps_dropped_by) {
    text += ", perhaps not by " + end.perhaps_dropped_by->text;
  }
  return text;
}

std::string Dropping(const std::string& body, Probe probe = Client()) {
  return Walk(body, probe, "drop");
}

}  // namespace

TEST_CASE("rule_walk: policies and plain rules", "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Walk("") == "passes");
  CHECK(Dropping("") == "dropped by base: policy drop");
  CHECK(Dropping("oifname \"edged0\" accept") == "passes");
  CHECK(Dropping("oifname \"edged*\" accept") == "passes");
  CHECK(Dropping("oif != 3 accept") == "dropped by base: policy drop");
  CHECK(Dropping("tcp dport 80 accept") == "passes");
  CHECK(Dropping("udp dport 80 accept") == "dropped by base: policy drop");
  CHECK(Dropping("tcp dport 1-1023 accept") == "passes");
  CHECK(Dropping("tcp dport { 22, 79-81 } accept") == "passes");
  CHECK(Dropping("tcp dport != { 22, 25 } accept") == "passes");
  CHECK(Walk("meta l4proto tcp reject with tcp reset") ==
        "refused by base: meta l4proto tcp reject");
  CHECK(Walk("tcp flags syn / syn,ack drop") ==
        "dropped by base: tcp flags & syn,ack == syn drop");
  CHECK(Walk("ip daddr 10.200.0.0/22 drop") ==
        "dropped by base: ip daddr 10.200.0.0/22 drop");
}

TEST_CASE("rule_walk: the state of the connection", "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Probe answer = Client();
  answer.established = true;
  CHECK(Dropping("ct state established,related accept") ==
        "dropped by base: policy drop");
  CHECK(Dropping("ct state established,related accept", answer) == "passes");
  CHECK(Walk("ct state vmap { new : drop, established : accept }") ==
        "dropped by base: ct state vmap { established : accept, new : drop }");
  Probe untracked = Client();
  untracked.untracked = true;
  CHECK(Dropping("ct state established,related,new accept", untracked) ==
        "dropped by base: policy drop");
  CHECK(Dropping("ct state { new, untracked } accept", untracked) == "passes");
  CHECK(Dropping("ct status dnat accept", untracked) ==
        "dropped by base: policy drop");
  CHECK(Walk("ct status != dnat drop", untracked) == "passes");
  // firewalld lets pass whatever anybody translated.
  CHECK(Dropping("ct status dnat accept") == "passes");
  CHECK(Dropping("ct mark 5 accept") ==
        "dropped by base: policy drop, unless ct mark 0x00000005 accept");
}

TEST_CASE("rule_walk: chains that are jumped to", "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Probe to_81 = Client();
  to_81.destination_port = 81;
  Probe old = Client();
  old.established = true;
  CHECK(Dropping("jump more\ncounter accept") == "passes");
  CHECK(Dropping("goto more\ncounter accept") ==
        "dropped by base: policy drop");
  CHECK(Dropping("jump more", to_81) == "passes");
  CHECK(Walk("tcp dport vmap { 80 : jump more }", old) ==
        "dropped by more: drop");
}

TEST_CASE("rule_walk: an ordinary client is in no list of sources",
          "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Walk("ip saddr @named drop") == "passes");
  CHECK(Walk("ip saddr 192.0.2.1 drop") == "passes");
  CHECK(Walk("ip saddr != @named drop") ==
        "dropped by base: ip saddr != @named drop");
  CHECK(Dropping("ip saddr @named accept") ==
        "dropped by base: policy drop, unless ip saddr @named accept");
  Probe known = Client();
  known.source = AddressOf("192.0.2.7");
  CHECK(Dropping("ip saddr @named accept", known) == "passes");
  CHECK(Walk("ip saddr @named drop", known) ==
        "dropped by base: ip saddr @named drop");
}

TEST_CASE("rule_walk: limits are not reached", "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Walk("limit rate over 100/second drop") == "passes");
  CHECK(Dropping("limit rate 100/second accept") == "passes");
  CHECK(Walk("ct count over 100 drop") == "passes");
}

TEST_CASE("rule_walk: says what it cannot know", "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Walk("meta cpu 0 drop") ==
        "passes, perhaps not by meta cpu 0x00000000 drop");
  CHECK(Dropping("meta length < 100 accept").find(", unless meta length <") !=
        std::string::npos);
  Probe any_port = Client();
  any_port.destination_port.reset();
  CHECK(Dropping("tcp dport 80 accept", any_port) ==
        "dropped by base: policy drop, unless tcp dport 80 accept");
}

TEST_CASE("rule_walk: what the routing says of addresses",
          "[rule_walk][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Walk("fib daddr type local drop") == "passes");
  Probe to_us = Client();
  to_us.to_this_host = true;
  CHECK(Walk("fib daddr type local drop", to_us) ==
        "dropped by base: fib daddr type local drop");
  CHECK(Walk("fib saddr . iif oif missing drop") == "passes");
}

// ---- the same as findings ----

namespace {

std::string Firewall(const std::string& rules) {
  DoctorFacts facts = HealthyHost();
  facts.tables = Load(rules);
  std::string text;
  for (const Finding& finding : Diagnose(facts)) {
    if (finding.check != "firewall") continue;
    // Handles are the kernel's to choose.
    const std::string what = std::regex_replace(
        finding.what, std::regex("handle [0-9]+"), "handle N");
    text += fmt::format("{}: {}\n", ToString(finding.severity), what);
    for (const std::string& line : finding.mend) text += "  " + line + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("doctor: a firewall with policies of its own", "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(
      Firewall("table inet filter {\n"
               "chain input {\n"
               "type filter hook input priority 0; policy drop;\n"
               "ct state established accept\n"
               "tcp dport 22 accept\n"
               "}\n"
               "chain forward {\n"
               "type filter hook forward priority 0; policy drop;\n"
               "}\n"
               "}\n") ==
      "error: table inet filter, chain forward: its policy drops connections "
      "to mapped ports (tcp 80; udp 7000-7009)\n"
      "  nft insert rule inet filter forward oifname \"edged0\" accept\n"
      "error: table inet filter, chain forward: its policy drops answers out "
      "of edged0\n"
      "  nft insert rule inet filter forward iifname \"edged0\" accept\n"
      "warning: table inet filter, chain input: its policy drops udp 51820 of "
      "the tunnel\n"
      "  nft insert rule inet filter input udp dport 51820 accept\n"
      "error: table inet filter, chain input: its policy drops port 7443 on "
      "edged0 (uplinks' calls and heartbeats)\n"
      "  nft insert rule inet filter input iifname \"edged0\" accept\n");
}

TEST_CASE("doctor: a firewall of states while the table of connections is full",
          "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const std::string of_states =
      "table inet filter {\n"
      "chain input {\n"
      "type filter hook input priority 0; policy drop;\n"
      "ct state established accept\n"
      "ct state new udp dport 51820 accept\n"
      "iifname \"edged0\" accept\n"
      "}\n"
      "}\n";
  const std::string fine = Firewall(of_states);
  CHECK(fine == "ok: table inet filter let our traffic pass\n");
  CHECK(Firewall(of_states + "table inet edged-overflow {\n}\n") ==
        "warning: table inet filter, chain input: its policy drops udp 51820 "
        "of the tunnel, where it has no entry in the table of connections, "
        "which is full\n"
        "  nft insert rule inet filter input udp dport 51820 accept\n");
}

TEST_CASE("doctor: docker's forward chain", "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Firewall("table ip filter {\n"
                 "chain DOCKER-USER {\ncounter return\n}\n"
                 "chain DOCKER {\n}\n"
                 "chain FORWARD {\n"
                 "type filter hook forward priority 0; policy drop;\n"
                 "jump DOCKER-USER\n"
                 "oifname \"docker0\" ct state related,established accept\n"
                 "oifname \"docker0\" jump DOCKER\n"
                 "iifname \"docker0\" accept\n"
                 "}\n"
                 "}\n") ==
        "error: table ip filter (docker), chain FORWARD: its policy drops "
        "connections to mapped ports (tcp 80; udp 7000-7009)\n"
        "  nft insert rule ip filter DOCKER-USER oifname \"edged0\" accept\n"
        "error: table ip filter (docker), chain FORWARD: its policy drops "
        "answers out of edged0\n"
        "  nft insert rule ip filter DOCKER-USER iifname \"edged0\" accept\n");
}

TEST_CASE("doctor: who translates before edged", "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const std::string rules =
      "table ip nat {\n"
      "chain DOCKER {\n"
      "tcp dport 80 counter dnat to 172.17.0.2:8080\n"
      "tcp dport 81 counter dnat to 172.17.0.2:8081\n"
      "}\n"
      "chain PREROUTING {\n"
      "type nat hook prerouting priority PRIORITY; policy accept;\n"
      "fib daddr type local jump DOCKER\n"
      "}\n"
      "}\n";
  const auto at = [&rules](const char* priority) {
    return Firewall(
        std::regex_replace(rules, std::regex("PRIORITY"), priority));
  };
  CHECK(at("-100") ==  // docker's own
        "ok: table ip nat (docker) let our traffic pass\n");
  CHECK(at("-150") ==
        "error: table ip nat (docker), chain DOCKER: `tcp dport 80 counter "
        "nat` (handle N) takes connections to mapped ports (tcp 80)\n"
        "  nft insert rule ip nat PREROUTING ip daddr 203.0.113.1 tcp dport { "
        "80 } accept\n");
}

TEST_CASE("doctor: firewalld", "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Firewall("table inet firewalld {\n"
                 "chain filter_INPUT {\n"
                 "type filter hook input priority 10; policy accept;\n"
                 "ct state { established, related } accept\n"
                 "ct status dnat accept\n"
                 "iifname \"lo\" accept\n"
                 "jump filter_INPUT_ZONES\n"
                 "ct state { invalid } drop\n"
                 "reject with icmpx admin-prohibited\n"
                 "}\n"
                 "chain filter_INPUT_ZONES {\n"
                 "tcp dport 22 ct state { new, untracked } accept\n"
                 "}\n"
                 "chain filter_FORWARD {\n"
                 "type filter hook forward priority 10; policy accept;\n"
                 "ct state { established, related } accept\n"
                 "ct status dnat accept\n"
                 "reject with icmpx admin-prohibited\n"
                 "}\n"
                 "}\n") ==
        "warning: table inet firewalld (firewalld), chain filter_INPUT: "
        "`reject` (handle N) refuses udp 51820 of the tunnel\n"
        "  firewall-cmd --permanent --add-port=51820/udp\n"
        "  firewall-cmd --reload\n"
        "error: table inet firewalld (firewalld), chain filter_INPUT: `reject` "
        "(handle N) refuses port 7443 on edged0 (uplinks' calls and "
        "heartbeats)\n"
        "  firewall-cmd --permanent --zone=trusted --add-interface=edged0\n"
        "  firewall-cmd --reload\n");
}

TEST_CASE("doctor: a firewall that lets some ports pass", "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Firewall("table inet filter {\n"
                 "chain early {\n"
                 "type filter hook prerouting priority -300;\n"
                 "iifname \"eth0\" udp dport 7000-7999 drop\n"
                 "}\n"
                 "}\n") ==
        "error: table inet filter, chain early: `iifname \"eth0\" udp dport "
        "7000-7999 drop` (handle N) drops connections to mapped ports (udp "
        "7000-7009)\n"
        "  nft insert rule inet filter early ip daddr 203.0.113.1 udp dport { "
        "7000-7009 } accept\n");
}

TEST_CASE("doctor: rules that leave ours alone", "[doctor][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  CHECK(Firewall("table inet f2b-table {\n"
                 "set addr-set-sshd {\ntype ipv4_addr\n"
                 "elements = { 192.0.2.1 }\n}\n"
                 "chain f2b-chain {\n"
                 "type filter hook input priority -1; policy accept;\n"
                 "tcp dport 22 ip saddr @addr-set-sshd reject\n"
                 "}\n"
                 "}\n"
                 "table ip6 filter {\nchain FORWARD {\n"
                 "type filter hook forward priority 0; policy drop;\n}\n}\n"
                 "table inet asleep {\nflags dormant\nchain forward {\n"
                 "type filter hook forward priority 0; policy drop;\n}\n}\n"
                 "table inet edged {\nchain forward {\n"
                 "type filter hook forward priority 0; policy drop;\n}\n}\n") ==
        "ok: table inet f2b-table, table ip6 filter let our traffic pass\n");
}

}  // namespace edged::edge
