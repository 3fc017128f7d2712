#include "edged/core/drift_damage.h"

#include <linux/netconf.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <variant>

#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using netlink::Address;
using netlink::Link;
using netlink::Netconf;
using netlink::Route;
using nftables::Event;
using nftables::EventObject;

// Beyond this many keys a look at the whole table is as quick.
constexpr size_t kMostElements = 256;
constexpr char kUnknown[] = "changes that the kernel could not tell";

bool Same(const Link& a, const Link& b) {
  return a.index == b.index && a.name == b.name && a.mtu == b.mtu &&
         a.up == b.up && a.ipv4 == b.ipv4 && a.ipv6 == b.ipv6;
}

// Answers for one kind of object each.
class Concern {
 public:
  Concern(bool removed, const protocol::Settings& settings,
          const HostFacts& facts, const ObservedRoutes& observed)
      : removed_(removed),
        settings_(settings),
        facts_(facts),
        observed_(observed) {}

  // Also events of a link that did not change what we look at: its counters,
  // its neighbours.
  bool operator()(const Link& link) const {
    if (link.name == facts_.device) return true;
    const auto known =
        std::ranges::find(observed_.links, link.index, &Link::index);
    const bool is_known = known != observed_.links.end();
    if (is_known && !removed_ && Same(link, *known)) return false;
    return Matters(link.name) || (is_known && Matters(*known));
  }

  bool operator()(const Address& address) const {
    if (std::ranges::any_of(settings_.public_addresses,
                            [&address](const auto& wanted) {
                              return wanted.address == address.address ||
                                     wanted.nic_address == address.address;
                            })) {
      return true;
    }
    return MattersAt(address.link);
  }

  bool operator()(const Route& route) const {
    const Link* link = FindLink(route.link);
    return route.protocol == netlink::kRouteProtocol ||
           (link && link->name == facts_.device) ||
           route.destination.length() == 0 || (link && IsArrival(link->name)) ||
           (observed_.tables.contains(route.table) &&
            (LeadsToPeer(route.destination) || MeetsOurs(route.destination)));
  }

  // Whoever comes before the main table may take what is for the tunnel.
  bool operator()(const netlink::PolicyRule&) const { return true; }

  bool operator()(const Netconf& netconf) const {
    return netconf.link == NETCONFA_IFINDEX_ALL || MattersAt(netconf.link);
  }

 private:
  const Link* FindLink(int index) const {
    const auto link = std::ranges::find(observed_.links, index, &Link::index);
    return link == observed_.links.end() ? nullptr : &*link;
  }
  // A link that was made after the last look may be anything.
  bool MattersAt(int index) const {
    const Link* link = FindLink(index);
    return !link || Matters(*link);
  }
  bool Matters(const Link& link) const {
    return Matters(link.name) || CarriesTunnel(link.index) ||
           std::ranges::any_of(observed_.routes, [&link](const Route& route) {
             return route.link == link.index && route.destination.length() == 0;
           });
  }
  // A route that somebody puts in the place of ours is told as the new one.
  bool MeetsOurs(const IpPrefix& destination) const {
    return std::ranges::any_of(facts_.families(), [&](Family family) {
      return facts_.OverlayOf(family)->network().Overlaps(destination);
    });
  }
  bool LeadsToPeer(const IpPrefix& destination) const {
    return std::ranges::any_of(facts_.underlay, [&](const Underlay& way) {
      return destination.Contains(way.endpoint);
    });
  }
  bool CarriesTunnel(int index) const {
    return std::ranges::find(facts_.underlay, index, &Underlay::link) !=
           facts_.underlay.end();
  }
  bool Matters(const std::string& name) const {
    return name == facts_.device || IsArrival(name) ||
           std::ranges::any_of(facts_.nic_addresses,
                               [&name](const auto& entry) {
                                 return entry.second.interface == name;
                               }) ||
           std::ranges::any_of(settings_.public_addresses,
                               [&name](const auto& wanted) {
                                 return wanted.interface == name;
                               });
  }

  // Its routes are copied, or one of them may tell its gateway.
  bool IsArrival(const std::string& name) const {
    const Arrivals& arrivals = facts_.arrivals;
    return std::ranges::find(arrivals.ways, name, &ArrivalWay::interface) !=
               arrivals.ways.end() ||
           std::ranges::find(arrivals.unnamed, name,
                             &UnnamedGateway::interface) !=
               arrivals.unnamed.end();
  }

  const bool removed_;
  const protocol::Settings& settings_;
  const HostFacts& facts_;
  const ObservedRoutes& observed_;
};

}  // namespace

void TableDamage::Add(const Event& event) {
  if (event.table != kTable) return;
  const Culprit by{event.pid, event.process, event.port};
  if (event.object == EventObject::kTable) {
    report_.AddWhole(DescribeEvent(event), by);
  } else {
    report_.Add(DescribeEvent(event), by);
  }
  if (event.object == EventObject::kRule) {
    chains_.insert(event.name);
  } else if (event.object == EventObject::kElements &&
             event.elements.size() == event.count) {
    auto& elements = elements_[event.name];
    elements.insert(elements.end(), event.elements.begin(),
                    event.elements.end());
    whole_ |= elements.size() > kMostElements;
  } else {
    whole_ = true;
  }
}

void TableDamage::AddUnknown() {
  whole_ = true;
  report_.Add(kUnknown, {});
}

void NetworkDamage::Add(const netlink::RouteEvent& event) {
  const std::string what = netlink::DescribeEvent(event);
  if (event.removed && std::holds_alternative<Link>(event.object)) {
    report_.AddWhole(what, {.port = event.port});
  } else {
    report_.Add(what, {.port = event.port});
  }
}

void NetworkDamage::AddUnknown() { report_.Add(kUnknown, {}); }

bool ConcernsEdge(const netlink::RouteEvent& event,
                  const protocol::Settings& settings, const HostFacts& facts,
                  const ObservedRoutes& observed) {
  return std::visit(Concern(event.removed, settings, facts, observed),
                    event.object);
}

}  // namespace edged::edge
