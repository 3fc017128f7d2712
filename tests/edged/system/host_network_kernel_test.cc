#include <catch2/catch.hpp>
#include <string>

#include "edged/core/arrival_ways.h"
#include "edged/system/host_network.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/netlink/veth_pair.h"

namespace edged::edge {
namespace {

using netlink::Route;

// By a link that is not there, which the kernel refuses.
Route Refused(uint32_t table) {
  return {.destination = *IpPrefix::Parse("192.0.2.0/24"),
          .link = 4711,
          .table = table};
}

}  // namespace

TEST_CASE("host_network: a way that is refused holds up nothing else",
          "[host_network]") {
  netlink::OwnNamespace own;
  if (!own) return;
  auto rtnetlink = netlink::OpenRtnetlink();
  const auto near = netlink::MakePair(rtnetlink);
  if (!near) return;
  Route good = Refused(RT_TABLE_MAIN);
  good.link = *near;
  const Applied applied =
      Apply(rtnetlink,
            {.replaced_routes = {Refused(kWayTableBase + 1), good},
             .added_rules = {{.priority = 90, .table = kWayTableBase + 1}}});
  CHECK(applied.status == absl::OkStatus());
  CHECK_FALSE(applied.ways.ok());
  const auto host = Observe(rtnetlink);
  REQUIRE(host.ok());
  CHECK(std::ranges::count(host->routes.routes, good) == 1);
  CHECK(host->routes.rules.size() == 1);
  const Applied other =
      Apply(rtnetlink, {.replaced_routes = {Refused(RT_TABLE_MAIN)}});
  CHECK_FALSE(other.status.ok());
  CHECK(other.ways == absl::OkStatus());
}

}  // namespace edged::edge
