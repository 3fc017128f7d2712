#include "edged/core/host_text.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

namespace edged::edge {
namespace {

std::string SocketsIn(std::string_view text, Protocol protocol) {
  std::string list;
  for (const ListeningSocket& socket : ParseSockets(text, protocol)) {
    list += fmt::format("{} {} inode {}\n", socket.listener.address.ToString(),
                        socket.listener.port, socket.inode);
  }
  return list;
}

std::string TablesIn(std::string_view text) {
  std::string list;
  for (const SavedTable& saved : FindSavedTables(text, "f")) {
    list += fmt::format("{} {}-{}\n", saved.table, saved.first_line,
                        saved.last_line);
  }
  return list;
}

}  // namespace

TEST_CASE("host_text: sockets that listen", "[host_text]") {
  CHECK(SocketsIn("  sl  local_address rem_address   st tx_queue rx_queue tr "
                  "tm->when retrnsmt   uid  timeout inode\n"
                  "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 "
                  "00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n"
                  "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 "
                  "00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n"
                  "   2: 017100CB:0050 096433C6:9C40 01 00000000:00000000 "
                  "00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n"
                  "   3: broken\n",
                  Protocol::kTcp) ==
        "0.0.0.0 80 inode 4711\n"
        "127.0.0.1 8080 inode 4712\n");
}

TEST_CASE("host_text: sockets of IPv6 and UDP", "[host_text]") {
  CHECK(SocketsIn("   0: 00000000000000000000000001000000:0035 "
                  "00000000000000000000000000000000:0000 07 "
                  "00000000:00000000 00:00000000 00000000     0        0 9 2 0 "
                  "0\n",
                  Protocol::kUdp) == "::1 53 inode 9\n");
}

TEST_CASE("host_text: our tables in a file of nft", "[host_text]") {
  CHECK(TablesIn("#!/usr/sbin/nft -f\n"
                 "flush ruleset\n"
                 "table inet filter {\n"
                 "\tchain input { type filter hook input priority 0; }\n"
                 "}\n"
                 "table inet edged {\n"
                 "\tmap ports4 {\n"
                 "\t\telements = { 203.0.113.1 . tcp . 80 : 0xed000100 }\n"
                 "\t}\n"
                 "}\n"
                 "table inet edged-guard { # progname edged\n"
                 "}\n") == "inet edged 6-10\ninet edged-guard 11-12\n");
  CHECK(TablesIn("# table inet edged {\n"
                 "table inet edged-other { }\n"
                 "table ip edged { }\n"
                 "delete table inet edged\n"
                 "table inet edged\n") == "");
  CHECK(TablesIn("table inet edged {") == "inet edged 1-1\n");
}

TEST_CASE("host_text: what a file of nft includes", "[host_text]") {
  CHECK(FindIncludes("include \"/etc/nftables.d/*.nft\"\n"
                     "# include \"/no\"\n"
                     "include 'local.nft'\n") ==
        std::vector<std::string>{"/etc/nftables.d/*.nft", "local.nft"});
}

TEST_CASE("host_text: numbers in lines", "[host_text]") {
  const std::string text =
      "MemTotal:        1000 kB\nCapEff:\t0000000000001000\n";
  CHECK(NumberOfLine(text, "MemTotal") == 1000u);
  CHECK(NumberOfLine(text, "CapEff", 16) == 0x1000u);
  CHECK(NumberOfLine(text, "MemFree") == std::nullopt);
}

}  // namespace edged::edge
