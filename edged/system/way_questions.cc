#include "edged/system/way_questions.h"

#include <algorithm>

#include "common/status.h"

namespace edged::edge {
namespace {

constexpr auto kLeastAge = std::chrono::milliseconds(100);
constexpr size_t kMostDestinations = 64, kMostSources = 16;

// Somewhere on the internet; nothing is sent there.
IpAddress SomeClient(Family family) {
  return *IpAddress::Parse(family == Family::kIpv4 ? "8.8.8.8"
                                                   : "2001:4860:4860::8888");
}

std::vector<IpAddress> ClientsOf(Family family, const HostRouting& host) {
  std::vector<IpAddress> clients{SomeClient(family)};
  for (const netlink::PolicyRule& rule : host.rules) {
    if (clients.size() == kMostSources) break;
    if (rule.family != family || !rule.source || !IsForeign(rule)) continue;
    const bool one = rule.source->length() == rule.source->address().bits();
    clients.push_back(rule.source->address().Plus(one ? 0 : 1));
  }
  return clients;
}

}  // namespace

absl::StatusOr<HostRouting> ObserveRouting(netlink::Rtnetlink& rtnetlink) {
  HostRouting host;
  ASSIGN_OR_RETURN(host.links, rtnetlink.ListLinks());
  ASSIGN_OR_RETURN(host.routes, rtnetlink.ListRoutes());
  ASSIGN_OR_RETURN(host.rules, rtnetlink.ListPolicyRules());
  return host;
}

absl::StatusOr<RoutingMemory> RoutingMemory::Open(Observe observe) {
  ASSIGN_OR_RETURN(netlink::RouteEvents events, netlink::RouteEvents::Open());
  return RoutingMemory(std::move(events), std::move(observe));
}

absl::StatusOr<const HostRouting*> RoutingMemory::Recall() {
  const absl::Status read =
      events_.Read([this](const netlink::RouteEvent&) { changed_ = true; });
  changed_ |= !read.ok();  // some were lost
  const auto now = std::chrono::steady_clock::now();
  if (known_ && (!changed_ || now - known_at_ < kLeastAge)) return &*known_;
  // What changes meanwhile is told again.
  ASSIGN_OR_RETURN(known_, observe_());
  known_at_ = std::chrono::steady_clock::now();
  changed_ = false;
  return &*known_;
}

AskedWay AskWay(netlink::Rtnetlink& rtnetlink, const HostRouting& host,
                const IpAddress& destination, const std::string& in,
                const IpAddress& source) {
  AskedWay way{.destination = destination, .in = in, .source = source};
  const auto link = std::ranges::find(host.links, in, &netlink::Link::name);
  auto route = absl::StatusOr<netlink::Route>(absl::NotFoundError("no link"));
  if (link != host.links.end()) {
    route = rtnetlink.Match(
        {.destination = destination, .in = link->index, .source = source});
  }
  // Of IPv4 a blackhole and a source that may not come by this link are one
  // error.
  way.refused = !route.ok();
  if (way.refused) route = rtnetlink.Match({.destination = destination});
  if (route.ok()) way.route = *std::move(route);
  return way;
}

std::vector<AskedWay> AskWays(netlink::Rtnetlink& rtnetlink,
                              const HostRouting& host,
                              const std::vector<IpAddress>& destinations,
                              const std::vector<std::string>& interfaces) {
  std::vector<AskedWay> ways;
  for (const IpAddress& destination : destinations) {
    if (ways.size() >= kMostDestinations * kMostSources) break;
    for (const IpAddress& client : ClientsOf(destination.family(), host)) {
      for (const std::string& interface : interfaces) {
        ways.push_back(AskWay(rtnetlink, host, destination, interface, client));
      }
    }
  }
  return ways;
}

}  // namespace edged::edge
