#include "edged/core/ipv6_support.h"

#include <fmt/format.h>

#include "common/protocol/tunnel_mtu.h"

namespace edged::edge {
namespace {

bool IsForwarding(const netlink::Link& link, const HostFacts& facts) {
  return facts.ipv6.forwarding_everywhere || facts.ipv6.may_switch ||
         link.ipv6.force_forwarding.value_or(false);
}

}  // namespace

HostFacts::Ipv6 Ipv6Facts(const protocol::Settings& settings,
                          const Ipv6Host& host, const netlink::Link* device,
                          uint32_t mtu) {
  HostFacts::Ipv6 facts{.forwarding_everywhere = host.forwarding_everywhere,
                        .prepared = host.prepared,
                        .may_switch = host.may_switch};
  if (settings.network6 && device && device->ipv6.enabled &&
      mtu >= protocol::kLeastIpv6Mtu) {
    const auto overlay = protocol::Overlay::Create(*settings.network6);
    if (overlay.ok()) facts.overlay = *overlay;
  }
  return facts;
}

std::optional<Unserved> AgainstIpv6(const protocol::Settings& settings,
                                    const HostFacts& facts,
                                    const netlink::Link* device,
                                    const netlink::Link* link) {
  if (!facts.ipv6.overlay) {
    std::string why = "the agent gave this edge no IPv6 network";
    if (settings.network6 && facts.mtu < protocol::kLeastIpv6Mtu) {
      why = fmt::format("the tunnel's MTU {} is below IPv6's least, {}",
                        facts.mtu, protocol::kLeastIpv6Mtu);
    } else if (settings.network6) {
      why = fmt::format(
          "IPv6 is switched off on this edge: net.ipv6.conf.{}.disable_ipv6 is "
          "1, or the kernel has no IPv6",
          facts.device);
    }
    return Unserved{"Ipv6NotAvailable", std::move(why)};
  }
  for (const netlink::Link* each : {device, link}) {
    if (!each || each->loopback || IsForwarding(*each, facts)) continue;
    return Unserved{
        "Ipv6ForwardingOff",
        "net.ipv6.conf.all.forwarding is 0 on this edge, and edged may not "
        "write it: `edged prepare`, as root, does"};
  }
  return std::nullopt;
}

}  // namespace edged::edge
