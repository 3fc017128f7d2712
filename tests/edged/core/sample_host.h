#pragma once

#include <chrono>
#include <string>

#include "common/net_types.h"
#include "edged/core/doctor.h"

namespace edged::edge {

inline IpAddress AddressOf(std::string_view text) {
  return *IpAddress::Parse(text);
}

inline MappedPorts Mapped(Protocol protocol, uint16_t first, uint16_t last) {
  return {AddressOf("203.0.113.1"),
          AddressOf("203.0.113.1"),
          protocol,
          {first, last}};
}

// A VPS where nothing is wrong: enrolled, one uplink, two mappings.
inline DoctorFacts HealthyHost() {
  const SystemTime now =
      std::chrono::sys_days{std::chrono::year(2026) / std::chrono::March / 14};
  DoctorFacts facts;
  facts.now = now;
  facts.clock_synchronized = Answer::kYes;
  facts.installed = now - std::chrono::hours(1000);
  facts.nf_tables = Answer::kYes;
  facts.kernel_wireguard = Answer::kYes;
  facts.userspace_wireguard = Answer::kNo;
  facts.running = Answer::kYes;
  facts.enrolled = Answer::kYes;
  facts.enrolment = {.edge = "fra1",
                     .listen_port = 51820,
                     .network = IpPrefix(AddressOf("10.200.0.0"), 22),
                     .contacted = Answer::kYes,
                     .joined = now - std::chrono::hours(100)};
  facts.links = {
      {.index = 1, .name = "lo", .mtu = 65536, .up = true, .loopback = true},
      {.index = 2,
       .name = "eth0",
       .mtu = 1500,
       .up = true,
       .ipv4 = {.forwarding = true}},
      {.index = 3,
       .name = "edged0",
       .kind = "wireguard",
       .mtu = 1420,
       .up = true,
       .ipv4 = {.forwarding = true, .rp_filter = 2}}};
  facts.underlay = "eth0";
  facts.sysctls = {{"net.ipv4.ip_forward", 0},
                   {"net.ipv4.conf.all.rp_filter", 0},
                   {"net.ipv6.conf.all.forwarding", 0},
                   {"net.netfilter.nf_conntrack_max", 32768},
                   {"net.netfilter.nf_conntrack_count", 1000},
                   {"net.netfilter.nf_conntrack_tcp_loose", 1}};
  facts.memory = uint64_t{1} << 30;
  facts.addresses = {
      {AddressOf("203.0.113.1"), AddressOf("203.0.113.1"), "eth0", ""}};
  facts.mappings = {Mapped(Protocol::kTcp, 80, 80),
                    Mapped(Protocol::kUdp, 7000, 7009)};
  facts.uplinks = {{.name = "home",
                    .address = AddressOf("10.200.0.16"),
                    .endpoint = SocketAddress{AddressOf("198.51.100.7"), 4000},
                    .alive = Answer::kYes,
                    .last_handshake = now - std::chrono::seconds(30),
                    .last_heartbeat = now}};
  facts.tables.emplace();
  return facts;
}

}  // namespace edged::edge
