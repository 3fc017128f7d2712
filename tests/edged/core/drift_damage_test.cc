#include "edged/core/drift_damage.h"

#include <linux/netconf.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

using netlink::RouteEvent;
using nftables::Event;
using nftables::EventKind;
using nftables::EventObject;

Event Deleted(EventObject object, const std::string& name) {
  return {.kind = EventKind::kDeleted,
          .object = object,
          .table = "edged",
          .name = name,
          .port = 77,
          .pid = 77,
          .process = "nft"};
}

Event DeletedElements(const std::string& set, size_t count, size_t told) {
  Event event = Deleted(EventObject::kElements, set);
  event.count = count;
  for (size_t i = 0; i < told; ++i) {
    event.elements.emplace_back().key =
        nftables::MarkBytes(static_cast<uint32_t>(i));
  }
  return event;
}

// As the sample edge's host is: eth0 has the public addresses and the default
// route, docker0 nothing to do with us.
ObservedRoutes SampleHost() {
  return {.links = {{.index = 2, .name = "eth0", .mtu = 1500, .up = true},
                    {.index = 3, .name = "edged0", .mtu = 1420, .up = true},
                    {.index = 4, .name = "docker0", .mtu = 1500, .up = true},
                    {.index = 5, .name = "eth1", .mtu = 1500, .up = true}},
          .routes = {{.destination = Net("0.0.0.0/0"), .link = 5}}};
}

bool Concerns(RouteEvent event) {
  return ConcernsEdge(event, SampleState().settings, SampleFacts(),
                      SampleHost());
}

netlink::Link LinkOf(int index) {
  for (const auto& link : SampleHost().links) {
    if (link.index == index) return link;
  }
  return {.index = index, .name = "new"};
}

}  // namespace

TEST_CASE("table_damage: rules and elements are looked at alone",
          "[table_damage]") {
  TableDamage damage;
  CHECK(damage.empty());
  damage.Add(Deleted(EventObject::kRule, "forward"));
  damage.Add(DeletedElements("ports4", 2, 2));
  damage.Add(DeletedElements("ports4", 1, 1));
  CHECK(!damage.whole());
  CHECK(damage.chains() == std::set<std::string>{"forward"});
  REQUIRE(damage.elements().size() == 1);
  CHECK(damage.elements().at("ports4").size() == 3);
  CHECK(damage.report().What() ==
        "1 rule of forward deleted, 2 elements of ports4 deleted, 1 element of "
        "ports4 deleted");
  CHECK(damage.report().by() == Culprit{77, "nft", 77});
}

TEST_CASE("table_damage: other tables are nobody's business",
          "[table_damage]") {
  TableDamage damage;
  Event event = Deleted(EventObject::kTable, "");
  event.table = "edged-guard";
  damage.Add(event);
  CHECK(damage.empty());
}

TEST_CASE("table_damage: what is not told exactly takes a whole look",
          "[table_damage]") {
  for (const auto object : {EventObject::kTable, EventObject::kChain,
                            EventObject::kSet, EventObject::kOther}) {
    TableDamage damage;
    damage.Add(Deleted(object, "x"));
    CHECK(damage.whole());
  }
  TableDamage untold;
  untold.Add(DeletedElements("ports4", 65, 64));
  CHECK(untold.whole());
  TableDamage many;
  for (int i = 0; i < 5; ++i) many.Add(DeletedElements("ports4", 64, 64));
  CHECK(many.whole());
  TableDamage lost;
  lost.AddUnknown();
  CHECK(lost.whole());
  CHECK(lost.report().What() == "changes that the kernel could not tell");
}

TEST_CASE("table_damage: a deleted table is told before its parts",
          "[table_damage]") {
  TableDamage damage;
  for (const char* set : {"a", "b", "c", "d", "e"}) {
    damage.Add(Deleted(EventObject::kSet, set));
  }
  CHECK(damage.report().What() ==
        "set a deleted, set b deleted, set c deleted and 2 more");
  damage.Add(Deleted(EventObject::kTable, ""));
  CHECK(damage.report().What() == "table deleted");
  CHECK(damage.report().changes() == 6);
}

TEST_CASE("network_damage: the first whom the kernel names is the culprit",
          "[network_damage]") {
  NetworkDamage damage;
  const netlink::Route route{.destination = Net("10.200.0.16/28"), .link = 3};
  damage.Add({.object = LinkOf(3)});
  damage.Add({.removed = true, .port = 9, .object = route});
  damage.Add({.removed = true, .port = 10, .object = route});
  CHECK(damage.report().What() ==
        "link edged0 (3), removed: route 10.200.0.16/28 table 254 protocol "
        "237");
  CHECK(damage.report().by() == Culprit{.port = 9});
  CHECK(damage.report().changes() == 3);
  damage.Add({.removed = true, .object = LinkOf(3)});  // and all with it
  CHECK(damage.report().What() == "removed: link edged0 (3)");
}

