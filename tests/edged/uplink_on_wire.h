#pragma once

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "common/protocol/heartbeat.h"
#include "common/protocol/overlay.h"
#include "common/protocol/path_probe.h"
#include "common/unique_fd.h"
#include "tests/edged/edge_on_host.h"

namespace edged::edge {

// Uplink a, at the other end of the veth pair that stands for the tunnel.
class UplinkOnWire {
 public:
  // Joins the device that there is now.
  explicit UplinkOnWire(Host& host)
      : socket_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(socket_);
    const auto device = host.rtnetlink->GetLink(kDevice);
    REQUIRE(device.status() == absl::OkStatus());
    peer_ = device->index - 1;  // the kernel makes it first
    REQUIRE(host.rtnetlink->SetLink(peer_, true, 0).ok());
  }

  void Send(const protocol::Heartbeat& heartbeat) {
    SendDatagram(Encode(heartbeat));
  }
  void Send(const protocol::PathProbe& probe) {
    SendDatagram(Encode(probe, Family::kIpv4, /*packet=*/0));
  }

 private:
  void SendDatagram(const std::string& datagram) {
    iphdr ip{};
    ip.version = 4;
    ip.ihl = sizeof ip / 4;
    ip.ttl = 64;
    ip.protocol = IPPROTO_UDP;
    ip.tot_len = htons(
        static_cast<uint16_t>(sizeof ip + sizeof(udphdr) + datagram.size()));
    ip.saddr = inet_addr("10.200.0.16");
    ip.daddr = inet_addr("10.200.0.1");
    ip.check = Checksum(ip);
    udphdr udp{};
    udp.source = udp.dest = htons(protocol::kApiPort);
    udp.len = htons(static_cast<uint16_t>(sizeof udp + datagram.size()));
    std::string packet(reinterpret_cast<const char*>(&ip), sizeof ip);
    packet.append(reinterpret_cast<const char*>(&udp), sizeof udp);
    packet += datagram;
    sockaddr_ll to{.sll_family = AF_PACKET,
                   .sll_protocol = htons(ETH_P_IP),
                   .sll_ifindex = peer_,
                   .sll_halen = ETH_ALEN};
    std::memset(to.sll_addr, 0xff, ETH_ALEN);
    CHECK(::sendto(socket_.get(), packet.data(), packet.size(), 0,
                   reinterpret_cast<const sockaddr*>(&to),
                   sizeof to) == static_cast<ssize_t>(packet.size()));
  }

  static uint16_t Checksum(const iphdr& ip) {
    uint16_t words[sizeof ip / 2];
    std::memcpy(words, &ip, sizeof ip);
    uint32_t sum = 0;
    for (const uint16_t word : words) sum += word;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
  }

  UniqueFd socket_;
  int peer_ = 0;
};

}  // namespace edged::edge
