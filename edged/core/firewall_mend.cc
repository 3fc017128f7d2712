#include "edged/core/firewall_mend.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <set>

#include "common/protocol/overlay.h"

namespace edged::edge {
namespace {

using nftables::AnyChain;
using nftables::AnyHook;
using nftables::AnyTable;

std::string MatchOf(Purpose purpose, const AnyHook& hook,
                    const DoctorFacts& facts) {
  switch (purpose) {
    case Purpose::kTunnelIn:
      return fmt::format("udp dport {}", facts.enrolment.listen_port);
    case Purpose::kTunnelOut:
      return fmt::format("udp sport {}", facts.enrolment.listen_port);
    case Purpose::kApiIn:
    case Purpose::kForwardBack:
      return fmt::format("iifname \"{}\"", facts.device);
    case Purpose::kApiOut:
      return fmt::format("oifname \"{}\"", facts.device);
    case Purpose::kForwardIn:
      break;
  }
  if (hook.number == NF_INET_FORWARD || hook.number == NF_INET_POST_ROUTING) {
    return fmt::format("oifname \"{}\"", facts.device);
  }
  return "";  // before the routing: each address and port, see LinesAtHead
}

std::vector<std::string> ForUfw(Purpose purpose, const DoctorFacts& facts) {
  const std::string& device = facts.device;
  switch (purpose) {
    case Purpose::kTunnelIn:
      return {fmt::format("ufw allow {}/udp", facts.enrolment.listen_port)};
    case Purpose::kApiIn:
      return {fmt::format("ufw allow in on {} to any port {}", device,
                          protocol::kApiPort)};
    case Purpose::kForwardIn:
      return {fmt::format("ufw route allow out on {}", device)};
    case Purpose::kForwardBack:
      return {fmt::format("ufw route allow in on {}", device)};
    case Purpose::kApiOut:
      return {fmt::format("ufw allow out on {}", device)};
    case Purpose::kTunnelOut:
      return {fmt::format("ufw allow out from any port {} proto udp to any",
                          facts.enrolment.listen_port)};
  }
  return {};
}

std::vector<std::string> ForFirewalld(Purpose purpose,
                                      const DoctorFacts& facts) {
  if (purpose == Purpose::kTunnelIn) {
    return {fmt::format("firewall-cmd --permanent --add-port={}/udp",
                        facts.enrolment.listen_port),
            "firewall-cmd --reload"};
  }
  return {
      fmt::format("firewall-cmd --permanent --zone=trusted --add-interface={}",
                  facts.device),
      "firewall-cmd --reload"};
}

}  // namespace

Owner OwnerOf(const AnyTable& table) {
  const auto has = [&table](std::string_view beginning) {
    return std::ranges::any_of(table.chains, [&](const auto& chain) {
      return chain.first.starts_with(beginning);
    });
  };
  if (has("ufw-") || has("ufw6-")) return Owner::kUfw;
  if (table.name == "firewalld") return Owner::kFirewalld;
  if (has("DOCKER") || table.name.starts_with("docker")) return Owner::kDocker;
  return Owner::kOther;
}

std::string_view NameOf(Owner owner) {
  switch (owner) {
    case Owner::kUfw:
      return " (ufw)";
    case Owner::kFirewalld:
      return " (firewalld)";
    case Owner::kDocker:
      return " (docker)";
    case Owner::kOther:
      return "";
  }
  return "";
}

std::vector<std::string> LinesAtHead(const AnyTable& table,
                                     const AnyChain& base, Purpose purpose,
                                     const std::vector<MappedPorts>& ports,
                                     const DoctorFacts& facts) {
  const bool docker = table.chains.contains("DOCKER-USER") &&
                      base.hook->number == NF_INET_FORWARD;
  const std::string chain = docker ? "DOCKER-USER" : base.name;
  const auto insert = [&](const std::string& match) {
    return fmt::format("nft insert rule {} {} {} {} accept",
                       nftables::FamilyName(table.family), table.name, chain,
                       match);
  };
  const std::string match = MatchOf(purpose, *base.hook, facts);
  if (!match.empty()) return {insert(match)};
  std::vector<std::string> lines;
  std::set<std::pair<IpAddress, Protocol>> done;
  for (const MappedPorts& mapped : ports) {
    if (!done.emplace(mapped.nic_address, mapped.protocol).second) continue;
    std::vector<std::string> texts;
    for (const MappedPorts& other : ports) {
      if (other.nic_address == mapped.nic_address &&
          other.protocol == mapped.protocol) {
        texts.push_back(other.ports.ToString());
      }
    }
    lines.push_back(
        insert(fmt::format("{} daddr {} {} dport {{ {} }}",
                           mapped.nic_address.is_ipv4() ? "ip" : "ip6",
                           mapped.nic_address.ToString(),
                           ToString(mapped.protocol), fmt::join(texts, ", "))));
  }
  return lines;
}

std::vector<std::string> MendLines(const AnyTable& table, const AnyChain& base,
                                   Purpose purpose,
                                   const std::vector<MappedPorts>& ports,
                                   const DoctorFacts& facts) {
  switch (OwnerOf(table)) {
    case Owner::kUfw:
      return ForUfw(purpose, facts);
    case Owner::kFirewalld:
      return ForFirewalld(purpose, facts);
    default:
      return LinesAtHead(table, base, purpose, ports, facts);
  }
}

}  // namespace edged::edge
