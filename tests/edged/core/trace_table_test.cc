#include "edged/core/trace_table.h"

#include <catch2/catch.hpp>

#include "common/nftables/print.h"
#include "common/status.h"
#include "tests/edged/core/sample_host.h"

namespace edged::edge {
namespace {

std::string Parsed(std::string_view text) {
  const auto target = ParseTraceTarget(text);
  return target.ok() ? ToString(*target)
                     : std::string(Message(target.status()));
}

}  // namespace

TEST_CASE("trace_table: reads what is to be followed", "[trace_table]") {
  CHECK(Parsed("203.0.113.1:80") == "203.0.113.1 tcp/80");
  CHECK(Parsed("203.0.113.1:53/udp") == "203.0.113.1 udp/53");
  CHECK(Parsed("[2001:db8::1]:443/tcp") == "2001:db8::1 tcp/443");
  CHECK(Parsed("203.0.113.1:80/icmp") ==
        "\"203.0.113.1:80/icmp\" is not ADDRESS:PORT, ADDRESS:PORT/tcp or "
        "ADDRESS:PORT/udp");
  CHECK(Parsed("203.0.113.1:0") == "\"203.0.113.1:0\" is not ADDRESS:PORT");
  CHECK_FALSE(ParseTraceTarget("203.0.113.1").ok());
  CHECK_FALSE(ParseTraceTarget("example.org:80").ok());
}

TEST_CASE("trace_table: marks one flow alone, and its answers",
          "[trace_table]") {
  TraceTarget target = *ParseTraceTarget("203.0.113.1:7000/udp");
  target.nic_address = AddressOf("10.0.0.5");
  CHECK(nftables::Print(TraceTableFor(
            target, "edged0",
            {AddressOf("10.200.0.33"), AddressOf("10.200.0.17")})) ==
        "table inet edged-trace {\n"
        "\tchain prerouting {\n"
        "\t\ttype filter hook prerouting priority -350; policy accept;\n"
        "\t\tip daddr 10.0.0.5 udp dport 7000 meta nftrace set 1\n"
        "\t\tiifname \"edged0\" ip saddr { 10.200.0.17, 10.200.0.33 } udp "
        "sport 7000 meta nftrace set 1\n"
        "\t\tiifname \"edged0\" icmp type destination-unreachable meta nftrace "
        "set 1\n"
        "\t}\n"
        "\n"
        "\tchain output {\n"
        "\t\ttype filter hook output priority -350; policy accept;\n"
        "\t\tip daddr 10.0.0.5 udp dport 7000 meta nftrace set 1\n"
        "\t}\n"
        "\n"
        "\tchain input {\n"
        "\t\ttype filter hook input priority 350; policy accept;\n"
        "\t}\n"
        "\n"
        "\tchain postrouting {\n"
        "\t\ttype filter hook postrouting priority 350; policy accept;\n"
        "\t}\n"
        "}\n");
}

TEST_CASE("trace_table: without uplinks only what arrives", "[trace_table]") {
  const auto table =
      TraceTableFor(*ParseTraceTarget("[2001:db8::1]:80"), "edged0", {});
  CHECK(table.chains[0].rules.size() == 1);
  CHECK(nftables::Print(table.chains[0].rules[0]) ==
        "ip6 daddr 2001:db8::1 tcp dport 80 meta nftrace set 1");
}

}  // namespace edged::edge
