#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "edged/system/way_questions.h"
#include "tests/common/netlink/own_namespace.h"

namespace edged::edge {
namespace {

constexpr auto kTenthOfASecond = std::chrono::milliseconds(110);

bool HasRoute(const HostRouting& host, const IpPrefix& destination) {
  return std::ranges::find(host.routes, destination,
                           &netlink::Route::destination) != host.routes.end();
}

}  // namespace

TEST_CASE("routing_memory: looks again when something has changed, and in pace",
          "[routing_memory]") {
  const netlink::OwnNamespace space;
  if (!space) return;
  auto rtnetlink = *netlink::Rtnetlink::Open();
  auto stranger = *netlink::Rtnetlink::Open();
  REQUIRE(stranger.SetLink(1, true, 0).ok());
  int looks = 0;
  auto memory = *RoutingMemory::Open([&] {
    ++looks;
    return ObserveRouting(rtnetlink);
  });
  for (int i = 0; i < 63; ++i) REQUIRE(memory.Recall().ok());
  CHECK(looks == 1);
  std::this_thread::sleep_for(kTenthOfASecond);
  REQUIRE(memory.Recall().ok());
  CHECK(looks == 1);  // nothing has changed

  const auto net = *IpPrefix::Parse("192.0.2.0/24");
  REQUIRE(stranger.ReplaceRoute({.destination = net, .link = 1}).ok());
  const auto begin = std::chrono::steady_clock::now();
  CHECK(HasRoute(**memory.Recall(), net));
  CHECK(looks == 2);
  REQUIRE(stranger.RemoveRoute({.destination = net, .link = 1}).ok());
  for (int i = 0; i < 63; ++i) REQUIRE(memory.Recall().ok());
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(looks <= 2 + took / std::chrono::milliseconds(100));
  std::this_thread::sleep_for(kTenthOfASecond);
  CHECK(!HasRoute(**memory.Recall(), net));
}

TEST_CASE("routing_memory: what fails is tried again", "[routing_memory]") {
  const netlink::OwnNamespace space;
  if (!space) return;
  absl::StatusOr<HostRouting> answer = absl::UnavailableError("busy");
  auto memory = *RoutingMemory::Open([&] { return answer; });
  CHECK(absl::IsUnavailable(memory.Recall().status()));
  answer = HostRouting{};
  CHECK(memory.Recall().ok());
}

}  // namespace edged::edge
