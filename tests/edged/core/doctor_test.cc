#include "edged/core/doctor.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/edged/core/sample_host.h"

namespace edged::edge {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

// What is not fine: "error forwarding: what | mend; mend".
std::string Problems(const DoctorFacts& facts,
                     Severity least = Severity::kWarning) {
  std::string text;
  for (const Finding& finding : Diagnose(facts)) {
    if (finding.severity < least) continue;
    text +=
        fmt::format("{} {}: {} | {}\n", ToString(finding.severity),
                    finding.check, finding.what, fmt::join(finding.mend, "; "));
  }
  return text;
}

netlink::Link& LinkOf(DoctorFacts& facts, std::string_view name) {
  for (netlink::Link& link : *facts.links) {
    if (link.name == name) return link;
  }
  FAIL("no such link");
  return facts.links->front();
}

}  // namespace

TEST_CASE("doctor: a healthy host has one line for each check", "[doctor]") {
  std::string text;
  for (const Finding& finding : Diagnose(HealthyHost())) {
    CHECK(finding.mend.empty());
    text += fmt::format("{} {}: {}\n", ToString(finding.severity),
                        finding.check, finding.what);
  }
  CHECK(text ==
        "ok access: all that is checked could be seen\n"
        "ok kernel: nf_tables and kernel WireGuard\n"
        "ok clock: 2026-03-14, kept right by a time service\n"
        "ok edge: enrolled as fra1, udp 51820, edged runs\n"
        "ok uplinks: 1 of 1 alive\n"
        "ok forwarding: on for eth0, edged0\n"
        "ok rp_filter: loose on edged0\n"
        "ok mtu: edged0 has MTU 1420, eth0 below it 1500\n"
        "ok conntrack: 1000 of 32768 connections (3 %)\n"
        "ok firewall: no other program has rules here\n"
        "ok nftables.conf: none of our tables is in /etc/nftables.conf\n"
        "ok addresses: 203.0.113.1 on eth0\n"
        "ok listeners: no process here listens on a mapped port\n"
        "note provider: the provider's firewall must let in: udp 51820 (the "
        "tunnel), tcp 80; udp 7000-7009\n");
  CHECK(WorstOf(Diagnose(HealthyHost())) == Severity::kNote);
}

TEST_CASE("doctor: whoever is not root is told what was not seen", "[doctor]") {
  DoctorFacts facts;
  facts.root = false;
  facts.net_admin = false;
  facts.unseen = {"the enrolment (/var/lib/edged/join.yaml)",
                  "other programs' rules: nf_tables needs CAP_NET_ADMIN"};
  const auto findings = Diagnose(facts);
  REQUIRE(!findings.empty());
  CHECK(findings[0].severity == Severity::kNote);
  CHECK(findings[0].means ==
        "Not seen: the enrolment (/var/lib/edged/join.yaml); other programs' "
        "rules: nf_tables needs CAP_NET_ADMIN.");
  CHECK(findings[0].mend == std::vector<std::string>{"sudo edged doctor"});
}

TEST_CASE("doctor: privileges and kernel", "[doctor]") {
  SECTION("root without the capability") {
    DoctorFacts facts = HealthyHost();
    facts.net_admin = false;
    CHECK(Problems(facts) ==
          "error access: root, but without CAP_NET_ADMIN | docker run "
          "--cap-add NET_ADMIN ...\n");
  }
  SECTION("neither WireGuard nor nf_tables") {
    DoctorFacts facts = HealthyHost();
    facts.nf_tables = Answer::kNo;
    facts.kernel_wireguard = Answer::kNo;
    CHECK(Problems(facts) ==
          "error kernel: this kernel has no nf_tables | modprobe nf_tables\n"
          "error kernel: this kernel has no WireGuard, and no wireguard-go "
          "serves the tunnel | modprobe wireguard; systemctl start "
          "edged-wireguard@edged0\n");
  }
  SECTION("wireguard-go is as good") {
    DoctorFacts facts = HealthyHost();
    facts.kernel_wireguard = Answer::kNo;
    facts.userspace_wireguard = Answer::kYes;
    CHECK(Problems(facts) == "");
  }
}

TEST_CASE("doctor: a wrong clock", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  SECTION("the epoch") {
    facts.now = SystemTime(hours(2));
    CHECK(Diagnose(facts)[2].what == "the clock says 1970-01-01");
    CHECK(Diagnose(facts)[2].severity == Severity::kError);
  }
  SECTION("before this program was made") {
    facts.installed = facts.now + hours(48);
    CHECK(Diagnose(facts)[2].what ==
          "the clock says 2026-03-14, but this program is from 2026-03-16");
  }
  SECTION("before the edge joined") {
    facts.enrolment.joined = facts.now + hours(3);
    CHECK(Problems(facts) ==
          "warning clock: the clock was set back: this edge joined 3 h in the "
          "future | timedatectl set-ntp true\n");
  }
}

