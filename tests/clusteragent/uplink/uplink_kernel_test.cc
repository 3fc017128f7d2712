#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "clusteragent/uplink/uplink.h"
#include "common/status.h"
#include "tests/clusteragent/uplink/carried_edges.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/netlink/veth_pair.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::agent {
namespace {

using wireguard::Run;

// A host in a network namespace of its own: near 10.9.0.1/24 on a veth, and an
// uplink "home" on it. What it made goes with it.
class Host {
 public:
  Host() {
    if (!own_) return;
    if (const std::string reason = WhyNoUplink(); !reason.empty()) {
      std::printf("SKIPPED: %s\n", reason.c_str());
      return;
    }
    rtnetlink_ = std::make_unique<netlink::Rtnetlink>(netlink::OpenRtnetlink());
    if (!netlink::MakePair(*rtnetlink_)) return;
    Run("ip link set lo up");
    auto nft = nftables::Client::Open();
    auto wireguard =
        wireguard::OpenClient(wireguard::BackendChoice::kAuto, kWireguardGo);
    if (!nft.ok() || !wireguard.ok()) {
      std::printf(
          "SKIPPED: %s\n",
          std::string(Message(nft.ok() ? wireguard.status() : nft.status()))
              .c_str());
      return;
    }
    nft_ = *std::move(nft);
    wireguard_ = *std::move(wireguard);
    Restart({});
  }
  ~Host() {
    if (uplink_) {
      for (const std::string& device : uplink_->devices()) {
        CHECK(wireguard_->Remove(device).ok());
      }
    }
  }
  explicit operator bool() const { return uplink_ != nullptr; }

  // As after a new start of the agent that remembers these devices.
  void Restart(std::vector<std::string> devices) {
    uplink_ = std::make_unique<Uplink>(
        *nft_, *wireguard_, *rtnetlink_, std::move(devices),
        [](const std::vector<std::string>&) { return absl::OkStatus(); });
  }
  Uplink& uplink() { return *uplink_; }

  // Two edges "a" and "b", or some of them, with a mapping to 10.9.0.5 each.
  UplinkPlan PlanFor(const std::vector<std::string>& edges) {
    UplinkInput input{.uplink = "home", .access = AccessTo(edges)};
    input.target_links = uplink_->RoutesTo({netlink::Ip("10.9.0.5")})->used;
    return MakeUplinkPlan(PlanToCarry(edges, run_), input).value();
  }
  void Apply(const std::vector<std::string>& edges,
             Uplink::Compare compare = Uplink::Compare::kAll) {
    const absl::Status status = uplink_->Apply(PlanFor(edges), compare).status;
    INFO(status);
    REQUIRE(status.ok());
  }

 private:
  static std::string RandomText() {
    return std::to_string(std::random_device()());
  }

  const netlink::OwnNamespace own_;
  // Sockets of wireguard-go are shared by all namespaces: names must differ.
  const std::string run_ = RandomText();
  std::unique_ptr<netlink::Rtnetlink> rtnetlink_;
  std::unique_ptr<nftables::Client> nft_;
  std::unique_ptr<wireguard::Client> wireguard_;
  std::unique_ptr<Uplink> uplink_;
};

// What tools of others see; handles tell what was made anew.
std::string Seen() {
  return Run("nft -a list ruleset") + Run("ip -j -4 addr") +
         Run("ip -j -4 route show table all") + Run("ip -j rule");
}

// How often `text` holds `word`.
int Count(const std::string& text, const std::string& word) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string::npos;
       at = text.find(word, at + 1)) {
    ++count;
  }
  return count;
}

