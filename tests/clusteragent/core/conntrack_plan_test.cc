#include "clusteragent/core/conntrack_plan.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/clusteragent/core/uplink_for_test.h"

namespace edged::agent {
namespace {

constexpr uint8_t kTcpNumber = 6;
constexpr uint8_t kUdpNumber = 17;

// From a client to mapping address `to`, translated to `target`, masqueraded.
netlink::Flow Between(std::string_view to, std::string_view target,
                      uint8_t protocol = kUdpNumber) {
  const SocketAddress listener = *SocketAddress::Parse(to);
  const SocketAddress goes = *SocketAddress::Parse(target);
  return {
      .protocol = protocol,
      .original = {Ip("198.51.100.9"), listener.address, 4000, listener.port},
      .reply = {goes.address, Ip("10.244.1.1"), goes.port, 4000}};
}

UplinkTarget Udp(std::string_view address, uint16_t first, uint16_t last,
                 std::string_view target) {
  return {Ip(address),
          Protocol::kUdp,
          {first, last},
          *SocketAddress::Parse(target)};
}

// Port 53 goes to either of two endpoints, 100 to 200 to one.
FlowTargets Targets() {
  return {.blocks = {*IpPrefix::Parse("10.200.0.16/28"),
                     *IpPrefix::Parse("fd00:ed::400:0:0:0/102")},
          .udp = {Udp("10.200.0.17", 53, 53, "10.244.1.5:5353"),
                  Udp("10.200.0.17", 53, 53, "10.244.1.6:5353"),
                  Udp("10.200.0.17", 100, 200, "10.244.1.5:100"),
                  Udp("fd00:ed::400:0:0:1", 53, 53, "[fd10::5]:53")}};
}

bool IsStale(const netlink::Flow& flow) {
  return StaleFlows(Targets(), Targets().blocks).IsStale(flow);
}

TEST_CASE("conntrack_plan: flows to what a listener's targets are stay",
          "[uplink_conntrack_plan]") {
  CHECK(!IsStale(Between("10.200.0.17:53", "10.244.1.5:5353")));
  CHECK(!IsStale(Between("10.200.0.17:53", "10.244.1.6:5353")));
  CHECK(!IsStale(Between("10.200.0.17:150", "10.244.1.5:150")));
  CHECK(!IsStale(Between("[fd00:ed::400:0:0:1]:53", "[fd10::5]:53")));
}

TEST_CASE("conntrack_plan: a UDP flow goes with its target",
          "[uplink_conntrack_plan]") {
  CHECK(IsStale(Between("10.200.0.17:53", "10.244.1.7:5353")));
  CHECK(IsStale(Between("10.200.0.17:53", "10.244.1.5:53")));
  CHECK(IsStale(Between("10.200.0.17:150", "10.244.1.6:150")));
  CHECK(IsStale(Between("10.200.0.17:150", "10.244.1.5:151")));
  CHECK(IsStale(Between("[fd00:ed::400:0:0:1]:53", "[fd10::6]:53")));
  // Its mapping is gone, or came after it.
  CHECK(IsStale(Between("10.200.0.17:54", "10.244.1.5:5353")));
  CHECK(IsStale(Between("10.200.0.18:53", "10.244.1.5:5353")));
  CHECK(IsStale(Between("10.200.0.17:53", "10.200.0.17:53")));
}

TEST_CASE("conntrack_plan: TCP and what is not ours is left alone",
          "[uplink_conntrack_plan]") {
  CHECK(!IsStale(Between("10.200.0.17:53", "10.244.1.7:5353", kTcpNumber)));
  CHECK(!IsStale(Between("10.200.0.17:80", "10.244.1.7:80", kTcpNumber)));
  // This uplink's own address, another's, and those of others.
  CHECK(!IsStale(Between("10.200.0.16:53", "10.200.0.16:53")));
  CHECK(!IsStale(Between("10.200.0.33:53", "10.244.1.7:53")));
  CHECK(!IsStale(Between("192.168.1.10:53", "10.244.1.7:53")));
}

std::string Where(const FlowTargets& before, const FlowTargets& after) {
  const auto filters = WhereStale(before, after);
  if (!filters) return "everywhere\n";
  std::string text;
  for (const auto& filter : *filters) text += filter.ToString() + "\n";
  return text;
}

TEST_CASE("conntrack_plan: only listeners that changed are looked at",
          "[uplink_conntrack_plan]") {
  FlowTargets after = Targets();
  CHECK(Where(Targets(), after) == "");
  after.udp[1].target = *SocketAddress::Parse("10.244.1.7:5353");
  CHECK(Where(Targets(), after) == "udp original destination 10.200.0.17:53\n");
  after.udp.erase(after.udp.begin() + 2);
  CHECK(Where(Targets(), after) ==
        "udp original destination 10.200.0.17\n"
        "udp original destination 10.200.0.17:53\n");
  for (uint16_t port = 300; port < 320; ++port) {
    after.udp.push_back(Udp("fd00:ed::400:0:0:2", port, port, "[fd10::5]:53"));
  }
  CHECK(Where(Targets(), after) == "everywhere\n");
}

TEST_CASE("conntrack_plan: a plan says where its UDP flows go",
          "[uplink_conntrack_plan]") {
  const FlowTargets flows = Make(InputFor({"a", "b"})).flows;
  std::string text;
  for (const IpPrefix& block : flows.blocks) text += block.ToString() + "\n";
  for (const UplinkTarget& target : flows.udp) {
    text += fmt::format("{} {} to {}\n", target.address.ToString(),
                        target.ports.ToString(), target.target.ToString());
  }
  CHECK(text ==
        "10.200.0.16/28\n"
        "10.200.4.16/28\n"
        "10.200.0.17 100-200 to 10.0.0.5:100\n"
        "10.200.4.17 100-200 to 10.0.0.5:100\n");
}

}  // namespace
}  // namespace edged::agent
