#include "clusteragent/core/uplink_plan.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "common/nftables/print.h"
#include "tests/clusteragent/core/uplink_for_test.h"

namespace edged::agent {
namespace {

std::string Text(const UplinkDevice& device) {
  std::string text = fmt::format("{} mtu {} forwarding {} rp_filter {}\n",
                                 device.wireguard.name, device.mtu,
                                 device.conf.forwarding, device.conf.rp_filter);
  for (const wireguard::Peer& peer : device.wireguard.peers) {
    text += fmt::format("peer {} at {} keepalive {}:", peer.key.Short(),
                        peer.endpoint ? peer.endpoint->ToString() : "-",
                        peer.keepalive_seconds);
    for (const IpPrefix& prefix : peer.allowed_ips) {
      text += " " + prefix.ToString();
    }
    text += "\n";
  }
  for (const netlink::Address& address : device.addresses) {
    text += fmt::format("address {}/{}\n", address.address.ToString(),
                        address.prefix_length);
  }
  for (const netlink::Route& route : device.routes) {
    text += fmt::format("route {} table 0x{:x} from {}\n",
                        route.destination.ToString(), route.table,
                        route.source ? route.source->ToString() : "-");
  }
  return text;
}

TEST_CASE("uplink_plan: a device per edge with its policy table",
          "[uplink_plan]") {
  const UplinkPlan plan = Make(InputFor({"a", "b"}));
  REQUIRE(plan.devices.size() == 2);
  CHECK(Text(plan.devices[1]) ==
        fmt::format(R"({} mtu 1420 forwarding true rp_filter 2
peer BwcHBwcH at 203.0.113.1:51820 keepalive 25: 0.0.0.0/0 ::/0
address 10.200.4.16/32
route 10.200.4.1/32 table 0xfe from 10.200.4.16
route 0.0.0.0/0 table 0xed02 from -
)",
                    kDeviceB));
  CHECK(plan.devices[1].wireguard.private_key ==
        PrivateKey(KeyNumber(0x40).bytes()));
  REQUIRE(plan.rules.size() == 2);
  CHECK(plan.rules[1] == netlink::Rule{.family = Family::kIpv4,
                                       .priority = 100,
                                       .mark = 2,
                                       .mask = 0xff,
                                       .table = 0xed02});
  CHECK(plan.links.empty());
}

TEST_CASE("uplink_plan: a device's name fits and stays", "[uplink_plan]") {
  const Plan plan = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  EdgePlan edge = *plan.Edge("a");
  CHECK(DeviceName(edge, "home") == kDeviceA);
  CHECK(DeviceName(*plan.Edge("b"), "home") == kDeviceB);
  CHECK(DeviceName(edge, "other") != kDeviceA);
  edge.uid = "5e6c";
  CHECK(DeviceName(edge, "home") != kDeviceA);
  CHECK(DeviceName(edge, "home").size() <= 15);
}

TEST_CASE("uplink_plan: what happens beside it takes no repair",
          "[uplink_plan]") {
  const std::map<std::string, int> devices = {{kDeviceA, 7}};
  UplinkPlan plan;
  plan.devices.push_back(
      {.routes = {{.destination = *IpPrefix::Parse("0.0.0.0/0"),
                   .table = kPolicyTableBase + 1}}});
  const auto concerns = [&](auto object, bool removed = false) {
    return ConcernsUplink({.removed = removed, .object = object}, plan,
                          devices);
  };
  const netlink::Link device{.index = 7, .name = kDeviceA};
  CHECK(concerns(device, true));
  CHECK(concerns(netlink::Link{.index = 9, .name = kDeviceA}));
  CHECK(!concerns(netlink::Link{.index = 9, .name = "docker0"}));
  CHECK(concerns(netlink::Address{.link = 7}));
  CHECK(!concerns(netlink::Address{.link = 9}));
  CHECK(concerns(netlink::Route{.link = 7}));
  CHECK(!concerns(netlink::Route{.link = 9}));
  CHECK(concerns(netlink::Route{.kind = netlink::RouteKind::kBlackhole,
                                .table = kPolicyTableBase + 1}));
  CHECK(concerns(netlink::Netconf{.link = 7}));
  CHECK(!concerns(netlink::Netconf{.link = 9}));
  CHECK(concerns(netlink::PolicyRule{.protocol = netlink::kRouteProtocol}));
  CHECK(!concerns(netlink::PolicyRule{.protocol = 2}));
}

TEST_CASE("uplink_plan: the tunnel of an edge that carries IPv6",
          "[uplink_plan]") {
  const UplinkPlan plan = Make(Ipv6InputFor({"a"}), BothFamilies());
  CHECK(Text(plan.devices.at(0)) ==
        R"(eu-6f72ef82 mtu 1420 forwarding true rp_filter 2
peer BwcHBwcH at 203.0.113.1:51820 keepalive 25: 0.0.0.0/0 ::/0
address 10.200.0.16/32
address fd6a:3863:fc1a:1:400::/128
route 10.200.0.1/32 table 0xfe from 10.200.0.16
route 0.0.0.0/0 table 0xed01 from -
route fd6a:3863:fc1a:1::1/128 table 0xfe from fd6a:3863:fc1a:1:400::
route ::/0 table 0xed01 from -
)");
  REQUIRE(plan.rules.size() == 2);
  CHECK(plan.rules[1] == netlink::Rule{.family = Family::kIpv6,
                                       .priority = 100,
                                       .mark = 1,
                                       .mask = 0xff,
                                       .table = 0xed01});
}

TEST_CASE("uplink_plan: answers find a way where there is no default route",
          "[uplink_plan]") {
  UplinkInput input = Ipv6InputFor({"a", "b"});
  const auto added = [&] {
    const UplinkPlan plan = Make(input, BothFamilies());
    std::string text;
    for (const netlink::Route& route : plan.devices.at(0).routes) {
      if (route.table != 0xed00) continue;
      text += fmt::format("{} from {}\n", route.destination.ToString(),
                          route.source ? route.source->ToString() : "-");
    }
    for (const netlink::Rule& rule : plan.rules) {
      if (rule.mask != 0) continue;
      text +=
          fmt::format("rule of IPv{} at {}: {:#x}\n",
                      static_cast<int>(rule.family), rule.priority, rule.table);
    }
    return text;
  };
  CHECK(added().empty());
  input.without_default = {Family::kIpv6};
  CHECK(added() == "::/0 from fd10::1\nrule of IPv6 at 40000: 0xed00\n");
  input.without_default = {Family::kIpv4};
  CHECK(added() == "0.0.0.0/0 from -\nrule of IPv4 at 40000: 0xed00\n");
  input.without_default = {Family::kIpv6};
  input.ipv6.carried = false;
  CHECK(added().empty());
}

TEST_CASE("uplink_plan: a host without IPv6 has none of it in its plan",
          "[uplink_plan]") {
  const UplinkPlan plan = Make(InputFor({"a"}), BothFamilies());
  for (const auto& route : plan.devices.at(0).routes) {
    CHECK(route.destination.family() == Family::kIpv4);
  }
  CHECK(plan.devices.at(0).addresses.size() == 1);
  CHECK(plan.rules.size() == 1);
  CHECK(nftables::Print(plan.table) ==
        nftables::Print(Make(InputFor({"a"})).table));
}

TEST_CASE("uplink_plan: edges that cannot be reached yet are left out",
          "[uplink_plan]") {
  UplinkInput input = InputFor({"a", "b"});
  input.access["a"].edge_key.reset();
  input.access["b"].endpoint.reset();
  const UplinkPlan plan = Make(input);
  REQUIRE(plan.devices.size() == 1);
  CHECK(plan.devices[0].edge == "b");
  CHECK(plan.devices[0].wireguard.peers[0].endpoint == std::nullopt);
  CHECK(Make(InputFor({})).devices.empty());
  World elsewhere = TwoEdges();
  elsewhere.edge_nodes[0].uplink_selector.match_labels = {{"zone", "x"}};
  CHECK(Make(InputFor({"a"}), elsewhere).devices.empty());
}

TEST_CASE("uplink_plan: the MTU follows the link below unless it is given",
          "[uplink_plan]") {
  UplinkInput input = InputFor({"a"});
  World world = TwoEdges();
  const auto mtu = [&] { return Make(input, world).devices.at(0).mtu; };
  CHECK(mtu() == 1420);  // nothing is known
  input.access["a"].underlay_mtu = 9000;
  CHECK(mtu() == 8940);
  input.access["a"].endpoint = SocketAddress{Ip("2001:db8::1"), 51820};
  CHECK(mtu() == 8920);
  input.access["a"].underlay_mtu = 1300;
  CHECK(mtu() == 1220);
  input.access["a"].endpoint.reset();
  CHECK(mtu() == 1420);
  world.edge_nodes[0].tunnel.mtu = 1380;
  CHECK(mtu() == 1380);
}

TEST_CASE("uplink_plan: routes are limited to what comes through",
          "[uplink_plan]") {
  UplinkInput input = Ipv6InputFor({"a"});
  World world = BothFamilies();
  const auto mtus = [&] {
    const UplinkDevice device = Make(input, world).devices.at(0);
    std::string text = fmt::format("{}/{}:", device.own_mtu, device.mtu);
    for (const auto& route : device.routes) {
      text += fmt::format(" {}", route.mtu);
    }
    return text;
  };
  // To the API and out, of IPv4 and of IPv6.
  EdgeAccess& access = input.access["a"];
  access.underlay_mtu = 1500;
  CHECK(mtus() == "1440/1440: 0 0 0 0");
  access.path_mtu = 1440;
  CHECK(mtus() == "1440/1440: 0 0 0 0");
  access.path_mtu = 1312;
  CHECK(mtus() == "1440/1440: 1312 1312 1312 1312");
  access.path_mtu = 1216;
  CHECK(mtus() == "1440/1440: 1216 1216 1280 1280");
  // The device keeps its IPv6; what would not fit whole goes in fragments.
  access.underlay_mtu = 1280;
  CHECK(mtus() == "1220/1280: 1216 1216 0 0");
  world = TwoEdges();
  CHECK(mtus() == "1220/1220: 1216 1216 0 0");
}

TEST_CASE("uplink_plan: the control device reaches the API and nothing else",
          "[uplink_plan]") {
  const Plan plan = PlanOf(TwoEdges(), FactsFor({"a", "b"}));
  EdgeAccess access = InputFor({"a"}).access["a"];
  const PrivateKey control(KeyNumber(0x50).bytes());
  const auto device =
      MakeControlDevice(*plan.Edge("a"), access, control, "home");
  REQUIRE(device.ok());
  CHECK(Text(*device) == R"(ec-6f72ef82 mtu 1420 forwarding false rp_filter 2
peer BwcHBwcH at 203.0.113.1:51820 keepalive 25: 10.200.0.1/32
address 10.200.0.2/32
route 10.200.0.1/32 table 0xfe from 10.200.0.2
)");
  CHECK(device->wireguard.private_key == control);
  access.edge_key.reset();
  CHECK(MakeControlDevice(*plan.Edge("a"), access, control, "home")
            .status()
            .message() == "EdgeNode a: its public key is not known yet");
}

}  // namespace
}  // namespace edged::agent
