#include "edged/core/nft_delta.h"

#include <catch2/catch.hpp>
#include <random>

#include "common/nftables/print.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"
#include "tests/edged/core/edge_on_kernel.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/fake_nftables_client.h"

namespace edged::edge {
namespace {

using protocol::EdgeDelta;

// The canonical text of a rule, without the kernel's codec.
std::string TextOf(const nftables::Rule& rule) { return nftables::Print(rule); }

struct FakeKernel {
  nftables::FakeClient fake{TextOf};
};

// An edge with a kernel in memory.
struct Edge : private FakeKernel, public EdgeOnKernel {
  Edge() : EdgeOnKernel(fake, TextOf) {}
};

TEST_CASE("nft_delta: a mapping is one element", "[nft_delta]") {
  Edge edge;
  CHECK(edge.Change({.mappings = {{Tcp(443), "g1"}}}) ==
        "add element inet edged ports4 { 203.0.113.1 . tcp . 443 : 0xed000100 "
        "}\n");
  CHECK(edge.Change({.mappings = {{Tcp(6000, 6009), "g1"}}}) ==
        "add element inet edged ranges4 { 203.0.113.1 . tcp . 6000-6009 : "
        "0xed000100 }\n");
  CHECK(
      edge.Change({.removed_mappings = {Tcp(443), Tcp(6000, 6009)}}) ==
      "delete element inet edged ports4 { 203.0.113.1 . tcp . 443 }\n"
      "delete element inet edged ranges4 { 203.0.113.1 . tcp . 6000-6009 }\n");
  CHECK(edge.Change({.mappings = {{Tcp(80), "g1"}}}) == "");
}

TEST_CASE("nft_delta: another group is a deletion and an addition in one",
          "[nft_delta]") {
  Edge edge;
  CHECK(edge.Change({.groups = {{.name = "g3",
                                 .public_address = Ip("203.0.113.1"),
                                 .uplinks = {"b"}}},
                     .mappings = {{Tcp(80), "g3"}}}) ==
        "add chain inet edged group-g3 { }\n"
        "add rule inet edged group-g3 dnat ip to 10.200.0.33\n"
        "add element inet edged groups { 0xed000300 : goto group-g3 }\n"
        "delete element inet edged ports4 { 203.0.113.1 . tcp . 80 }\n"
        "add element inet edged ports4 { 203.0.113.1 . tcp . 80 : 0xed000300 "
        "}\n");
  // The old group can go now, but for the range.
  CHECK(edge.Change({.removed_groups = {"g1"},
                     .mappings = {{Udp(5000, 5999), "g3"}}}) ==
        "delete element inet edged ranges4 { 203.0.113.1 . udp . 5000-5999 }\n"
        "add element inet edged ranges4 { 203.0.113.1 . udp . 5000-5999 : "
        "0xed000300 }\n"
        "delete element inet edged groups { 0xed000100 }\n"
        "flush chain inet edged group-g1\n"
        "delete chain inet edged group-g1\n");
}

TEST_CASE("nft_delta: an uplink that comes or goes leaves mappings alone",
          "[nft_delta]") {
  Edge edge;
  edge.facts.health["d"] = Health::kAlive;
  CHECK(edge.Change({.uplinks = {{"d", Key(4), 4}}}) ==
        "add element inet edged callers4 { 10.200.0.64 }\n"
        "add element inet edged back4 { 10.200.0.65 : 203.0.113.1, 10.200.0.66 "
        ": 10.0.0.7 }\n");
  protocol::Group g2 = edge.model.groups().at("g2");
  g2.uplinks = {"d"};
  CHECK(edge.Change({.groups = {g2}}) ==
        "flush chain inet edged group-g2\n"
        "add rule inet edged group-g2 dnat ip to 10.200.0.66\n");
  g2.uplinks = {"a"};
  CHECK(edge.Change({.removed_uplinks = {"d"}, .groups = {g2}}) ==
        "delete element inet edged callers4 { 10.200.0.64 }\n"
        "delete element inet edged back4 { 10.200.0.65, 10.200.0.66 }\n"
        "flush chain inet edged group-g2\n"
        "add rule inet edged group-g2 dnat ip to 10.200.0.18\n");
}

TEST_CASE("nft_delta: a block that changes moves its uplink's addresses",
          "[nft_delta]") {
  Edge edge;
  const std::string commands =
      edge.Change({.uplinks = {{"a", Key(1), 2}, {"b", Key(2), 1}}});
  CHECK(commands.find("ports4") == std::string::npos);
  CHECK(commands.find("back4") == std::string::npos);  // the same addresses
  CHECK(commands.find("flush chain inet edged group-g1") != std::string::npos);
  CHECK(commands.find("flush chain inet edged group-g2") != std::string::npos);
}

TEST_CASE("nft_delta: health rewrites the chains that it concerns",
          "[nft_delta]") {
  Edge edge;
  edge.Change({.groups = {{.name = "g3",
                           .public_address = Ip("203.0.113.1"),
                           .uplinks = {"b"}}}});
  const auto change_health = [&](const std::string& uplink, Health health) {
    const UplinkHealth previous = edge.facts.health;
    edge.facts.health[uplink] = health;
    const auto transaction =
        CompileHealthChange(edge.model, edge.facts, previous);
    REQUIRE(edge.kernel.Apply(transaction).ok());
    CHECK(nftables::Print(edge.Missing()) == "");
    std::string chains;
    for (const auto& operation : transaction.operations()) {
      if (const auto* flush = std::get_if<nftables::FlushChain>(&operation)) {
        chains += flush->chain + " ";
      }
    }
    CHECK(transaction.operations().size() <= 6);
    return chains;
  };
  CHECK(change_health("a", Health::kSuspect) == "group-g1 group-g2 ");
  CHECK(change_health("a", Health::kDead) == "");
  CHECK(change_health("b", Health::kSuspect) == "group-g1 group-g2 ");
  CHECK(change_health("b", Health::kDead) == "group-g3 ");
  CHECK(change_health("c", Health::kSuspect) == "");
  CHECK(change_health("c", Health::kDead) == "group-g1 group-g2 ");
  CHECK(change_health("a", Health::kAlive) == "group-g1 group-g2 ");
}

TEST_CASE("nft_delta: public addresses and the MTU need the whole table",
          "[nft_delta]") {
  const Edge edge;
  protocol::Settings settings = edge.model.settings();
  settings.unhealthy_threshold += 1;
  CHECK(!NeedsWholeTable(edge.model, {.settings = settings}));
  settings.mtu = 1300;
  CHECK(NeedsWholeTable(edge.model, {.settings = settings}));
  settings.mtu = edge.model.settings().mtu;
  settings.public_addresses.push_back(
      {.address = Ip("203.0.113.3"), .index = 3});
  CHECK(NeedsWholeTable(edge.model, {.settings = settings}));
  CHECK(!NeedsWholeTable(edge.model, {}));
}

TEST_CASE("nft_delta: what does not arrive here is not touched",
          "[nft_delta]") {
  Edge edge;
  edge.facts.nic_addresses.erase(Ip("203.0.113.2"));
  REQUIRE(edge.kernel.Apply(edge.Missing()).ok());
  const auto judgement = edge.model.Judge(
      {.mappings = {{At("203.0.113.2", Protocol::kTcp, 80), "g2"}}},
      edge.facts.limits);
  REQUIRE(judgement.ok());
  CHECK(CompileDelta(edge.model, edge.marks, edge.facts, judgement->accepted)
            .empty());
  CHECK(Touched(edge.marks, edge.facts, judgement->accepted.mappings,
                judgement->accepted.removed_mappings)
            .empty());
}

TEST_CASE(
    "nft_delta: a timeout comes with the first group and goes with the last",
    "[nft_delta]") {
  Edge edge;
  const auto group = [](std::string name) {
    return protocol::Group{
        .name = std::move(name),
        .public_address = Ip("203.0.113.1"),
        .uplinks = {"a"},
        .timeouts = {.udp_session = std::chrono::seconds(2)}};
  };
  CHECK(
      edge.Change({.groups = {group("t1")}}) ==
      "add ct timeout inet edged udp-2 { protocol udp; policy = { unreplied : "
      "2, replied : 2 }; }\n"
      "add chain inet edged group-t1 { }\n"
      "add rule inet edged group-t1 meta l4proto udp ct timeout set \"udp-2\"\n"
      "add rule inet edged group-t1 dnat ip to 10.200.0.17\n"
      "add element inet edged groups { 0xed000300 : goto group-t1 }\n");
  CHECK(edge.Change({.groups = {group("t2")}}).find("add ct timeout") ==
        std::string::npos);
  CHECK(edge.Change({.removed_groups = {"t1"}}).find("delete ct timeout") ==
        std::string::npos);
  CHECK(edge.Change({.removed_groups = {"t2"}}) ==
        "delete element inet edged groups { 0xed000400 }\n"
        "flush chain inet edged group-t2\n"
        "delete chain inet edged group-t2\n"
        "delete ct timeout inet edged udp-2\n");
}

TEST_CASE("nft_delta: the clients of a group come, change and go with it",
          "[nft_delta]") {
  Edge edge;
  protocol::Group group{.name = "g3",
                        .public_address = Ip("203.0.113.1"),
                        .uplinks = {"a"},
                        .access = {.allow = {Net("192.0.2.0/24")}}};
  CHECK(edge.Change({.groups = {group}}) ==
        "add set inet edged allow-g3 { type ipv4_addr; flags interval; }\n"
        "add element inet edged allow-g3 { 192.0.2.0/24 }\n"
        "add chain inet edged clients-g3 { }\n"
        "add rule inet edged clients-g3 ip daddr != @allow-g3 drop\n"
        "add rule inet edged clients-g3 accept\n"
        "add element inet edged clients { 0xed000300 : goto clients-g3 }\n"
        "add chain inet edged group-g3 { }\n"
        "add rule inet edged group-g3 ip saddr != @allow-g3 drop\n"
        "add rule inet edged group-g3 dnat ip to 10.200.0.17\n"
        "add element inet edged groups { 0xed000300 : goto group-g3 }\n");
  group.access = {.allow = {Net("192.0.2.0/25"), Net("198.51.100.0/24")},
                  .deny = {Net("192.0.2.7/32")}};
  CHECK(edge.Change({.groups = {group}}) ==
        "delete element inet edged allow-g3 { 192.0.2.0/24 }\n"
        "add element inet edged allow-g3 { 192.0.2.0/25, 198.51.100.0/24 }\n"
        "add set inet edged deny-g3 { type ipv4_addr; flags interval; }\n"
        "add element inet edged deny-g3 { 192.0.2.7 }\n"
        "flush chain inet edged clients-g3\n"
        "add rule inet edged clients-g3 ip daddr != @allow-g3 drop\n"
        "add rule inet edged clients-g3 ip daddr @deny-g3 drop\n"
        "add rule inet edged clients-g3 accept\n"
        "flush chain inet edged group-g3\n"
        "add rule inet edged group-g3 ip saddr != @allow-g3 drop\n"
        "add rule inet edged group-g3 ip saddr @deny-g3 drop\n"
        "add rule inet edged group-g3 dnat ip to 10.200.0.17\n");
  group.access.allow.clear();
  CHECK(edge.Change({.groups = {group}})
            .ends_with("delete set inet edged allow-g3\n"));
  CHECK(edge.Change({.removed_groups = {"g3"}}) ==
        "delete element inet edged groups { 0xed000300 }\n"
        "flush chain inet edged group-g3\n"
        "delete chain inet edged group-g3\n"
        "delete element inet edged clients { 0xed000300 }\n"
        "flush chain inet edged clients-g3\n"
        "delete chain inet edged clients-g3\n"
        "delete set inet edged deny-g3\n");
}

TEST_CASE("nft_delta: any way from state to state ends in its whole table",
          "[nft_delta]") {
  std::mt19937 random(20240607);
  Edge edge;
  edge.facts.health["d"] = Health::kAlive;
  for (int i = 0; i < 200; ++i) {
    const auto wanted = RandomState(random);
    const auto judgement = edge.model.JudgeSnapshot(wanted, edge.facts.limits);
    INFO(judgement.status().ToString());
    REQUIRE(judgement.ok());
    edge.Change(judgement->accepted);
  }
}

TEST_CASE("readback: reads a mapping out of an element", "[readback]") {
  const Edge edge;
  const Readback readback(edge.marks, edge.facts);
  const protocol::Listener listener =
      At("203.0.113.2", Protocol::kUdp, 600, 700);
  auto element = ElementOf(listener, edge.marks.MarkOf("g2"), edge.facts);
  CHECK(*readback.MappingOf(element) == protocol::Mapping{listener, "g2"});

  element.data = nftables::MarkBytes(0x17);
  CHECK(readback.MappingOf(element).status().ToString() ==
        "NOT_FOUND: 203.0.113.2 udp/600-700 : 0x00000017: no such group");
  CHECK(*readback.ListenerOf(element) == listener);
  element.data.clear();
  CHECK(readback.MappingOf(element).status().ToString() ==
        "INVALID_ARGUMENT: an element of 12 bytes is not a mapping");
  for (size_t size = 0; size < element.key.size(); ++size) {
    nftables::Element cut{
        .key = {element.key.begin(), element.key.begin() + size},
        .data = nftables::MarkBytes(0xed000100)};
    CHECK(!readback.MappingOf(cut).ok());
  }
}

TEST_CASE("readback: says what the kernel has otherwise than was written",
          "[readback]") {
  const Edge edge;
  const EdgeDelta delta{.removed_mappings = {Udp(5000, 5999)},
                        .mappings = {{Tcp(80), "g1"}}};
  auto touched =
      Touched(edge.marks, edge.facts, delta.mappings, delta.removed_mappings);
  REQUIRE(touched.size() == 2);
  CHECK(CheckReadBack(touched[0], {}).ToString() ==
        "ABORTED: 203.0.113.1 tcp/80 was written and is not there");
  auto found = touched[0].written;
  CHECK(CheckReadBack(touched[0], found).ok());
  found[0].data = nftables::MarkBytes(0xed000700);
  CHECK(CheckReadBack(touched[0], found).ToString() ==
        "ABORTED: 203.0.113.1 tcp/80 was written and has another group");
  CHECK(CheckReadBack(touched[1], touched[1].removed).ToString() ==
        "ABORTED: 203.0.113.1 udp/5000-5999 was removed and is still there");
}

TEST_CASE("readback: counts what nobody wants", "[readback]") {
  Edge edge;
  KernelDigest digest(edge.model, edge.marks, edge.facts);
  digest.Add(*edge.kernel.List(kTable));
  CHECK(digest.mappings() == 2);
  CHECK(digest.strangers() == 0);
  digest.Add(ElementOf(Tcp(99), 0xed00ff00, edge.facts));
  CHECK(digest.strangers() == 1);
  CHECK(digest.digest() == edge.model.digest());
}

TEST_CASE("readback: finds the interfaces that were switched on",
          "[readback]") {
  Edge edge;
  const auto found = [&edge](Family family) {
    return SwitchedInterfacesOf(*edge.kernel.List(kTable), family);
  };
  CHECK(found(Family::kIpv4).empty());
  CHECK(SwitchedInterfacesOf({}, Family::kIpv4).empty());
  edge.facts.switched_interfaces = {"eth0", "a-long-name-123"};
  edge.facts.ipv6 = DualFacts().ipv6;
  edge.facts.ipv6.switched_interfaces = {"eth1"};
  REQUIRE(edge.kernel.Apply(edge.Missing()).ok());
  CHECK(found(Family::kIpv4) == edge.facts.switched_interfaces);
  CHECK(found(Family::kIpv6) == std::set<std::string>{"eth1"});
}

}  // namespace
}  // namespace edged::edge
