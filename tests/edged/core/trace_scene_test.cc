#include "edged/core/trace_scene.h"

#include <linux/netfilter.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_host.h"

namespace edged::edge {
namespace {

using nftables::TraceEvent;
using nftables::TraceStep;
using nftables::TraceVerdict;

// A host with Docker, which translates in rule 7.
TraceScene Scene() {
  TraceScene scene;
  scene.target = *ParseTraceTarget("203.0.113.1:80");
  scene.interfaces = {{2, {"eth0", true}}, {3, {"wan", false}}};
  nftables::AnyTable nat{.family = NFPROTO_IPV4, .name = "nat"};
  nat.chains["PREROUTING"] = {
      .name = "PREROUTING",
      .hook = nftables::AnyHook{"nat", NF_INET_PRE_ROUTING, -100, {}}};
  nat.chains["DOCKER"] = {.name = "DOCKER",
                          .rules = {{7, {nftables::Translate{"dnat"}}},
                                    {8, {nftables::Act{"counter"}}}}};
  scene.tables = {nat};
  return scene;
}

TraceEvent At(const char* chain, uint64_t handle = 0) {
  return {.family = NFPROTO_IPV4,
          .table = "nat",
          .chain = chain,
          .step = handle == 0 ? TraceStep::kPolicy : TraceStep::kRule,
          .verdict = TraceVerdict::kAccept,
          .rule_handle = handle};
}

TEST_CASE("trace_scene: names what an event is of", "[trace_scene]") {
  const TraceScene scene = Scene();
  CHECK(scene.InterfaceName(2) == "eth0");
  CHECK(scene.InterfaceName(9) == "interface 9");
  CHECK(scene.HookOf(At("PREROUTING")) == "prerouting");
  CHECK(scene.HookOf(At("DOCKER")) == "");
  CHECK(scene.HookOf(At("gone")) == "");
  CHECK(scene.PlaceOf(At("DOCKER")) == "table ip nat (docker), chain DOCKER");
  TraceEvent unknown = At("input");
  unknown.table = "newest";
  CHECK(scene.PlaceOf(unknown) == "table ip newest, chain input");
  REQUIRE(scene.RuleOf(At("DOCKER", 8)) != nullptr);
  CHECK(scene.RuleOf(At("DOCKER", 8))->handle == 8);
  CHECK(scene.RuleOf(At("DOCKER", 9)) == nullptr);
  CHECK(scene.RuleOf(unknown) == nullptr);
}

TEST_CASE("trace_scene: tells who translated", "[trace_scene]") {
  const TraceScene scene = Scene();
  const auto lines = scene.TakerOf(At("DOCKER", 7));
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] ==
        "  by `dnat` (handle 7) of table ip nat (docker), chain DOCKER, which "
        "comes before edged");
  CHECK(lines[1] == "  $ nft -a list chain ip nat DOCKER");
  CHECK(scene.TakerOf(At("DOCKER", 8)).empty());
  CHECK(scene.TakerOf(At("PREROUTING")).empty());
}

TEST_CASE("trace_scene: guesses why a packet is gone, or never came",
          "[trace_scene]") {
  TraceScene scene = Scene();
  CHECK(
      scene.WhyNotRouted(3) ==
      std::vector<std::string>{"  wan does not forward",
                               "  $ sysctl -w net.ipv4.conf.wan.forwarding=1"});
  CHECK(scene.WhyNotRouted(2).back() == "  $ edged doctor");
  CHECK(scene.WhyNothingArrived() ==
        "  packets to 203.0.113.1 tcp/80 do not reach this host: the "
        "provider's firewall must let tcp 80 in, or clients ask another "
        "address");
  scene.target.nic_address = AddressOf("10.0.0.4");
  CHECK(scene.WhyNothingArrived().starts_with(
      "  packets to 203.0.113.1 tcp/80 (as 10.0.0.4) do not reach"));
  scene.address_is_local = false;
  CHECK(scene.WhyNothingArrived() ==
        "  10.0.0.4 is not an address of this host, and none that edged maps");
}

}  // namespace
}  // namespace edged::edge
