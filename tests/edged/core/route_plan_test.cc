#include "edged/core/route_plan.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <catch2/catch.hpp>

#include "common/status.h"
#include "edged/core/arrival_ways.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using netlink::Route;

// A host before edged came, and with the device made.
ObservedRoutes Bare() {
  return {.links = {{.index = 1, .name = "lo", .up = true, .loopback = true},
                    {.index = 2, .name = "eth0", .mtu = 1500, .up = true},
                    {.index = 3, .name = "eth1", .mtu = 1500, .up = true},
                    {.index = 7, .name = "edged0", .kind = "wireguard"}},
          .addresses = {{2, Ip("203.0.113.1"), 24}},
          .routes = {{.destination = Net("0.0.0.0/0"),
                      .link = 2,
                      .gateway = Ip("203.0.113.254"),
                      .protocol = 4}}};
}

// What `observed` becomes by `change`.
void Make(const RouteChange& change, ObservedRoutes& observed) {
  for (auto& link : observed.links) {
    if (change.device && change.device->link == link.index) {
      link.up = change.device->up;
      link.mtu = change.device->mtu;
    }
    for (const auto& conf : change.confs) {
      if (conf.link == link.index) link.ipv4 = conf.conf;
    }
    for (const auto& conf : change.ipv6_confs) {
      if (conf.interface == link.name) {
        link.ipv6.force_forwarding = conf.force_forwarding;
      }
    }
  }
  for (const auto& address : change.removed_addresses) {
    std::erase(observed.addresses, address);
  }
  for (auto address : change.added_addresses) {
    address.flags = 0x80;  // IFA_F_PERMANENT, as the kernel reports it
    observed.addresses.push_back(address);
  }
  for (const auto& route : change.removed_routes) {
    std::erase(observed.routes, route);
  }
  for (const auto& route : change.replaced_routes) {
    std::erase_if(observed.routes, [&route](const Route& before) {
      return before.destination == route.destination &&
             before.protocol == route.protocol;
    });
    observed.routes.push_back(route);
  }
}

std::string Planned(const EdgeModel& model, const HostFacts& facts,
                    const ObservedRoutes& observed) {
  const auto change = PlanRoutes(model, facts, observed);
  return change.ok() ? change->ToString(facts.device)
                     : change.status().ToString();
}

// What a bare host lacks; when it is made, nothing more is to be done.
std::string PlannedOnBare(const EdgeModel& model, const HostFacts& facts) {
  ObservedRoutes observed = Bare();
  const std::string planned = Planned(model, facts, observed);
  Make(*PlanRoutes(model, facts, observed), observed);
  CHECK(PlanRoutes(model, facts, observed)->empty());
  return planned;
}

TEST_CASE("route_plan: builds all on a bare host, then nothing",
          "[route_plan]") {
  CHECK(PlannedOnBare(ModelOf(SampleState()), SampleFacts()) ==
        "~ link edged0 up mtu 1420\n"
        "+ address 10.200.0.1/32 dev edged0\n"
        "+ route 10.200.0.2/32 dev edged0\n"
        "+ route 10.200.0.16/28 dev edged0\n"
        "+ route 10.200.0.32/28 dev edged0\n"
        "+ route 10.200.0.48/28 dev edged0\n"
        "~ ipv4 edged0 forwarding 1 rp_filter 2\n"
        "~ ipv4 eth0 forwarding 1 rp_filter 0\n");
}

TEST_CASE("route_plan: both families on a bare host, then nothing",
          "[route_plan]") {
  const EdgeModel model = ModelOf(DualState());
  const HostFacts facts = DualFacts();
  CHECK(PlannedOnBare(model, facts) ==
        "~ link edged0 up mtu 1420\n"
        "+ address 10.200.0.1/32 dev edged0\n"
        "+ address fd00:ed::1/128 dev edged0\n"
        "+ route 10.200.0.2/32 dev edged0\n"
        "+ route 10.200.0.16/28 dev edged0\n"
        "+ route 10.200.0.32/28 dev edged0\n"
        "+ route 10.200.0.48/28 dev edged0\n"
        "+ route fd00:ed:0:0:400::/70 dev edged0\n"
        "+ route fd00:ed:0:0:800::/70 dev edged0\n"
        "+ route fd00:ed:0:0:c00::/70 dev edged0\n"
        "~ ipv4 edged0 forwarding 1 rp_filter 2\n"
        "~ ipv4 eth0 forwarding 1 rp_filter 0\n");
  const RouteChange change = *PlanRoutes(model, facts, Bare());
  CHECK(change.added_addresses[1].flags == IFA_F_NODAD);
}