TEST_CASE("doctor: enrolment and daemon", "[doctor]") {
  SECTION("nothing yet") {
    DoctorFacts facts;
    facts.now = HealthyHost().now;
    facts.enrolled = Answer::kNo;
    facts.running = Answer::kNo;
    CHECK(Problems(facts) ==
          "warning edge: this edge is not enrolled | edged join TOKEN\n"
          "warning edge: edged is not running | systemctl start edged\n");
  }
  SECTION("enrolled, but not running") {
    DoctorFacts facts = HealthyHost();
    facts.running = Answer::kNo;
    CHECK(Problems(facts) ==
          "error edge: edged is not running | systemctl start edged\n");
  }
  SECTION("no agent yet") {
    DoctorFacts facts = HealthyHost();
    facts.enrolment.contacted = Answer::kNo;
    facts.uplinks->clear();
    CHECK(Problems(facts) ==
          "warning edge: no agent has called in the 4 d since it joined | "
          "clusteragent status\n");
  }
  SECTION("what edged says itself") {
    DoctorFacts facts = HealthyHost();
    facts.warnings = {"StateNotDurable: disk full"};
    facts.refused = {"203.0.113.1 tcp/22: reserved"};
    facts.config_error = "/etc/edged/edged.yaml:3: logg: unknown key";
    CHECK(Problems(facts) ==
          "error edge: /etc/edged/edged.yaml:3: logg: unknown key | edged "
          "check-config\n"
          "warning edge: StateNotDurable: disk full | \n"
          "warning edge: 203.0.113.1 tcp/22: reserved | \n");
  }
}

TEST_CASE("doctor: uplinks", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  UplinkFacts& uplink = facts.uplinks->front();
  SECTION("never heard") {
    uplink.alive = Answer::kNo;
    uplink.last_handshake.reset();
    CHECK(Problems(facts) ==
          "warning uplinks: uplink home has never shaken hands | clusteragent "
          "status\n"
          "error uplinks: no uplink is alive | clusteragent status\n");
  }
  SECTION("one of two is silent") {
    facts.uplinks->push_back(uplink);
    facts.uplinks->back().name = "office";
    facts.uplinks->back().alive = Answer::kNo;
    facts.uplinks->back().last_handshake = facts.now - seconds(400);
    CHECK(Problems(facts) ==
          "warning uplinks: uplink office: the last handshake was 6 min ago | "
          "clusteragent status\n");
  }
  SECTION("heartbeats do not come through") {
    uplink.alive = Answer::kNo;
    uplink.last_heartbeat = facts.now - seconds(9);
    CHECK(Problems(facts) ==
          "warning uplinks: uplink home: its tunnel is up, but the last "
          "heartbeat came 9 s ago | clusteragent status\n"
          "error uplinks: no uplink is alive | clusteragent status\n");
  }
  SECTION("a draining one is not missed") {
    uplink.alive = Answer::kNo;
    uplink.draining = true;
    CHECK(Problems(facts) == "");
  }
  SECTION("only the tunnel's peers are known") {
    uplink.alive = Answer::kUnknown;
    CHECK(Problems(facts) == "");
  }
}

TEST_CASE("doctor: forwarding", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  SECTION("off for a device") {
    LinkOf(facts, "eth0").ipv4.forwarding = false;
    LinkOf(facts, "edged0").ipv4.forwarding = false;
    CHECK(Problems(facts) ==
          "error forwarding: eth0 does not forward IPv4 | sysctl -w "
          "net.ipv4.conf.eth0.forwarding=1\n"
          "error forwarding: edged0 does not forward IPv4 | sysctl -w "
          "net.ipv4.conf.edged0.forwarding=1\n");
  }
  SECTION("IPv6 is switched for all devices at once") {
    facts.addresses.push_back(
        {AddressOf("2001:db8::1"), AddressOf("2001:db8::1"), "eth0", ""});
    CHECK(Problems(facts) ==
          "error forwarding: net.ipv6.conf.all.forwarding is 0 | edged "
          "prepare\n");
    SECTION("for all") { facts.sysctls["net.ipv6.conf.all.forwarding"] = 1; }
    SECTION("for the devices that need it") {
      LinkOf(facts, "eth0").ipv6.force_forwarding = true;
      LinkOf(facts, "edged0").ipv6.force_forwarding = true;
    }
    CHECK(Problems(facts) == "");
  }
}

TEST_CASE("doctor: rp_filter, by the higher of the device's and of all",
          "[doctor]") {
  DoctorFacts facts = HealthyHost();
  facts.sysctls["net.ipv4.conf.all.rp_filter"] = 1;
  CHECK(Problems(facts) == "");
  LinkOf(facts, "edged0").ipv4.rp_filter = 0;
  CHECK(Problems(facts) ==
        "error rp_filter: rp_filter is strict on edged0 | sysctl -w "
        "net.ipv4.conf.edged0.rp_filter=2\n");
}

