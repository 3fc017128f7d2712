#include "edged/core/underlay.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "common/protocol/tunnel_mtu.h"

namespace edged::edge {
namespace {

using netlink::Link;
using netlink::Route;

// Of a route and its link; 0: not known.
uint32_t MtuOf(const Route& route, const std::vector<Link>& links) {
  const auto link = std::ranges::find(links, route.link, &Link::index);
  const uint32_t mtu = link == links.end() ? 0 : link->mtu;
  if (route.mtu == 0 || mtu == 0) return std::max(route.mtu, mtu);
  return std::min(route.mtu, mtu);
}

uint32_t AutoMtu(const std::vector<RouteToPeer>& peers,
                 const ObservedRoutes& observed, const std::string& device) {
  uint32_t least = 0;
  const auto add = [&](const Route& route, std::optional<Family> outer) {
    const uint32_t underlay = MtuOf(route, observed.links);
    if (underlay == 0) return;
    const uint32_t mtu = protocol::TunnelMtu(underlay, outer);
    if (least == 0 || mtu < least) least = mtu;
  };
  // Would follow its own MTU down.
  const auto is_tunnel = [&](const Route& route) {
    const auto link =
        std::ranges::find(observed.links, route.link, &Link::index);
    return link != observed.links.end() && link->name == device;
  };
  for (const RouteToPeer& peer : peers) {
    if (!is_tunnel(peer.route)) add(peer.route, peer.endpoint.family());
  }
  if (least != 0) return least;
  for (const Route& route : observed.routes) {
    if (route.kind == netlink::RouteKind::kUnicast &&
        route.destination.length() == 0 && route.table == RT_TABLE_MAIN &&
        !is_tunnel(route)) {
      add(route, std::nullopt);
    }
  }
  return least == 0 ? protocol::kUsualMtu : least;
}

}  // namespace

void JudgeUnderlay(const protocol::Settings& settings,
                   const std::vector<RouteToPeer>& peers,
                   const ObservedRoutes& observed, HostFacts& facts) {
  facts.underlay.clear();
  for (const RouteToPeer& peer : peers) {
    facts.underlay.push_back({peer.endpoint, peer.route.link});
  }
  std::ranges::sort(facts.underlay);
  if (settings.mtu != 0) {
    facts.own_mtu = facts.mtu = settings.mtu;
    return;
  }
  facts.own_mtu = AutoMtu(peers, observed, facts.device);
  facts.mtu = protocol::DeviceMtu(facts.own_mtu, protocol::WantsIpv6(settings));
}

std::vector<std::string> WarningsOfMtu(const EdgeModel& model,
                                       const HostFacts& facts) {
  std::vector<std::string> warnings;
  if (!facts.ipv6.overlay || !protocol::WantsIpv6(model.settings()))
    return warnings;
  for (const auto& [name, uplink] : model.uplinks()) {
    const uint32_t mtu = facts.MtuOf(name);
    if (mtu >= protocol::kLeastIpv6Mtu) continue;
    warnings.push_back(fmt::format(
        "the way to uplink {} carries packets of {} bytes, and IPv6 needs {}: "
        "its larger ones go in fragments, or are lost where those are dropped",
        name, mtu, protocol::kLeastIpv6Mtu));
  }
  return warnings;
}

}  // namespace edged::edge