TEST_CASE("route_plan: each way is limited to what it carries",
          "[route_plan]") {
  const EdgeModel model = ModelOf(DualState());
  HostFacts facts = DualFacts();
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(model, facts, observed), observed);
  facts.uplink_mtus = {{"a", 1216}, {"b", 1420}, {"c", 9000}};
  RouteChange change = *PlanRoutes(model, facts, observed);
  CHECK(change.ToString("edged0") ==
        "+ route 10.200.0.16/28 dev edged0 mtu 1216\n"
        "+ route fd00:ed:0:0:400::/70 dev edged0 mtu 1280\n");
  Make(change, observed);
  CHECK(PlanRoutes(model, facts, observed)->empty());

  // A new run knows it from the route, until the uplink tells.
  facts.uplink_mtus.clear();
  CHECK(PlanRoutes(model, facts, observed)->empty());
  facts.own_mtu = 1200;  // and never takes more than its own links do
  change = *PlanRoutes(model, facts, observed);
  CHECK(change.ToString("edged0") ==
        "+ route 10.200.0.16/28 dev edged0 mtu 1200\n"
        "+ route 10.200.0.32/28 dev edged0 mtu 1200\n"
        "+ route 10.200.0.48/28 dev edged0 mtu 1200\n"
        "+ route fd00:ed:0:0:800::/70 dev edged0 mtu 1280\n"
        "+ route fd00:ed:0:0:c00::/70 dev edged0 mtu 1280\n");
  CHECK(change.removed_routes.empty());
  facts.own_mtu = 1420;
  facts.uplink_mtus = {{"a", 1420}};
  CHECK(Planned(model, facts, observed) ==
        "+ route 10.200.0.16/28 dev edged0\n"
        "+ route fd00:ed:0:0:400::/70 dev edged0\n");
}

TEST_CASE("route_plan: switches IPv6 forwarding of single devices where it may",
          "[route_plan]") {
  const EdgeModel model = ModelOf(DualState());
  HostFacts facts = DualFacts();
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(model, facts, observed), observed);
  for (auto& link : observed.links) link.ipv6 = {true, false};
  CHECK(Planned(model, facts, observed).empty());  // the host forwards
  facts.ipv6.forwarding_everywhere = false;
  CHECK(Planned(model, facts, observed).empty());
  facts.ipv6.may_switch = true;
  CHECK(Planned(model, facts, observed) ==
        "~ ipv6 edged0 force_forwarding 1\n"
        "~ ipv6 eth0 force_forwarding 1\n");
  CHECK(SwitchedInterfaces6(facts, observed.links, {}) ==
        std::set<std::string>{"eth0"});
  Make(*PlanRoutes(model, facts, observed), observed);
  CHECK(PlanRoutes(model, facts, observed)->empty());

  // The address moves: the old interface stays guarded until it is off.
  facts.nic_addresses[Ip("2001:db8::1")].interface = "eth1";
  facts.ipv6.switched_interfaces =
      SwitchedInterfaces6(facts, observed.links, {"eth0"});
  CHECK(facts.ipv6.switched_interfaces ==
        std::set<std::string>{"eth0", "eth1"});
  CHECK(Planned(model, facts, observed) ==
        "~ ipv6 eth1 force_forwarding 1\n~ ipv6 eth0 force_forwarding 0\n");
  Make(*PlanRoutes(model, facts, observed), observed);
  CHECK(SwitchedInterfaces6(facts, observed.links, {"eth0", "eth1"}) ==
        std::set<std::string>{"eth1"});
}

TEST_CASE("route_plan: what IPv6 left on the device goes when it is off",
          "[route_plan]") {
  const EdgeModel model = ModelOf(DualState());
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(model, DualFacts(), observed), observed);
  CHECK(Planned(model, SampleFacts(), observed) ==
        "- address fd00:ed::1/128 dev edged0\n"
        "- route fd00:ed:0:0:400::/70\n"
        "- route fd00:ed:0:0:800::/70\n"
        "- route fd00:ed:0:0:c00::/70\n");
}

TEST_CASE("route_plan: removes what is ours and leaves what is not",
          "[route_plan]") {
  const HostFacts facts = SampleFacts();
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(ModelOf(SampleState()), facts, observed), observed);
  protocol::EdgeState state = SampleState();
  state.uplinks.pop_back();
  for (auto& group : state.groups) group.uplinks = {"a", "b"};

  const Route foreign{
      .destination = Net("10.99.0.0/16"), .link = 7, .protocol = 4};
  const Route stray{.destination = Net("10.98.0.0/16"), .link = 2};
  observed.routes.push_back(foreign);
  observed.routes.push_back(stray);  // our number, so nobody else's
  observed.addresses.push_back({7, Ip("10.5.5.5"), 32});
  observed.addresses.push_back({7, Ip("fe80::1"), 64, RT_SCOPE_LINK});
  observed.addresses.push_back({2, Ip("10.6.6.6"), 24});
  CHECK(Planned(ModelOf(state), facts, observed) ==
        "- address 10.5.5.5/32 dev edged0\n"
        "- route 10.200.0.48/28\n"
        "- route 10.98.0.0/16\n");
}

TEST_CASE("route_plan: a route that points elsewhere is put right",
          "[route_plan]") {
  const EdgeModel model = ModelOf(SampleState());
  const HostFacts facts = SampleFacts();
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(model, facts, observed), observed);
  for (auto& route : observed.routes) {
    if (route.destination == Net("10.200.0.32/28")) route.link = 2;
  }
  CHECK(Planned(model, facts, observed) ==
        "+ route 10.200.0.32/28 dev edged0\n");
}

