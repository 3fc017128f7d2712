#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "clusteragent/core/names.h"
#include "clusteragent/source/spec_json.h"
#include "common/config/duration.h"
#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

constexpr size_t kLongestInterface = 15;  // IFNAMSIZ without the final zero
constexpr milliseconds kShortestInterval{50};
constexpr milliseconds kLongestInterval{60'000};

bool IsHost(const IpAddress& address) {
  return !address.is_unspecified() && !address.is_multicast() &&
         !address.is_ipv6_link_local() && !address.is_ipv4_mapped();
}

// A name of RFC 1123, section 2.1. One whose last label is a number is a broken
// IP address.
bool IsHostName(std::string name) {
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return std::tolower(c); });
  const std::string last = name.substr(name.rfind('.') + 1);
  return IsDnsSubdomain(name) && !std::ranges::all_of(last, [](char c) {
           return c >= '0' && c <= '9';
         });
}

PublicIp ReadPublicIp(config::Fields fields) {
  PublicIp ip;
  const std::string text = fields.RequiredString("address");
  const auto address = IpAddress::Parse(text);
  if (address.ok() && IsHost(*address)) {
    ip.address = *address;
  } else {
    fields.Fail("address",
                fmt::format("\"{}\" is not the IP address of a host", text));
  }
  ip.interface = fields.String("interface");
  if (ip.interface.size() > kLongestInterface ||
      ip.interface.find_first_of("/ \t\n\"") != std::string::npos) {
    fields.Fail("interface", fmt::format("\"{}\" is not the name of a network "
                                         "interface",
                                         ip.interface));
  }
  const std::string nic = fields.String("nicAddress", "auto");
  if (nic == "auto") return ip;
  const auto nic_address = IpAddress::Parse(nic);
  if (!nic_address.ok()) {
    fields.Fail(
        "nicAddress",
        fmt::format("\"{}\" is neither \"auto\" nor an IP address", nic));
  } else if (nic_address->family() != ip.address.family()) {
    fields.Fail("nicAddress", fmt::format("{} is not of the family of {}", nic,
                                          ip.address.ToString()));
  } else {
    ip.nic_address = *nic_address;
  }
  return ip;
}

std::optional<IpPrefix> ReadNetwork(config::Fields& fields, const char* field,
                                    Family family) {
  if (!fields.Has(field)) return std::nullopt;
  const auto network = IpPrefix::Parse(fields.String(field));
  if (!network.ok()) {
    fields.Fail(field, Message(network.status()));
  } else if (const auto overlay = protocol::Overlay::Create(*network);
             !overlay.ok()) {
    fields.Fail(field, Message(overlay.status()));
  } else if (network->family() != family) {
    const bool is_ipv4 = family == Family::kIpv4;
    fields.Fail(field, fmt::format("{} is not an IPv{} network; that is {}",
                                   network->ToString(), is_ipv4 ? 4 : 6,
                                   is_ipv4 ? "network6" : "network"));
  } else {
    return *network;
  }
  return std::nullopt;
}

Tunnel ReadTunnel(const config::Document& document, config::Fields fields) {
  Tunnel tunnel;
  tunnel.listen_port = static_cast<uint16_t>(
      fields.Int("listenPort", tunnel.listen_port, 1, 65535));
  tunnel.persistent_keepalive = static_cast<uint16_t>(
      fields.Int("persistentKeepalive", tunnel.persistent_keepalive, 0, 65535));
  if (IsNumberAt(document, "/spec/tunnel/mtu")) {
    tunnel.mtu = static_cast<uint32_t>(fields.Int("mtu", 0, 576, 65535));
  } else if (const auto mtu = fields.String("mtu", "auto"); mtu != "auto") {
    fields.Fail("mtu",
                fmt::format("\"{}\" is neither \"auto\" nor a number", mtu));
  }
  tunnel.network = ReadNetwork(fields, "network", Family::kIpv4);
  tunnel.network6 = ReadNetwork(fields, "network6", Family::kIpv6);
  return tunnel;
}

HealthCheck ReadHealthCheck(config::Fields fields) {
  HealthCheck check;
  check.unhealthy_threshold = static_cast<uint32_t>(
      fields.Int("unhealthyThreshold", check.unhealthy_threshold, 1, 100));
  if (!fields.Has("interval")) return check;
  const auto interval = config::ParseDuration(fields.String("interval"));
  if (!interval.ok()) {
    fields.Fail("interval", Message(interval.status()));
  } else if (*interval < kShortestInterval || *interval > kLongestInterval) {
    fields.Fail("interval",
                fmt::format("{} is not between {} and {}",
                            config::FormatDuration(*interval),
                            config::FormatDuration(kShortestInterval),
                            config::FormatDuration(kLongestInterval)));
  } else {
    check.interval = *interval;
  }
  return check;
}

}  // namespace

void ReadEdgeNodeSpec(const config::Document& document, config::Fields spec,
                      EdgeNode& node) {
  node.address = spec.RequiredString("address");
  const auto address = IpAddress::Parse(node.address);
  if (address.ok() ? !IsHost(*address) : !IsHostName(node.address)) {
    spec.Fail("address",
              fmt::format("\"{}\" is neither an IP address nor a host name",
                          node.address));
  }
  std::set<IpAddress> seen;
  for (config::Fields& item : spec.Objects("publicIPs")) {
    node.public_ips.push_back(ReadPublicIp(item));
    const IpAddress& ip = node.public_ips.back().address;
    if (!seen.insert(ip).second) {
      item.Fail("address", fmt::format("{} is listed twice", ip.ToString()));
    }
  }
  node.tunnel = ReadTunnel(document, spec.Object("tunnel"));
  node.health_check = ReadHealthCheck(spec.Object("healthCheck"));
  node.uplink_selector = ReadSelector(spec.Object("uplinkSelector"));
  node.allowed_namespaces = spec.Strings("allowedNamespaces");
  for (const std::string& name : node.allowed_namespaces) {
    if (IsDnsLabel(name)) continue;
    spec.Fail("allowedNamespaces", fmt::format("\"{}\" is not a namespace ({})",
                                               name, kDnsLabelRule));
  }
}

}  // namespace edged::agent