TEST_CASE("doctor: the tunnel's MTU against the one below", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  const auto with = [&facts](uint32_t tunnel, uint32_t below) {
    LinkOf(facts, "edged0").mtu = tunnel;
    LinkOf(facts, "eth0").mtu = below;
    return Problems(facts);
  };
  const auto severity = [&facts] {
    std::string text;
    for (const Finding& finding : Diagnose(facts)) {
      if (finding.check == "mtu") text += ToString(finding.severity);
    }
    return text;
  };
  CHECK(with(1420, 1500) == "");
  CHECK(with(1440, 1500) == "");  // over IPv4
  CHECK(with(1441, 1500) ==
        "error mtu: edged0 has MTU 1441, eth0 below it 1500 | ip link set "
        "edged0 mtu 1440\n");
  CHECK(with(1280, 1280) == "");
  CHECK(severity() == "note");
  CHECK(with(1200, 1280) ==
        "warning mtu: edged0 has MTU 1200, eth0 below it 1280 | \n");
  facts.uplinks->at(0).endpoint->address = *IpAddress::Parse("2001:db8::7");
  CHECK(with(1420, 1500) == "");
  CHECK(with(1440, 1500) ==
        "error mtu: edged0 has MTU 1440, eth0 below it 1500 | ip link set "
        "edged0 mtu 1420\n");
  facts.uplinks->at(0).endpoint.reset();
  CHECK(with(1440, 1500) == "");
  CHECK(severity() == "note");
}

TEST_CASE("doctor: an MTU that the kernel was told", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  facts.uplinks->at(0).learned_mtu = netlink::LearnedMtu{552, seconds(590)};
  CHECK(Problems(facts) ==
        "warning mtu: the kernel was told that only packets of 552 bytes reach "
        "198.51.100.7, where uplink home is; it forgets that in 590 s | ip "
        "route flush cache; edged prepare\n");
  facts.uplinks->at(0).learned_mtu->mtu = 1500;
  CHECK(Problems(facts) == "");
  // The tunnel's packets are no larger.
  std::ranges::find(*facts.links, "edged0", &netlink::Link::name)->mtu = 1280;
  facts.uplinks->at(0).learned_mtu->mtu = 1492;
  CHECK(Problems(facts).find("was told") == std::string::npos);
}

TEST_CASE("doctor: an ICMP redirect that the kernel heeds", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  facts.uplinks->at(0).learned_mtu = netlink::LearnedMtu{0, seconds(299)};
  CHECK(Problems(facts) ==
        "warning mtu: an ICMP redirect leads what is for 198.51.100.7, where "
        "uplink home is, another way; the kernel forgets that in 299 s | ip "
        "route flush cache; edged prepare\n");
  // A route by a router advertisement expires, and says nothing of an MTU.
  facts.uplinks->at(0).endpoint->address = *IpAddress::Parse("2001:db8::7");
  CHECK(Problems(facts).find("redirect") == std::string::npos);
  CHECK(Problems(facts).find(" 0 bytes") == std::string::npos);
}

TEST_CASE("doctor: routes and rules that lead away from the tunnel",
          "[doctor]") {
  DoctorFacts facts = HealthyHost();
  facts.routing = HostRouting{.links = *facts.links};
  const auto lead = [&facts](const char* source) {
    facts.ways.push_back({.destination = AddressOf("10.200.0.17"),
                          .in = "eth0",
                          .source = AddressOf(source),
                          .route = netlink::Route{
                              .destination = IpPrefix(AddressOf("0.0.0.0"), 0),
                              .link = 2,
                              .table = 100}});
  };
  facts.routing->rules = {{.priority = 50,
                           .table = 100,
                           .source = IpPrefix(AddressOf("198.51.100.0"), 24),
                           .text = "from 198.51.100.0/24 lookup 100"}};
  lead("198.51.100.1");
  CHECK(Problems(facts) ==
        "warning routes: packets for uplink home from 198.51.100.0/24 do not "
        "go into the tunnel: route 0.0.0.0/0 dev eth0 of table 100, by rule "
        "50: from 198.51.100.0/24 lookup 100 | ip rule add to 10.200.0.0/22 "
        "lookup main priority 49\n");
  facts.ways.clear();
  facts.routing->rules.clear();
  lead("8.8.8.8");
  CHECK(Problems(facts) ==
        "error routes: packets for uplink home do not go into the tunnel: "
        "route 0.0.0.0/0 dev eth0 of table 100 | ip route del 0.0.0.0/0 dev "
        "eth0 table 100\n");
  // The host's default route is nobody's fault.
  facts.ways.clear();
  lead("8.8.8.8");
  facts.ways[0].route->table = RT_TABLE_MAIN;
  CHECK(Problems(facts) ==
        "error routes: packets for uplink home do not go into the tunnel: "
        "route 0.0.0.0/0 dev eth0 of table main, because edged's own route is "
        "not there | systemctl restart edged\n");
}