TEST_CASE("uplink: makes what the plan says, and the same plan changes nothing",
          "[uplink]") {
  Host host;
  if (!host) return;
  host.Apply({"a", "b"});
  REQUIRE(host.uplink().devices().size() == 2);
  const std::string rules = Run("ip rule");
  CHECK(Count(rules, "fwmark 0x1/0xff lookup 60673 proto 237") == 1);
  CHECK(Count(rules, "fwmark 0x2/0xff lookup 60674 proto 237") == 1);
  const std::string device = host.uplink().devices()[0];
  CHECK(Run("ip route show table 60673") ==
        "default dev " + device + " proto 237 scope link \n");
  CHECK(Count(Run("ip -4 -o addr show dev " + device), "10.200.0.16/32") == 1);
  CHECK(Count(Run("nft list table inet clusteragent"),
              "10.200.0.17 . tcp . 80 : 10.9.0.5 . 80") == 1);
  CHECK(Run("cat /proc/sys/net/ipv4/conf/" + device + "/forwarding") == "1\n");
  CHECK(Run("cat /proc/sys/net/ipv4/conf/near/forwarding") == "1\n");

  const std::string seen = Seen();
  host.Apply({"a", "b"});
  CHECK(Seen() == seen);
  // Nor does a new process that remembers its devices.
  host.Restart(host.uplink().devices());
  host.Apply({"a", "b"});
  CHECK(Seen() == seen);
}

TEST_CASE("uplink: a device that is as it was made is compared where asked for",
          "[uplink]") {
  Host host;
  if (!host) return;
  host.Apply({"a", "b"});
  const std::string device = host.uplink().devices().at(0);
  const auto is_up = [&] {
    return Count(Run("ip -br link show up"), device) == 1;
  };
  const std::string seen = Seen();
  Run("ip link set " + device + " down");
  host.Apply({"a", "b"}, Uplink::Compare::kChanged);
  CHECK_FALSE(is_up());
  host.Apply({"a", "b"}, Uplink::Compare::kAll);
  CHECK(is_up());
  CHECK(Seen() == seen);

  // Its peers were taken away by ourselves.
  REQUIRE(host.uplink().ForgetPeers(device).ok());
  const UplinkPlan plan = host.PlanFor({"a", "b"});
  for (const UplinkDevice& one : plan.devices) {
    CHECK(host.uplink().RepairPeers(one).written.empty());
  }
  CHECK(host.uplink().Tunnel(device)->peers.empty());
  CHECK(host.uplink().Apply(plan, Uplink::Compare::kChanged).written.empty());
  CHECK(host.uplink().Tunnel(device)->peers.size() == 1);
  host.Apply({"a", "b"}, Uplink::Compare::kChanged);
  CHECK(host.uplink().Tunnel(device)->peers.size() == 1);
  // Another plan of one is made so, and no longer than it is wanted.
  host.Apply({"b"}, Uplink::Compare::kChanged);
  host.Apply({"a", "b"}, Uplink::Compare::kChanged);
  CHECK(is_up());
}

TEST_CASE("uplink: a device that the plan does not name goes", "[uplink]") {
  Host host;
  if (!host) return;
  host.Apply({"a"});
  const std::string device_a = host.uplink().devices().at(0);
  const std::string with_a = Seen();
  host.Apply({"a", "b"});
  const std::string device_b = host.uplink().devices().at(1);
  CHECK(Count(Run("ip -br link"), device_b) == 1);
  host.Restart(host.uplink().devices());
  host.Apply({"a"});
  CHECK(host.uplink().devices() == std::vector<std::string>{device_a});
  CHECK(Count(Run("ip -br link"), device_b) == 0);
  CHECK(Count(Run("ip rule"), "60674") == 0);
  CHECK(Count(Run("ip route show table all"), device_b) == 0);
  CHECK(Count(Run("nft list table inet clusteragent"), device_b) == 0);
  host.Apply({});
  CHECK(host.uplink().devices().empty());
  CHECK(Count(Run("ip -br link"), device_a) == 0);
  CHECK(Count(Run("ip rule"), "proto 237") == 0);
}

TEST_CASE("uplink: leaves alone what others made", "[uplink]") {
  Host host;
  if (!host) return;
  Run("ip rule add fwmark 0x1/0xff lookup 77 prio 100 protocol 201");
  Run("ip rule add fwmark 0x55 lookup 60673 prio 200");
  Run("ip route add 198.51.100.0/24 via 10.9.0.9 table 60673 proto static");
  Run("nft add table inet other");
  Run("nft add chain inet other c '{ type filter hook input priority 0; }'");
  Run("nft add rule inet other c tcp dport 1 drop");
  const std::string other = Run("nft -a list table inet other");
  host.Apply({"a"});
  host.Apply({});
  CHECK(Count(Run("ip rule"), "fwmark 0x1/0xff lookup 77 proto 201") == 1);
  CHECK(Count(Run("ip rule"), "fwmark 0x55 lookup 60673") == 1);
  CHECK(Run("ip route show table 60673") ==
        "198.51.100.0/24 via 10.9.0.9 dev near proto static \n");
  CHECK(Run("nft -a list table inet other") == other);
}

