#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "common/netlink/ipv6_settings.h"
#include "common/netlink/rtnetlink.h"
#include "common/status.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/netlink/veth_pair.h"

namespace edged::netlink {
namespace {

TEST_CASE("ipv6_settings: sees IPv6 switched off and on, for all and for one",
          "[ipv6_settings]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near || PresenceOfIpv6() != Ipv6Presence::kOn) return;
  const auto conf = [&] { return rtnetlink.GetLink("near")->ipv6; };
  const auto write = [](const std::string& name, const char* value) {
    std::ofstream("/proc/sys/net/ipv6/conf/" + name) << value;
  };
  CHECK(conf().enabled);
  write("near/disable_ipv6", "1");
  CHECK(!conf().enabled);
  CHECK(PresenceOfIpv6() == Ipv6Presence::kOn);
  write("all/disable_ipv6", "1");
  CHECK(PresenceOfIpv6() == Ipv6Presence::kSwitchedOff);
  write("all/disable_ipv6", "0");
  CHECK(conf().enabled);
  REQUIRE(rtnetlink.SetLink(*near, true, 1200).ok());
  CHECK(!conf().enabled);
  REQUIRE(rtnetlink.SetLink(*near, true, 1500).ok());
  CHECK(conf().enabled);

  CHECK(*rtnetlink.ForwardingEverywhere(Family::kIpv6) == false);
  write("all/forwarding", "1");
  CHECK(*rtnetlink.ForwardingEverywhere(Family::kIpv6) == true);
  CHECK(*rtnetlink.ForwardingEverywhere(Family::kIpv4) == false);
}

TEST_CASE("ipv6_settings: lets one device forward IPv6 where the kernel can",
          "[ipv6_settings]") {
  OwnNamespace own;
  if (!own) return;
  Rtnetlink rtnetlink = OpenRtnetlink();
  const auto near = MakePair(rtnetlink);
  if (!near || PresenceOfIpv6() != Ipv6Presence::kOn) return;
  const auto forced = [&] {
    return rtnetlink.GetLink("near")->ipv6.force_forwarding;
  };
  if (!MaySwitchIpv6Forwarding()) {
    CHECK(forced() == std::nullopt);
    CHECK(absl::IsFailedPrecondition(SwitchIpv6Forwarding("near", true)));
    return;
  }
  CHECK(forced() == false);
  for (const bool on : {true, false}) {
    CHECK(SwitchIpv6Forwarding("near", on) == absl::OkStatus());
    CHECK(forced() == on);
  }
  CHECK(Message(SwitchIpv6Forwarding("nobody", true)) ==
        "net.ipv6.conf.nobody.force_forwarding: No such file or directory");
}

}  // namespace
}  // namespace edged::netlink