TEST_CASE("doctor: the table of connections", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  int64_t& most = facts.sysctls["net.netfilter.nf_conntrack_max"];
  int64_t& count = facts.sysctls["net.netfilter.nf_conntrack_count"];
  SECTION("of a machine of 256 MB") {
    facts.memory = uint64_t{256} << 20;
    most = 2048;
    CHECK(Problems(facts) ==
          "warning conntrack: room for 2048 connections, with 256 MiB of "
          "memory | edged prepare\n");
  }
  SECTION("nearly full") {
    count = 25'000;
    CHECK(Diagnose(facts)[8].severity == Severity::kWarning);
    count = 30'000;
    CHECK(Diagnose(facts)[8].severity == Severity::kError);
    CHECK(Diagnose(facts)[8].what == "30000 of 32768 connections (91 %)");
    CHECK(Diagnose(facts)[8].mend[0] ==
          "sysctl -w net.netfilter.nf_conntrack_max=65536");
  }
  SECTION("strict about the middle of connections") {
    facts.sysctls["net.netfilter.nf_conntrack_tcp_loose"] = 0;
    CHECK(Diagnose(facts)[8].what == "nf_conntrack_tcp_loose is 0");
  }
}

TEST_CASE("doctor: public addresses", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  facts.addresses[0].nic_address = AddressOf("10.0.0.5");
  CHECK(Problems(facts, Severity::kNote)
            .starts_with("note addresses: 203.0.113.1 is not on this host: it "
                         "arrives as 10.0.0.5 on eth0 | \n"));
  facts.addresses[0].nic_address.reset();
  facts.addresses[0].error =
      "public address 203.0.113.1 is not local, and it could be any of "
      "10.0.0.5 on eth0, 10.0.0.6 on eth0: name its nicAddress";
  CHECK(Problems(facts) ==
        "error addresses: " + facts.addresses[0].error +
            " | publicIPs: [{address: 203.0.113.1, nicAddress: ADDRESS}]\n");
}

TEST_CASE("doctor: a process that listens on a mapped port", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  const auto listens = [&facts](Protocol protocol, const char* address,
                                uint16_t port) {
    facts.listeners = {{protocol, AddressOf(address), port, "nginx (pid 7)"}};
    return Problems(facts);
  };
  const std::string warning =
      "warning listeners: nginx (pid 7) listens on 80/tcp, which is mapped | "
      "ss -Hlnpt sport = :80\n";
  CHECK(listens(Protocol::kTcp, "0.0.0.0", 80) == warning);
  CHECK(listens(Protocol::kTcp, "203.0.113.1", 80) == warning);
  CHECK(listens(Protocol::kTcp, "::", 80) == warning);
  CHECK(listens(Protocol::kTcp, "127.0.0.1", 80) == "");
  CHECK(listens(Protocol::kUdp, "0.0.0.0", 80) == "");
  CHECK(listens(Protocol::kTcp, "0.0.0.0", 81) == "");
  CHECK(listens(Protocol::kUdp, "0.0.0.0", 7004) ==
        "warning listeners: nginx (pid 7) listens on 7004/udp, which is mapped "
        "| ss -Hlnpu sport = :7004\n");
}

TEST_CASE("doctor: our tables in nft's own files", "[doctor]") {
  DoctorFacts facts = HealthyHost();
  facts.saved_tables = {{"/etc/nftables.conf", "inet edged", 12, 90}};
  CHECK(Problems(facts) ==
        "warning nftables.conf: /etc/nftables.conf holds a copy of our table "
        "inet edged, lines 12 to 90 | sed -i '12,90d' /etc/nftables.conf\n");
}

TEST_CASE("doctor: ports are joined, and many are cut", "[doctor]") {
  CHECK(PortsText(
            {Mapped(Protocol::kUdp, 53, 53), Mapped(Protocol::kTcp, 443, 443),
             Mapped(Protocol::kTcp, 80, 80), Mapped(Protocol::kTcp, 81, 90)}) ==
        "tcp 80-90, 443; udp 53");
  std::vector<MappedPorts> many;
  for (uint16_t port = 2; port <= 200; port += 2) {
    many.push_back(Mapped(Protocol::kTcp, port, port));
  }
  CHECK(PortsText(many).ends_with(", 46, 48 and 76 more"));
  CHECK(PortsText({}) == "");
}

}  // namespace edged::edge
