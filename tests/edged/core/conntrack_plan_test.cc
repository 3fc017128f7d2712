#include "edged/core/conntrack_plan.h"

#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

constexpr uint8_t kTcpNumber = 6;
constexpr uint8_t kUdpNumber = 17;
constexpr char kClient[] = "198.51.100.9";

// From a client to `nic`:`port`, translated to `target`.
netlink::Flow Translated(std::string_view nic, uint16_t port,
                         std::string_view target,
                         uint8_t protocol = kUdpNumber) {
  return {.protocol = protocol,
          .original = {Ip(kClient), Ip(nic), 40000, port},
          .reply = {Ip(target), Ip(kClient), port, 40000},
          .status = IPS_SEEN_REPLY};
}

netlink::Flow Untranslated(std::string_view nic, uint16_t port,
                           uint8_t protocol = kUdpNumber) {
  return Translated(nic, port, nic, protocol);
}

// From an uplink's mapping address out to a client, as `nic`.
netlink::Flow WayBack(std::string_view source, uint16_t port,
                      std::string_view nic, uint8_t protocol = kUdpNumber) {
  return {.protocol = protocol,
          .original = {Ip(source), Ip(kClient), port, 40000},
          .reply = {Ip(kClient), Ip(nic), 40000, port}};
}

// UDP 53 and 5000-5999 and TCP 443 of the first address, UDP 53 of the second,
// which arrives at 10.0.0.7. Uplink b is in no group of the second.
struct Edge {
  Edge() {
    protocol::EdgeState state = SampleState();
    state.groups[1].uplinks = {"a", "c"};
    state.mappings = {{Tcp(443), "g1"},
                      {Udp(53), "g1"},
                      {Udp(5000, 5999), "g1"},
                      {At("203.0.113.2", Protocol::kUdp, 53), "g2"}};
    model = ModelOf(state);
  }
  bool IsStale(const netlink::Flow& flow) const {
    return StaleFlows(model, facts, long_dead).IsStale(flow);
  }

  EdgeModel model;
  HostFacts facts = SampleFacts();
  std::set<std::string> long_dead;
};