TEST_CASE("uplink: repairs what others broke", "[uplink]") {
  Host host;
  if (!host) return;
  host.Apply({"a"});
  const std::string device = host.uplink().devices().at(0);
  const auto seen = [&device] {
    return Run("nft list ruleset") + Run("ip -j -4 addr") +
           Run("ip -4 route show table all") + Run("ip rule") +
           Run("ip -o link show dev " + device + " | cut -d' ' -f1-5") +
           Run("cat /proc/sys/net/ipv4/conf/" + device + "/rp_filter");
  };
  const std::string good = seen();
  for (const std::string& damage : std::vector<std::string>{
           "ip rule del prio 100", "ip rule add fwmark 9 table 9 protocol 237",
           "ip route flush table 60673",
           "ip route add 192.0.2.0/24 dev " + device + " proto 237",
           "ip addr flush dev " + device,
           "ip addr add 192.0.2.1/32 dev " + device,
           "ip link set " + device + " mtu 1300",
           "ip link set " + device + " down",
           "echo 1 > /proc/sys/net/ipv4/conf/" + device + "/rp_filter",
           "echo 0 > /proc/sys/net/ipv4/conf/near/forwarding",
           "nft flush map inet clusteragent targets4",
           "nft flush chain inet clusteragent prerouting",
           "nft delete table inet clusteragent", "nft flush ruleset"}) {
    Run(damage);
    host.Apply({"a"});
    INFO("after: " << damage);
    CHECK(seen() == good);
  }
}

TEST_CASE("uplink: a device that vanished is made anew", "[uplink]") {
  Host host;
  if (!host) return;
  host.Apply({"a"});
  const std::string device = host.uplink().devices().at(0);
  Run("ip link del " + device);
  // wireguard-go ends some time after its link.
  absl::Status status;
  for (int i = 0; i < 50; ++i) {
    status =
        host.uplink().Apply(host.PlanFor({"a"}), Uplink::Compare::kAll).status;
    if (status.ok()) break;
    usleep(20'000);
  }
  INFO(status);
  CHECK(status.ok());
  CHECK(Count(Run("ip route show table 60673"), device) == 1);
  const auto tunnel = host.uplink().Tunnel(device);
  REQUIRE(tunnel.ok());
  REQUIRE(tunnel->peers.size() == 1);
  CHECK(tunnel->peers[0].endpoint ==
        SocketAddress{netlink::Ip("10.9.0.2"), 51820});
}

TEST_CASE("uplink: observes the host without its own devices", "[uplink]") {
  Host host;
  if (!host) return;
  const auto before = host.uplink().Observe();
  REQUIRE(before.ok());
  CHECK(std::ranges::count(before->local_addresses, netlink::Ip("10.9.0.1")) ==
        1);
  CHECK(std::ranges::count(before->local_addresses, netlink::Ip("127.0.0.1")) ==
        0);
  CHECK(std::ranges::count(before->routes, netlink::Prefix("10.9.0.0/24")) ==
        1);
  CHECK_FALSE(before->forwarding_everywhere);
  host.Apply({"a"});
  const auto after = host.uplink().Observe();
  REQUIRE(after.ok());
  CHECK(after->local_addresses == before->local_addresses);
  CHECK(after->routes == before->routes);
  const auto way = host.uplink().WayTo(netlink::Ip("10.9.0.2"));
  REQUIRE(way.ok());
  CHECK(way->source == netlink::Ip("10.9.0.1"));
  CHECK(way->mtu == 1500);
  // Another network of the same MTU is another way.
  Run("ip address add 10.9.0.7/32 dev lo");
  Run("ip route add 10.9.0.2/32 dev near src 10.9.0.7");
  const auto other = host.uplink().WayTo(netlink::Ip("10.9.0.2"));
  REQUIRE(other.ok());
  CHECK(*other != *way);
  CHECK(other->mtu == way->mtu);
}

}  // namespace
}  // namespace edged::agent