TEST_CASE("route_plan: mends strict rp_filter where there are several ways in",
          "[route_plan]") {
  const EdgeModel model = ModelOf(SampleState());
  HostFacts facts = SampleFacts();
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(model, facts, observed), observed);
  observed.links[1].ipv4.rp_filter = 1;
  observed.links[2].ipv4 = {.forwarding = true, .rp_filter = 1};
  CHECK(Planned(model, facts, observed).empty());
  facts.nic_addresses[Ip("203.0.113.2")].interface = "eth1";
  CHECK(Planned(model, facts, observed) ==
        "~ ipv4 eth0 forwarding 1 rp_filter 2\n"
        "~ ipv4 eth1 forwarding 1 rp_filter 2\n");
  // And where all come in by another one than the default route's.
  for (auto& [address, nic] : facts.nic_addresses) nic.interface = "eth1";
  CHECK(Planned(model, facts, observed).empty());
  facts.arrivals.unnamed = {{.interface = "eth1"}};
  CHECK(Planned(model, facts, observed) ==
        "~ ipv4 eth1 forwarding 1 rp_filter 2\n");
  facts.arrivals = {};
  facts.arrivals.ways = {{.interface = "eth1", .link = 3, .number = 1}};
  CHECK(Planned(model, facts, observed) ==
        "~ ipv4 eth1 forwarding 1 rp_filter 2\n");
}

TEST_CASE("route_plan: says when the device is missing", "[route_plan]") {
  ObservedRoutes observed = Bare();
  observed.links.pop_back();
  CHECK(Planned(EdgeModel(), SampleFacts(), observed) ==
        "FAILED_PRECONDITION: there is no device edged0");
}

TEST_CASE("route_plan: remembers where it switched forwarding on",
          "[route_plan]") {
  const EdgeModel model = ModelOf(SampleState());
  HostFacts facts = SampleFacts();
  ObservedRoutes observed = Bare();
  CHECK(SwitchedInterfaces(facts, observed.links, {}).empty());

  facts.forwarding_everywhere = false;
  facts.switched_interfaces = SwitchedInterfaces(facts, observed.links, {});
  CHECK(facts.switched_interfaces == std::set<std::string>{"eth0"});
  Make(*PlanRoutes(model, facts, observed), observed);
  facts.switched_interfaces =
      SwitchedInterfaces(facts, observed.links, facts.switched_interfaces);
  CHECK(facts.switched_interfaces == std::set<std::string>{"eth0"});

  // An operator's own forwarding is none of our business.
  observed.links[2].ipv4.forwarding = true;
  for (auto& [address, nic] : facts.nic_addresses) nic.interface = "eth1";
  facts.switched_interfaces =
      SwitchedInterfaces(facts, observed.links, facts.switched_interfaces);
  CHECK(facts.switched_interfaces == std::set<std::string>{"eth0"});
  // eth0 has no public address any more: off again, then forgotten.
  CHECK(Planned(model, facts, observed) ==
        "~ ipv4 eth0 forwarding 0 rp_filter 0\n");
  Make(*PlanRoutes(model, facts, observed), observed);
  CHECK(SwitchedInterfaces(facts, observed.links, facts.switched_interfaces)
            .empty());
}

TEST_CASE("route_plan: a way of its own for a second interface, and back",
          "[route_plan][arrival_ways]") {
  const EdgeModel model = ModelOf(SampleState());
  HostFacts facts = SampleFacts();
  ObservedRoutes observed = Bare();
  Make(*PlanRoutes(model, facts, observed), observed);
  observed.routes.push_back({.destination = Net("0.0.0.0/0"),
                             .link = 3,
                             .gateway = Ip("192.0.2.1"),
                             .table = 101,
                             .protocol = 4});
  FindArrivalWays(model.settings(), observed, facts);
  CHECK(Planned(model, facts, observed) ==
        "+ route throw 10.200.0.0/22 table 60929\n"
        "+ route 0.0.0.0/0 via 192.0.2.1 table 60929\n"
        "+ rule fwmark 0xed000001/0xff0000ff lookup 60929\n");
  const RouteChange change = *PlanRoutes(model, facts, observed);
  observed.routes.push_back(change.replaced_routes[1]);
  observed.routes.push_back(change.replaced_routes[0]);
  observed.rules = change.added_rules;
  CHECK(PlanRoutes(model, facts, observed)->empty());
  CHECK(RemovalOfWays(observed).removed_routes.size() == 2);
  CHECK(RemovalOfWays(observed).removed_rules == change.added_rules);
  // The gateway moves: one route takes the place of the other.
  observed.routes[observed.routes.size() - 3].gateway = Ip("192.0.2.2");
  CHECK(Planned(model, facts, observed) ==
        "+ route 0.0.0.0/0 via 192.0.2.2 table 60929\n");
  facts.arrivals = {};
  CHECK(Planned(model, facts, observed) ==
        "- route 0.0.0.0/0 via 192.0.2.1 table 60929\n"
        "- route throw 10.200.0.0/22 table 60929\n"
        "- rule fwmark 0xed000001/0xff0000ff lookup 60929\n");
}

}  // namespace
}  // namespace edged::edge