TEST_CASE("conntrack_plan: flows of mappings and serving uplinks stay",
          "[conntrack_plan]") {
  const Edge edge;
  CHECK(!edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.17")));
  CHECK(!edge.IsStale(Translated("203.0.113.1", 5500, "10.200.0.49")));
  CHECK(!edge.IsStale(Translated("10.0.0.7", 53, "10.200.0.18")));
  CHECK(!edge.IsStale(WayBack("10.200.0.17", 53, "203.0.113.1")));
  CHECK(
      !edge.IsStale(Translated("203.0.113.1", 443, "10.200.0.17", kTcpNumber)));
}

TEST_CASE("conntrack_plan: a UDP flow of a client that is not admitted goes",
          "[conntrack_plan]") {
  Edge edge;
  protocol::EdgeState state = edge.model.ToState();
  state.groups[0].access.allow = {Net("198.51.100.0/29")};
  edge.model = ModelOf(state);
  CHECK(edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.17")));
  CHECK(edge.IsStale(WayBack("10.200.0.17", 53, "203.0.113.1")));
  // Another group admits everybody; TCP ends by itself.
  CHECK(!edge.IsStale(Translated("10.0.0.7", 53, "10.200.0.18")));
  CHECK(
      !edge.IsStale(Translated("203.0.113.1", 443, "10.200.0.17", kTcpNumber)));
  netlink::Flow unanswered =
      Translated("203.0.113.1", 443, "10.200.0.17", kTcpNumber);
  unanswered.status = 0;
  CHECK(edge.IsStale(unanswered));

  state.groups[0].access = {.allow = {Net("198.51.100.0/24")},
                            .deny = {Net("198.51.100.8/30")}};
  edge.model = ModelOf(state);
  CHECK(edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.17")));
  state.groups[0].access.deny = {Net("198.51.100.10/32")};
  edge.model = ModelOf(state);
  CHECK(!edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.17")));
  CHECK(!edge.IsStale(WayBack("10.200.0.17", 53, "203.0.113.1")));
}

TEST_CASE("conntrack_plan: IPv6 flows are judged as IPv4 ones",
          "[conntrack_plan]") {
  Edge edge;
  protocol::EdgeState state = DualState();
  state.mappings = {{Udp(53), "g1"}, {Udp6(53), "g6"}};
  edge.model = ModelOf(state);
  edge.facts = DualFacts();
  const auto flow = [](std::string_view nic, uint16_t port,
                       std::string_view target) {
    netlink::Flow made = Translated(nic, port, target);
    made.original.source = made.reply.destination = Ip("2001:db8:9::9");
    return made;
  };
  const std::string one = "fd00:ed::400:0:0:1";
  CHECK(!edge.IsStale(flow("2001:db8::1", 53, one)));
  CHECK(!edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.17")));
  CHECK(edge.IsStale(flow("2001:db8::1", 54, one)));
  CHECK(edge.IsStale(flow("2001:db8::1", 53, "2001:db8::1")));  // too early
  CHECK(!edge.IsStale(flow("2001:db8::1", 54, "2001:db8::1")));
  // Index 1 of a block that nobody has.
  CHECK(edge.IsStale(flow("2001:db8::1", 53, "fd00:ed::2400:0:0:1")));
}

TEST_CASE("conntrack_plan: a UDP flow goes with its mapping",
          "[conntrack_plan]") {
  const Edge edge;
  CHECK(edge.IsStale(Translated("203.0.113.1", 54, "10.200.0.17")));
  CHECK(edge.IsStale(Translated("203.0.113.1", 6000, "10.200.0.17")));
  CHECK(edge.IsStale(WayBack("10.200.0.17", 54, "203.0.113.1")));
  // The address is not this edge's any more, or arrives elsewhere now.
  CHECK(edge.IsStale(Translated("10.0.0.8", 53, "10.200.0.18")));
  // Index 2 is the other address's.
  CHECK(edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.18")));
  // The group does not have this uplink.
  CHECK(edge.IsStale(Translated("10.0.0.7", 53, "10.200.0.34")));
  // TCP ends by itself.
  CHECK(
      !edge.IsStale(Translated("203.0.113.1", 444, "10.200.0.17", kTcpNumber)));
}

TEST_CASE("conntrack_plan: a UDP flow goes with its uplink, not when draining",
          "[conntrack_plan]") {
  Edge edge;
  const auto to_a = Translated("203.0.113.1", 53, "10.200.0.17");
  edge.facts.health["a"] = Health::kDraining;
  CHECK(!edge.IsStale(to_a));
  edge.facts.health["a"] = Health::kDead;
  CHECK(edge.IsStale(to_a));
  CHECK(edge.IsStale(WayBack("10.200.0.17", 53, "203.0.113.1")));
  CHECK(!edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.33")));
}

TEST_CASE("conntrack_plan: a suspect keeps its flows while it is the last",
          "[conntrack_plan]") {
  Edge edge;
  const auto to_a = Translated("203.0.113.1", 53, "10.200.0.17");
  edge.facts.health["a"] = Health::kSuspect;
  CHECK(edge.IsStale(to_a));
  edge.facts.health["b"] = Health::kDead;
  edge.facts.health["c"] = Health::kDraining;
  CHECK(!edge.IsStale(to_a));
}

TEST_CASE("conntrack_plan: of a removed uplink everything goes",
          "[conntrack_plan]") {
  const Edge edge;
  CHECK(edge.IsStale(Translated("203.0.113.1", 53, "10.200.0.65")));
  CHECK(
      edge.IsStale(Translated("203.0.113.1", 443, "10.200.0.65", kTcpNumber)));
  CHECK(edge.IsStale(WayBack("10.200.0.65", 443, "203.0.113.1", kTcpNumber)));
}

TEST_CASE("conntrack_plan: TCP goes with an uplink that is dead for long",
          "[conntrack_plan]") {
  Edge edge;
  const auto flow = Translated("203.0.113.1", 443, "10.200.0.17", kTcpNumber);
  edge.facts.health["a"] = Health::kDead;
  CHECK(!edge.IsStale(flow));
  edge.long_dead = {"a"};
  CHECK(edge.IsStale(flow));
}

TEST_CASE("conntrack_plan: a connection without an answer tries another uplink",
          "[conntrack_plan]") {
  Edge edge;
  netlink::Flow attempt =
      Translated("203.0.113.1", 443, "10.200.0.17", kTcpNumber);
  attempt.status = 0;
  CHECK(!edge.IsStale(attempt));
  edge.facts.health["a"] = Health::kDead;
  CHECK(edge.IsStale(attempt));
  attempt.status = IPS_SEEN_REPLY;
  CHECK(!edge.IsStale(attempt));
  // Whoever came back by itself has spoken before.
  CHECK(!edge.IsStale(WayBack("10.200.0.17", 443, "203.0.113.1", kTcpNumber)));
}

TEST_CASE("conntrack_plan: a UDP flow that began before its mapping goes",
          "[conntrack_plan]") {
  const Edge edge;
  CHECK(edge.IsStale(Untranslated("203.0.113.1", 53)));
  CHECK(edge.IsStale(Untranslated("203.0.113.1", 5001)));
  CHECK(edge.IsStale(Untranslated("10.0.0.7", 53)));
  CHECK(!edge.IsStale(Untranslated("203.0.113.1", 54)));
  CHECK(!edge.IsStale(Untranslated("203.0.113.2", 53)));
  CHECK(!edge.IsStale(Untranslated("203.0.113.1", 443, kTcpNumber)));
}

TEST_CASE("conntrack_plan: what is not ours is left alone",
          "[conntrack_plan]") {
  const Edge edge;
  // WireGuard itself, heartbeats, the host's own DNS, ping.
  CHECK(!edge.IsStale(Untranslated("203.0.113.1", 51820)));
  CHECK(
      !edge.IsStale({.protocol = kUdpNumber,
                     .original = {Ip("10.200.0.16"), Ip("10.200.0.1"), 5, 7443},
                     .reply = {Ip("10.200.0.1"), Ip("10.200.0.16"), 7443, 5}}));
  CHECK(!edge.IsStale({.protocol = kUdpNumber,
                       .original = {Ip("203.0.113.1"), Ip("9.9.9.9"), 4000, 53},
                       .reply = {Ip("9.9.9.9"), Ip("203.0.113.1"), 53, 4000}}));
  CHECK(!edge.IsStale(Untranslated("203.0.113.1", 53, 1)));
  // Somebody else's translation of a mapped listener.
  CHECK(!edge.IsStale(Translated("203.0.113.1", 53, "172.17.0.2")));
  // What others forward to an uplink itself, or translate to the edge.
  CHECK(!edge.IsStale(Translated("203.0.113.1", 2222, "10.200.0.16")));
  CHECK(!edge.IsStale(Translated("203.0.113.1", 2222, "10.200.0.80")));
  CHECK(!edge.IsStale(Translated("203.0.113.1", 2222, "10.200.0.2")));
  // The host asks a name server from a port that is mapped: the answer must
  // not look like a client's packet.
  CHECK(!edge.IsStale({.protocol = kUdpNumber,
                       .original = {Ip("203.0.113.1"), Ip("9.9.9.9"), 5500, 53},
                       .reply = {Ip("9.9.9.9"), Ip("203.0.113.1"), 53, 5500}}));
}

// ---- where to look ----

std::string Where(const FlowSearch& search, const Edge& edge) {
  const auto filters = search.Filters(edge.model, edge.facts);
  if (!filters) return "everywhere\n";
  std::string text;
  for (const netlink::FlowFilter& filter : *filters) {
    text += filter.ToString() + "\n";
  }
  return text;
}

std::string WhereAfter(const protocol::EdgeDelta& delta, const Edge& edge) {
  return Where(FlowSearch::After(edge.model, delta), edge);
}

TEST_CASE("conntrack_plan: a UDP mapping is looked for by its listener",
          "[conntrack_plan]") {
  const Edge edge;
  CHECK(WhereAfter({.mappings = {{Udp(54), "g1"}}}, edge) ==
        "udp original destination 203.0.113.1:54\n");
  CHECK(WhereAfter({.mappings = {{Udp(53), "g1"}}}, edge) ==
        "udp original destination 203.0.113.1:53\n"
        "udp reply destination 203.0.113.1:53\n");
  CHECK(WhereAfter({.removed_mappings = {Udp(5000, 5999)}}, edge) ==
        "udp original destination 203.0.113.1\n"
        "udp reply destination 203.0.113.1\n");
  // Arrives elsewhere than it is called; a new group changes no flow.
  protocol::Group added = edge.model.groups().at("g2");
  added.name = "g3";
  CHECK(WhereAfter({.groups = {added},
                    .mappings = {{At("203.0.113.2", Protocol::kUdp, 7), "g3"}}},
                   edge) == "udp original destination 10.0.0.7:7\n");
}

TEST_CASE("conntrack_plan: a TCP mapping is no reason to look",
          "[conntrack_plan]") {
  const Edge edge;
  const FlowSearch search = FlowSearch::After(
      edge.model,
      {.removed_mappings = {Tcp(443)}, .mappings = {{Tcp(80), "g1"}}});
  CHECK(search.empty());
  CHECK(Where(search, edge) == "");
}

TEST_CASE("conntrack_plan: changes beyond mappings are looked for everywhere",
          "[conntrack_plan]") {
  const Edge edge;
  CHECK(WhereAfter({.settings = edge.model.settings()}, edge) ==
        "everywhere\n");
  CHECK(WhereAfter({.removed_uplinks = {"a"}}, edge) == "everywhere\n");
  CHECK(WhereAfter({.uplinks = {{"d", Key(4), 4}}}, edge) == "everywhere\n");
  protocol::Group fewer = edge.model.groups().at("g1");
  fewer.uplinks = {"a"};
  CHECK(WhereAfter({.groups = {fewer}}, edge) == "everywhere\n");
}

TEST_CASE("conntrack_plan: who does not serve is looked for by its addresses",
          "[conntrack_plan]") {
  Edge edge;
  CHECK(Where(FlowSearch::Unserving(), edge) == "");
  edge.facts.health["a"] = Health::kDraining;
  edge.facts.health["b"] = Health::kDead;
  CHECK(Where(FlowSearch::Unserving(), edge) ==
        "any original source 10.200.0.33\n"
        "any original source 10.200.0.34\n"
        "any reply source 10.200.0.33\n"
        "any reply source 10.200.0.34\n");
}

TEST_CASE("conntrack_plan: many changes are looked for at once",
          "[conntrack_plan]") {
  const Edge edge;
  FlowSearch search = FlowSearch::After(edge.model, {.mappings = {}});
  CHECK(search.empty());
  for (uint16_t port = 1; port <= 2; ++port) {
    search.Add(
        FlowSearch::After(edge.model, {.removed_mappings = {Udp(port)}}));
  }
  CHECK(Where(search, edge) != "everywhere\n");
  search.Add(FlowSearch::After(edge.model, {.removed_mappings = {Udp(3)}}));
  CHECK(Where(search, edge) == "everywhere\n");
  search.Add(FlowSearch::Unserving());
  CHECK(Where(search, edge) == "everywhere\n");
}

}  // namespace
}  // namespace edged::edge
