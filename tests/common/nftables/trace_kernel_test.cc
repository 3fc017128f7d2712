#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "common/nftables/client.h"
#include "common/nftables/trace.h"
#include "common/unique_fd.h"
#include "tests/common/nftables/nft_tool.h"

namespace edged::nftables {
namespace {

void SetLoopbackUp() {
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_LOOPBACK;
  REQUIRE(::ioctl(any.get(), SIOCSIFFLAGS, &request) == 0);
}

void SendDatagram(uint16_t port) {
  const UniqueFd sender(::socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_port = htons(4000);
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(sender.get(), reinterpret_cast<sockaddr*>(&from),
                 sizeof from) == 0);
  sockaddr_in to = from;
  to.sin_port = htons(port);
  ::sendto(sender.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to),
           sizeof to);
}

std::string TextOf(const TraceEvent& event) {
  constexpr const char* kSteps[] = {"rule", "return", "policy"};
  constexpr const char* kVerdicts[] = {"continue", "accept", "drop",
                                       "return",   "jump",   "other"};
  std::string text = fmt::format("{} {}: {} {}", event.table, event.chain,
                                 kSteps[static_cast<int>(event.step)],
                                 kVerdicts[static_cast<int>(event.verdict)]);
  if (!event.target.empty()) text += " " + event.target;
  if (event.packet) {
    text += fmt::format(
        " [{}:{} > {}:{} proto {} in {} out {}]",
        event.packet->source.ToString(), event.packet->source_port,
        event.packet->destination.ToString(), event.packet->destination_port,
        event.packet->protocol, event.packet->in, event.packet->out);
  }
  return text + "\n";
}

// How often a rule that goes on is told depends on the kernel: 6.18 tells the
// chain's last one twice.
bool Counts(const TraceEvent& event) {
  return event.packet || event.verdict != TraceVerdict::kContinue;
}

}  // namespace

TEST_CASE("trace: tells each rule that a packet met, and the last verdict",
          "[trace][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  SetLoopbackUp();
  Nft("flush ruleset");
  REQUIRE(Nft("-f -", R"(
    table inet t {
      chain output {
        type filter hook output priority 0; policy accept;
        udp dport 7000 meta nftrace set 1
      }
      chain input {
        type filter hook input priority 0; policy accept;
        udp dport 9 drop
        meta l4proto udp jump more
      }
      chain more {
        counter
        udp dport 7000 drop
      }
    })")
              .text.empty());
  auto events = TraceEvents::Open();
  REQUIRE(events.status() == absl::OkStatus());
  SendDatagram(7001);
  SendDatagram(7000);
  std::string text;
  std::vector<uint32_t> ids;
  REQUIRE(events->Read([&](const TraceEvent& event) {
    if (Counts(event)) text += TextOf(event);
    ids.push_back(event.id);
    if (event.verdict == TraceVerdict::kDrop) CHECK(event.rule_handle != 0);
  }) == absl::OkStatus());
  const std::string packet = "127.0.0.1:4000 > 127.0.0.1:7000 proto 17";
  CHECK(text == fmt::format("t output: rule continue [{0} in 0 out 1]\n"
                            "t output: policy accept\n"
                            "t input: rule jump more [{0} in 1 out 0]\n"
                            "t more: rule drop\n",
                            packet));
  REQUIRE(ids.size() >= 4);
  // A packet that the loopback brings back counts as another one.
  CHECK(std::set<uint32_t>(ids.begin(), ids.end()).size() == 2);
}

TEST_CASE("trace: a table of ours asks for it, and goes with its socket",
          "[trace][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  SetLoopbackUp();
  Nft("flush ruleset");
  auto client = std::move(Client::Open().value());
  Transaction transaction("watch");
  transaction.Add(AddTable{.owned = true});
  transaction.AddChainWithRules(
      {.name = "output",
       .hook = Hook{ChainType::kFilter, HookPoint::kOutput, -350},
       .rules = {{{Match{Field::kL4proto, ToBytes(Protocol::kUdp)},
                   Match{Field::kThDport, PortBytes(7000)}, SetTrace{}}}}});
  REQUIRE(client->Apply(transaction) == absl::OkStatus());
  auto events = TraceEvents::Open();
  REQUIRE(events.status() == absl::OkStatus());
  SendDatagram(7000);
  std::string text;
  REQUIRE(events->Read([&](const TraceEvent& event) {
    if (Counts(event)) text += TextOf(event);
  }) == absl::OkStatus());
  CHECK(text ==
        "watch output: rule continue [127.0.0.1:4000 > 127.0.0.1:7000 proto 17 "
        "in 0 out 1]\n"
        "watch output: policy accept\n");
  CHECK(Nft("delete table inet watch").code != 0);
  client.reset();
  CHECK(Nft("list tables").text == "");
}

}  // namespace edged::nftables