TEST_CASE("concerns_edge: our device, its addresses and routes",
          "[concerns_edge]") {
  CHECK(Concerns({.object = LinkOf(3)}));
  CHECK(Concerns({.removed = true, .object = LinkOf(3)}));
  const netlink::Address address{3, Ip("10.200.0.1"), 32};
  CHECK(Concerns({.removed = true, .object = address}));
  const netlink::Route on_device{
      .destination = Net("192.0.2.0/24"), .link = 3, .protocol = 4};
  CHECK(Concerns({.object = on_device}));
  const netlink::Route ours{.destination = Net("10.200.0.16/28"), .link = 99};
  CHECK(Concerns({.removed = true, .object = ours}));
  // Somebody's rule may lead packets away from the main table.
  CHECK(Concerns({.object = netlink::PolicyRule{.protocol = 2}}));
  // In the place of ours, or beside it.
  for (const char* place : {"10.200.0.16/28", "10.200.0.17/32"}) {
    CHECK(Concerns({.object = netlink::Route{
                        .destination = Net(place), .link = 4, .protocol = 3}}));
  }
  CHECK(Concerns({.removed = true, .object = netlink::PolicyRule{}}));
  CHECK(Concerns({.object = netlink::Netconf{.link = 3}}));
}

TEST_CASE("concerns_edge: public interfaces, and those of the default route",
          "[concerns_edge]") {
  for (const int index : {2, 5}) {
    CHECK(Concerns({.removed = true, .object = LinkOf(index)}));
    netlink::Link link = LinkOf(index);
    CHECK(!Concerns({.object = link}));  // as it was: counters, neighbours
    link.mtu = 1400;
    CHECK(Concerns({.object = link}));
    link = LinkOf(index);
    link.ipv4.forwarding = true;
    CHECK(Concerns({.object = link}));
    const netlink::Address address{index, Ip("192.0.2.7"), 24};
    CHECK(Concerns({.object = address}));
    CHECK(Concerns({.object = netlink::Netconf{.link = index}}));
  }
  CHECK(Concerns({.object = netlink::Netconf{.link = NETCONFA_IFINDEX_ALL}}));
  // A public address may come anywhere.
  const netlink::Address address{4, Ip("203.0.113.2"), 24};
  CHECK(Concerns({.object = address}));
  const netlink::Route default_route{
      .destination = Net("0.0.0.0/0"), .link = 4, .protocol = 16};
  CHECK(Concerns({.object = default_route}));
}

TEST_CASE("concerns_edge: whatever leads to an uplink", "[concerns_edge]") {
  HostFacts facts = SampleFacts();
  facts.underlay = {{Ip("198.51.100.7"), 4}};
  const auto concerns = [&facts](RouteEvent event) {
    return ConcernsEdge(event, SampleState().settings, facts, SampleHost());
  };
  netlink::Link link = LinkOf(4);
  link.mtu = 1400;
  CHECK(concerns({.object = link}));
  netlink::Route route{
      .destination = Net("198.51.100.0/24"), .link = 9, .protocol = 4};
  CHECK(concerns({.object = route}));
  route.table = 7;
  CHECK(!concerns({.object = route}));
  route = {.destination = Net("192.0.2.0/24"), .link = 9, .protocol = 4};
  CHECK(!concerns({.object = route}));
}

TEST_CASE("concerns_edge: routes of tables that rules lead to",
          "[concerns_edge]") {
  HostFacts facts = SampleFacts();
  facts.underlay = {{Ip("198.51.100.7"), 4}};
  ObservedRoutes host = SampleHost();
  const auto concerns = [&](const char* destination) {
    const netlink::Route route{.destination = Net(destination),
                               .link = 4,
                               .table = 100,
                               .protocol = 3};
    return ConcernsEdge({.object = route}, SampleState().settings, facts, host);
  };
  for (const char* place : {"10.200.0.17/32", "198.51.100.0/24"}) {
    INFO(place);
    host.tables.erase(100);
    CHECK(!concerns(place));
    host.tables.insert(100);
    CHECK(concerns(place));
  }
  CHECK(!concerns("172.17.0.0/16"));
}

TEST_CASE("concerns_edge: what tells the gateway of an interface",
          "[concerns_edge][arrival_ways]") {
  HostFacts facts = SampleFacts();
  const auto concerns = [&](const char* destination) {
    const netlink::Route route{.destination = Net(destination),
                               .link = 4,
                               .table = 101,
                               .protocol = 3};
    return ConcernsEdge({.object = route}, SampleState().settings, facts,
                        SampleHost());
  };
  CHECK(concerns("0.0.0.0/0"));  // in whatever table
  CHECK(!concerns("10.0.0.0/8"));
  const std::string name = "docker0";
  facts.arrivals.ways = {{.interface = name, .link = 4, .number = 1}};
  CHECK(concerns("10.0.0.0/8"));
  facts.arrivals = {.unnamed = {{.interface = name}}};
  CHECK(concerns("10.0.0.0/8"));
}

TEST_CASE("concerns_edge: not what containers do", "[concerns_edge]") {
  netlink::Link link = LinkOf(4);
  link.up = false;
  CHECK(!Concerns({.object = link}));
  CHECK(!Concerns({.removed = true, .object = link}));
  CHECK(!Concerns({.object = LinkOf(17)}));
  const netlink::Address address{4, Ip("172.17.0.1"), 16};
  CHECK(!Concerns({.object = address}));
  const netlink::Route route{
      .destination = Net("172.17.0.0/16"), .link = 4, .protocol = 2};
  CHECK(!Concerns({.object = route}));
  CHECK(!Concerns({.object = netlink::Netconf{.link = 4}}));
}

}  // namespace edged::edge
