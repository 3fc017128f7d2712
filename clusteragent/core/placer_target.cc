#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "clusteragent/core/placer.h"

// The part of Placer that finds what stands behind a binding.

namespace edged::agent {

std::optional<Refusal> Placer::FindTarget(Candidate& candidate) const {
  if (candidate.valid.service) {
    if (auto refusal = FindService(candidate)) return refusal;
  } else {
    const SocketAddress& target = candidate.valid.target;
    if (services_) {
      auto refusal = services_->JudgeAddress(target, UserOf(candidate));
      if (refusal) return refusal;
    }
    candidate.backends[target.address.family()].endpoints = {target};
  }
  for (auto& [family, backend] : candidate.backends) {
    auto refusal = JudgeBackend(candidate, family, backend);
    if (refusal) candidate.without[family] = *std::move(refusal);
  }
  for (const auto& [family, refusal] : candidate.without) {
    candidate.backends.erase(family);
  }
  if (candidate.backends.empty()) return candidate.without.begin()->second;
  if (!candidate.valid.timeouts.empty() && !facts_.no_timeouts.empty()) {
    return Refusal{reason::kTimeoutsNotAvailable,
                   fmt::format("{}: has a timeout of its own, and {}",
                               candidate.Where(), facts_.no_timeouts)};
  }
  return std::nullopt;
}

TargetUser Placer::UserOf(const Candidate& candidate) {
  return {.name_space = candidate.ref.name_space,
          .protocol = candidate.valid.protocol,
          .ports = candidate.valid.ports,
          .where = candidate.Where()};
}

std::optional<Refusal> Placer::FindService(Candidate& candidate) const {
  ServiceTarget& service = candidate.service.emplace(*candidate.valid.service);
  if (service.name_space.empty()) {
    service.name_space = candidate.object.meta.name_space;
  }
  if (!services_) {
    return Refusal{reason::kServiceTargetsNeedKubernetes,
                   fmt::format("{}: target.service: Service \"{}\" cannot be "
                               "looked up without Kubernetes; use "
                               "target.address",
                               candidate.Where(), service.name)};
  }
  auto found = services_->Resolve(service, UserOf(candidate));
  if (auto* refusal = std::get_if<Refusal>(&found)) return std::move(*refusal);
  candidate.backends = std::get<Backends>(std::move(found));
  if (!candidate.backends.empty()) return std::nullopt;
  return Refusal{reason::kServiceNotFound,
                 fmt::format("{}: {} has no cluster IP yet", candidate.Where(),
                             candidate.Target())};
}

bool Placer::IsLocal(const SocketAddress& endpoint) const {
  return std::ranges::find(facts_.local_addresses, endpoint.address) !=
         facts_.local_addresses.end();
}

std::vector<std::string> Placer::HoldersOf(const Backend& backend) const {
  std::vector<std::string> holders;
  for (const UplinkFacts& uplink : facts_.uplinks) {
    const auto has = [&uplink](const SocketAddress& endpoint) {
      return std::ranges::find(uplink.addresses, endpoint.address) !=
             uplink.addresses.end();
    };
    if (backend.endpoints.empty() ||
        std::ranges::any_of(backend.endpoints, has)) {
      holders.push_back(uplink.name);
    }
  }
  std::ranges::sort(holders);
  return holders;
}

std::optional<Refusal> Placer::JudgeBackend(Candidate& candidate, Family family,
                                            Backend& backend) const {
  if (auto refusal = JudgeNetworks(candidate, backend)) return refusal;
  if (candidate.valid.client_ip != ClientIp::kPreserve) {
    return JudgeIpv6(candidate, backend);
  }
  auto& holders = candidate.holders[family];
  holders = HoldersOf(backend);
  if (holders.empty()) {
    return Refusal{
        reason::kPreserveNotPossible,
        candidate.service
            ? fmt::format("{}: {} needs an endpoint on the host of an uplink, "
                          "and {} has none there",
                          candidate.Where(),
                          candidate.object.kind == Kind::kService
                              ? "externalTrafficPolicy: Local"
                              : "clientIP: Preserve",
                          candidate.Target())
            : fmt::format("{}: clientIP: Preserve needs a target on the host "
                          "of an uplink, and none has the address {}",
                          candidate.Where(),
                          candidate.valid.target.address.ToString())};
  }
  // Clients come to the holders alone; what others have is of no use here.
  std::erase_if(backend.endpoints,
                [this](const SocketAddress& at) { return !IsLocal(at); });
  return JudgeIpv6(candidate, backend);
}

std::optional<Refusal> Placer::JudgeNetworks(const Candidate& candidate,
                                             const Backend& backend) const {
  for (const auto& [edge, record] : records_.edges) {
    for (const SocketAddress& endpoint : backend.endpoints) {
      const IpAddress& target = endpoint.address;
      const auto network = target.is_ipv4() ? record.network : record.network6;
      if (!network || !network->Contains(target)) continue;
      return Refusal{
          reason::kInvalidTarget,
          fmt::format("{}: {}: {} lies in the tunnel network {} of EdgeNode {}",
                      candidate.Where(),
                      candidate.service ? candidate.Target() : "target.address",
                      target.ToString(), network->ToString(), edge)};
    }
  }
  return std::nullopt;
}

std::optional<Refusal> Placer::JudgeIpv6(const Candidate& candidate,
                                         const Backend& backend) const {
  const auto& endpoints = backend.endpoints;
  if (endpoints.empty() || endpoints.front().address.is_ipv4()) {
    return std::nullopt;
  }
  const auto refuse = [&](const char* reason, const std::string& why) {
    return Refusal{
        reason, fmt::format("{}: {}: {}", candidate.Where(),
                            candidate.service
                                ? candidate.Target()
                                : "target.address: " +
                                      candidate.valid.target.address.ToString(),
                            why)};
  };
  if (!facts_.ipv6.off.empty()) {
    return refuse(reason::kIpv6NotAvailable, facts_.ipv6.off);
  }
  const bool all_local = std::ranges::all_of(
      endpoints, [this](const SocketAddress& at) { return IsLocal(at); });
  if (!all_local && !facts_.ipv6.not_forwarding.empty()) {
    return refuse(reason::kIpv6ForwardingOff, facts_.ipv6.not_forwarding);
  }
  return std::nullopt;
}

}  // namespace edged::agent
