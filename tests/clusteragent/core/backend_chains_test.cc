#include "clusteragent/core/backend_chains.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "clusteragent/core/uplink_plan.h"
#include "common/nftables/check.h"
#include "common/nftables/print.h"
#include "tests/clusteragent/core/cluster_for_test.h"
#include "tests/clusteragent/core/uplink_for_test.h"
#include "tests/fakes/packet_walk.h"

namespace edged::agent {
namespace {

using nftables::HookPoint;
using nftables::Packet;

nftables::Table TableOf(const World& world) {
  return Make(Ipv6InputFor({"a"}), world).table;
}

// Where a client's packet goes when jhash gives `hash`.
std::string Goes(const nftables::Table& table, const char* destination,
                 uint16_t port, uint32_t hash, uint8_t protocol = 6) {
  const Packet packet{.iif = kDeviceA,
                      .oif = "eth0",
                      .source = Ip(Ip(destination).is_ipv4() ? "198.51.100.9"
                                                             : "2001:db8:9::9"),
                      .destination = Ip(destination),
                      .protocol = protocol,
                      .source_port = 40000,
                      .destination_port = port};
  return nftables::WalkHooks(
      table,
      {HookPoint::kPrerouting, HookPoint::kForward, HookPoint::kPostrouting},
      packet, hash);
}

std::string Served(const std::string& target) {
  return "prerouting: ct mark 0x00000001, dnat to " + target +
         ", accept; forward: accept; postrouting: masquerade, accept";
}

// A public address of edge "a".
constexpr char kIpv4[] = "10.200.0.17";

TEST_CASE("backend_chains: a connection goes to one of the endpoints",
          "[backend_chains]") {
  const nftables::Table table = TableOf(WithService());
  CHECK(Goes(table, kIpv4, 80, 0) == Served("10.1.0.1:8080"));
  CHECK(Goes(table, kIpv4, 80, 1) == Served("10.1.0.2:8080"));
  CHECK(Goes(table, kIpv4, 81, 1) == Served("10.1.0.2:8080"));
  CHECK(Goes(table, kIpv4, 101, 1, 17) == Served("10.1.0.2"));
  CHECK(Goes(table, kIpv4, 102, 1, 17) ==
        "prerouting: ct mark 0x00000001, reject");
}

TEST_CASE("backend_chains: endpoints of each family serve its own clients",
          "[backend_chains]") {
  const World world = WithService();
  const nftables::Table table = TableOf(world);
  std::string address;
  for (const auto& set : table.sets) {
    if (set.set.name != "backends6") continue;
    REQUIRE(set.elements.size() == 1);
    address =
        IpAddress::FromBytes(std::span(set.elements[0].key.data(), size_t{16}))
            .ToString();
  }
  CHECK(Goes(table, address.c_str(), 80, 0) == Served("[fd00:1::1]:8080"));
  CHECK(Goes(table, address.c_str(), 80, 1) == Served("[fd00:1::2]:8080"));
}

TEST_CASE("backend_chains: listeners of one Service share a chain",
          "[backend_chains]") {
  const std::string text = nftables::Print(TableOf(WithService()));
  CHECK(text.find(R"(	map backends4 {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.200.0.17 . tcp . 80 : goto to-9b0d9447643d,
			     10.200.0.17 . tcp . 81 : goto to-9b0d9447643d }
	}
)") != std::string::npos);
  CHECK(text.find("iifname @tunnels ip daddr . meta l4proto . th dport vmap "
                  "@backends4\n") != std::string::npos);
  CAPTURE(text);
  CHECK(text.find("dnat ip to jhash ip saddr . tcp sport mod 2 seed 0xb0bca7 "
                  "map { 0 : 10.1.0.1 . 8080, 1 : 10.1.0.2 . 8080 }") !=
        std::string::npos);
}

TEST_CASE("backend_chains: the kernel takes every object of the table",
          "[backend_chains]") {
  World world = WithService();
  world.cluster->services[0].client_ip_affinity = true;
  const nftables::Table table = TableOf(world);
  for (const auto& set : table.sets) {
    CHECK(nftables::CheckSet(set.set).ok());
    for (const auto& element : set.elements) {
      CHECK(nftables::CheckElement(set.set, element).ok());
    }
  }
  for (const auto& chain : table.chains) {
    for (const auto& rule : chain.rules) {
      CHECK(nftables::CheckRule(rule).ok());
    }
  }
}

TEST_CASE("backend_chains: a listener with a timeout stands once in its map",
          "[backend_chains]") {
  World world = WithService();
  world.port_bindings[0].bindings[0].tcp =
      TcpOptions{.idle_timeout = WrittenDuration{"1h", std::chrono::hours(1)}};
  const nftables::Table table = TableOf(world);
  int found = 0;
  for (const auto& set : table.sets) {
    if (set.set.name != "timeouts4") continue;
    found += static_cast<int>(set.elements.size());
  }
  CHECK(found == 1);
}

TEST_CASE("backend_chains: an endpoint more changes one rule of one chain",
          "[backend_chains]") {
  World world = WithService();
  const nftables::Table before = TableOf(world);
  world.cluster->slices[0].endpoints.push_back(Ready("10.1.0.3"));
  const nftables::Table after = TableOf(world);
  CHECK(before.sets == after.sets);
  REQUIRE(before.chains.size() == after.chains.size());
  int changed = 0;
  for (size_t i = 0; i < before.chains.size(); ++i) {
    CHECK(before.chains[i].name == after.chains[i].name);
    changed += before.chains[i] == after.chains[i] ? 0 : 1;
  }
  CHECK(changed == 2);  // of TCP, and of the UDP range
}

TEST_CASE("backend_chains: one endpoint needs no choice, none refuses at once",
          "[backend_chains]") {
  World world = WithService();
  world.cluster->slices[0].endpoints.pop_back();
  world.cluster->slices.pop_back();
  const nftables::Table table = TableOf(world);
  CHECK(Goes(table, kIpv4, 80, 1) == Served("10.1.0.1:8080"));
  CHECK(nftables::Print(table).find("backends4") == std::string::npos);
  world.cluster->slices.clear();
  CHECK(Goes(TableOf(world), kIpv4, 80, 0) ==
        "prerouting: ct mark 0x00000001, reject with tcp reset");
}

std::vector<SocketAddress> Endpoints(uint32_t count) {
  std::vector<SocketAddress> endpoints;
  for (uint32_t i = 0; i < count; ++i) {
    endpoints.push_back({IpAddress::FromIpv4(0x0a010000 + i), 80});
  }
  return endpoints;
}

TEST_CASE("backend_chains: a client stays where it is when others come",
          "[backend_chains]") {
  const auto before = DealEndpoints(Endpoints(4), true);
  const auto after = DealEndpoints(Endpoints(5), true);
  REQUIRE(before.size() == 256);
  REQUIRE(after.size() == 256);
  std::map<SocketAddress, int> share;
  int moved = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    ++share[after[i]];
    moved += before[i] == after[i] ? 0 : 1;
  }
  CHECK(share.size() == 5);
  for (const auto& [endpoint, count] : share) CHECK(count >= 51);
  CHECK(moved < 70);
}

TEST_CASE("backend_chains: without affinity one slot is one endpoint",
          "[backend_chains]") {
  CHECK(DealEndpoints(Endpoints(3), false) == Endpoints(3));
  CHECK(DealEndpoints(Endpoints(1000), false) == Endpoints(256));
  CHECK(DealEndpoints(Endpoints(1000), true).size() == 256);
}

}  // namespace
}  // namespace edged::agent
