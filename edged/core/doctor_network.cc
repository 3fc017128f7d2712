#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/protocol/overlay.h"
#include "common/protocol/tunnel_mtu.h"
#include "edged/core/doctor_checks.h"

// Checks of this host's network.

namespace edged::edge {
namespace {

// A connection takes about 400 bytes; this leaves the rest of the machine
// alone.
constexpr uint64_t kMemoryPerConnection = 32 * 1024;
constexpr uint64_t kLeastConnections = 32'768;
constexpr uint64_t kFewConnections = 65'536, kManyConnections = 262'144;

// Sets what only root may, by this machine's memory; so does the unit.
constexpr char kPrepare[] = "edged prepare";

std::optional<int64_t> Sysctl(const DoctorFacts& facts,
                              const std::string& name) {
  const auto found = facts.sysctls.find(name);
  if (found == facts.sysctls.end()) return std::nullopt;
  return found->second;
}

// The line that sets it now, and the one that keeps it over a reboot.
std::vector<std::string> SetSysctl(const std::string& name, int64_t value) {
  return {fmt::format("sysctl -w {}={}", name, value),
          fmt::format("echo {0}={1} > /etc/sysctl.d/60-{0}.conf", name, value)};
}

std::string DeviceSysctl(std::string_view device, std::string_view name) {
  return fmt::format("net.ipv4.conf.{}.{}", device, name);
}

bool HasIpv6Addresses(const DoctorFacts& facts) {
  return std::ranges::any_of(facts.addresses, [](const auto& address) {
    return !address.address.is_ipv4();
  });
}

// Which devices must pass packets on, as far as they are there.
std::vector<const netlink::Link*> ForwardingLinks(const DoctorFacts& facts) {
  std::vector<const netlink::Link*> links;
  for (const std::string& name : PublicInterfaces(facts)) {
    if (const auto* link = FindLink(facts, name)) links.push_back(link);
  }
  if (const auto* device = FindLink(facts, facts.device)) {
    links.push_back(device);
  }
  return links;
}

bool Covers(const LocalListener& listener, const MappedPorts& mapped) {
  if (listener.protocol != mapped.protocol ||
      !mapped.ports.Contains(listener.port)) {
    return false;
  }
  if (listener.address == mapped.nic_address) return true;
  // A socket of IPv6 for all addresses takes IPv4, too.
  return listener.address.is_unspecified() &&
         (listener.address.family() == mapped.nic_address.family() ||
          mapped.nic_address.is_ipv4());
}

}  // namespace

const netlink::Link* FindLink(const DoctorFacts& facts,
                              std::string_view interface) {
  if (!facts.links) return nullptr;
  const auto found =
      std::ranges::find(*facts.links, interface, &netlink::Link::name);
  return found == facts.links->end() ? nullptr : &*found;
}

std::vector<std::string> PublicInterfaces(const DoctorFacts& facts) {
  std::set<std::string> names;
  for (const PublicAddressFacts& address : facts.addresses) {
    const netlink::Link* link = FindLink(facts, address.interface);
    if (link != nullptr && !link->loopback) names.insert(link->name);
  }
  if (names.empty() && facts.underlay) names.insert(*facts.underlay);
  return {names.begin(), names.end()};
}

void CheckForwarding(const DoctorFacts& facts, Findings found) {
  if (!facts.links) return;
  const bool everywhere = Sysctl(facts, "net.ipv4.ip_forward").value_or(0) != 0;
  std::vector<std::string> on;
  for (const netlink::Link* link : ForwardingLinks(facts)) {
    on.push_back(link->name);
    if (link->ipv4.forwarding) continue;
    // Before it is enrolled edged has no reason to switch it on.
    if (facts.enrolled != Answer::kYes) continue;
    found.Error(
        fmt::format("{} does not forward IPv4", link->name),
        fmt::format("What comes in by {} does not go on{}. edged switches this "
                    "on itself; something switched it off again.",
                    link->name,
                    link->name == facts.device ? ": no answer leaves"
                                               : " into the tunnel"),
        {fmt::format("sysctl -w {}=1",
                     DeviceSysctl(link->name, "forwarding"))});
  }
  if (HasIpv6Addresses(facts) &&
      Sysctl(facts, "net.ipv6.conf.all.forwarding") == 0 &&
      !std::ranges::all_of(ForwardingLinks(facts), [](const auto* link) {
        return link->ipv6.force_forwarding.value_or(false);
      })) {
    found.Error("net.ipv6.conf.all.forwarding is 0",
                "Mappings of IPv6 addresses are not served. edged may not "
                "switch it on itself; its unit does before each start.",
                {kPrepare});
  }
  if (facts.enrolled == Answer::kYes || everywhere) {
    found.Ok(everywhere ? "on everywhere"
                        : fmt::format("on for {}", fmt::join(on, ", ")));
  }
}

void CheckReversePath(const DoctorFacts& facts, Findings found) {
  const netlink::Link* device = FindLink(facts, facts.device);
  if (device == nullptr) return;
  // The kernel takes the higher one of the device's and of "all".
  const int64_t all = Sysctl(facts, "net.ipv4.conf.all.rp_filter").value_or(0);
  const auto effective = [all](const netlink::Link& link) {
    return std::max<int64_t>(all, link.ipv4.rp_filter);
  };
  if (effective(*device) == 1) {
    found.Error(
        fmt::format("rp_filter is strict on {}", device->name),
        "The kernel drops answers that come out of the tunnel, because it "
        "would not send their senders' packets there.",
        {fmt::format("sysctl -w {}=2",
                     DeviceSysctl(device->name, "rp_filter"))});
  }
  const auto interfaces = PublicInterfaces(facts);
  for (const std::string& name : interfaces) {
    const netlink::Link* link = FindLink(facts, name);
    if (interfaces.size() < 2 || effective(*link) != 1) continue;
    found.Warning(
        fmt::format("rp_filter is strict on {}, one of {} public interfaces",
                    name, interfaces.size()),
        "Clients that the default route reaches by another interface are "
        "dropped when they come in by this one.",
        {fmt::format("sysctl -w {}=2", DeviceSysctl(name, "rp_filter"))});
  }
  found.Ok(fmt::format("{} on {}", effective(*device) == 2 ? "loose" : "off",
                       device->name));
}

// Of what the tunnel's packets have around them; unset: of both, or not known.
std::optional<Family> OuterFamily(const DoctorFacts& facts) {
  std::set<Family> families;
  for (const UplinkFacts& uplink :
       facts.uplinks.value_or(std::vector<UplinkFacts>())) {
    if (uplink.endpoint) families.insert(uplink.endpoint->address.family());
  }
  if (families.size() != 1) return std::nullopt;
  return *families.begin();
}

// What the kernel learnt of an IPv4 way is an MTU or another router; routes by
// router advertisements expire, too, so of IPv6 it may be nothing at all.
void WarnOfRedirect(const UplinkFacts& uplink, Findings& found) {
  found.Warning(
      fmt::format("an ICMP redirect leads what is for {}, where uplink {} is, "
                  "another way; the kernel forgets that in {} s",
                  uplink.endpoint->address.ToString(), uplink.name,
                  uplink.learned_mtu->expires.count()),
      "A neighbour of this host can forge those. `edged prepare` makes the "
      "kernel heed none where this host forwards.",
      {"ip route flush cache", kPrepare});
}

// An ICMP error that anybody can forge makes the kernel cut the tunnel's
// packets for ten minutes. `largest`: what a packet of the tunnel may have.
void CheckLearnedMtus(const DoctorFacts& facts, uint32_t largest,
                      Findings& found) {
  for (const UplinkFacts& uplink :
       facts.uplinks.value_or(std::vector<UplinkFacts>())) {
    if (!uplink.learned_mtu || !uplink.endpoint ||
        uplink.learned_mtu->mtu >= largest) {
      continue;
    }
    const IpAddress& address = uplink.endpoint->address;
    if (uplink.learned_mtu->mtu == 0) {
      if (address.is_ipv4()) WarnOfRedirect(uplink, found);
      continue;
    }
    found.Warning(
        fmt::format("the kernel was told that only packets of {} bytes reach "
                    "{}, where uplink {} is; it forgets that in {} s",
                    uplink.learned_mtu->mtu, address.ToString(), uplink.name,
                    uplink.learned_mtu->expires.count()),
        "Larger packets of the tunnel go there in fragments, slower, and are "
        "lost where those are dropped. An ICMP error said so, and those are "
        "easily forged. `edged prepare` keeps such words from going below "
        "1280.",
        address.is_ipv4()
            ? std::vector<std::string>{"ip route flush cache", kPrepare}
            : std::vector<std::string>{"ip -6 route flush cache"});
  }
}

void CheckMtu(const DoctorFacts& facts, Findings found) {
  const netlink::Link* device = FindLink(facts, facts.device);
  const netlink::Link* underlay =
      facts.underlay ? FindLink(facts, *facts.underlay) : nullptr;
  if (device == nullptr || underlay == nullptr) return;
  const std::optional<Family> outer = OuterFamily(facts);
  CheckLearnedMtus(facts, device->mtu + protocol::TunnelOverhead(outer), found);
  const uint32_t fits = protocol::TunnelMtu(underlay->mtu, outer);
  const std::string sizes =
      fmt::format("{} has MTU {}, {} below it {}", device->name, device->mtu,
                  underlay->name, underlay->mtu);
  const uint32_t over_ipv4 = protocol::TunnelMtu(underlay->mtu, Family::kIpv4);
  if (device->mtu > fits && device->mtu == protocol::kLeastIpv6Mtu) {
    found.Note(sizes,
               "The largest packets of IPv6 go in fragments below, and are "
               "lost where those are dropped.");
  } else if (device->mtu > (outer ? fits : over_ipv4)) {
    found.Error(sizes,
                fmt::format("Full packets do not fit into the tunnel: small "
                            "answers work, downloads may hang. Set tunnel.mtu "
                            "of the EdgeNode to {} at most, or leave it out.",
                            fits),
                {fmt::format("ip link set {} mtu {}", device->name, fits)});
  } else if (device->mtu > fits) {
    found.Note(sizes,
               "Enough over IPv4, too big when an uplink dials over "
               "IPv6.");
  } else if (device->mtu < protocol::kLeastIpv6Mtu) {
    found.Warning(sizes,
                  fmt::format("IPv6 needs {} and does not pass this tunnel.",
                              protocol::kLeastIpv6Mtu));
  }
  found.Ok(sizes);
}

void CheckConntrack(const DoctorFacts& facts, Findings found) {
  const auto most = Sysctl(facts, "net.netfilter.nf_conntrack_max");
  const auto count = Sysctl(facts, "net.netfilter.nf_conntrack_count");
  if (!most || *most <= 0) return;
  const std::string name = "net.netfilter.nf_conntrack_max";
  const auto wanted = static_cast<int64_t>(
      std::max(facts.memory / kMemoryPerConnection, kLeastConnections));
  const int64_t percent = count.value_or(0) * 100 / *most;
  const std::string fill = fmt::format("{} of {} connections ({} %)",
                                       count.value_or(0), *most, percent);
  if (percent >= 70) {
    found.Add(percent >= 90 ? Severity::kError : Severity::kWarning, fill,
              "When the table is full the kernel drops every new connection, "
              "but for uplinks' own, which edged lets pass untracked.",
              *most < wanted ? std::vector<std::string>{kPrepare}
                             : SetSysctl(name, *most * 2));
  } else if (facts.memory != 0 &&
             *most < std::min<int64_t>(wanted, kManyConnections)) {
    const bool small = *most < std::min<int64_t>(wanted, kFewConnections);
    found.Add(small ? Severity::kWarning : Severity::kNote,
              fmt::format("room for {} connections, with {} MiB of memory",
                          *most, facts.memory >> 20),
              "It can be more: a scan or a busy game server fills a small "
              "table, and then every new connection is dropped.",
              {kPrepare});
  }
  if (Sysctl(facts, "net.netfilter.nf_conntrack_tcp_loose") == 0) {
    found.Warning("nf_conntrack_tcp_loose is 0",
                  "Connections do not survive a reboot of this host or a lost "
                  "connection table.",
                  {kPrepare});
  }
  found.Ok(fill);
}

void CheckAddresses(const DoctorFacts& facts, Findings found) {
  std::vector<std::string> local;
  for (const PublicAddressFacts& address : facts.addresses) {
    const std::string text = address.address.ToString();
    if (!address.nic_address) {
      found.Error(
          address.error.empty() ? fmt::format("{} is not on this host", text)
                                : address.error,
          fmt::format("Mappings on {} are not served. Where a cloud translates "
                      "1:1, name the interface or its private address in the "
                      "EdgeNode.",
                      text),
          {fmt::format("publicIPs: [{{address: {}, nicAddress: ADDRESS}}]",
                       text)});
    } else if (*address.nic_address != address.address) {
      found.Note(
          fmt::format("{} is not on this host: it arrives as {} on {}", text,
                      address.nic_address->ToString(), address.interface),
          fmt::format("That is right where the cloud translates 1:1. If {} has "
                      "moved to another machine, nothing will arrive here.",
                      text));
    } else {
      local.push_back(fmt::format("{} on {}", text, address.interface));
    }
  }
  if (!local.empty()) found.Ok(fmt::format("{}", fmt::join(local, ", ")));
}

void CheckListeners(const DoctorFacts& facts, Findings found) {
  if (!facts.mappings) return;
  std::set<std::string> told;
  for (const LocalListener& listener : facts.listeners) {
    const auto mapped = std::ranges::find_if(
        *facts.mappings,
        [&](const MappedPorts& one) { return Covers(listener, one); });
    if (mapped == facts.mappings->end()) continue;
    const std::string port =
        fmt::format("{}/{}", listener.port, ToString(listener.protocol));
    const std::string who =
        listener.process.empty() ? "a process here" : listener.process;
    if (!told.insert(fmt::format("{} {}", who, port)).second) continue;
    found.Warning(
        fmt::format("{} listens on {}, which is mapped", who, port),
        fmt::format("From outside {} reaches the mapping, never this process. "
                    "Stop the one or unmap the other; a port in reservedPorts "
                    "of /etc/edged/edged.yaml can never be mapped.",
                    port),
        {fmt::format("ss -Hlnp{} sport = :{}",
                     listener.protocol == Protocol::kTcp ? "t" : "u",
                     listener.port)});
  }
  found.Ok("no process here listens on a mapped port");
}

void CheckProvider(const DoctorFacts& facts, Findings found) {
  if (facts.enrolled != Answer::kYes) return;
  const std::string tunnel = fmt::format("udp {}", facts.enrolment.listen_port);
  if (!facts.mappings || facts.mappings->empty()) {
    return found.Note(
        fmt::format("the provider's firewall must let in: {} (the tunnel)",
                    tunnel),
        "From here it cannot be seen whether it does.");
  }
  found.Note(
      fmt::format("the provider's firewall must let in: {} (the tunnel), {}",
                  tunnel, PortsText(*facts.mappings)),
      "From here it cannot be seen whether it does; `edged trace ADDRESS:PORT` "
      "tells whether packets arrive.");
}

}  // namespace edged::edge
