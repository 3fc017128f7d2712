#pragma once

#include <catch2/catch.hpp>
#include <cstdio>
#include <optional>
#include <string_view>

#include "common/netlink/rtnetlink.h"

namespace edged::netlink {

inline IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }
inline IpPrefix Prefix(std::string_view text) { return *IpPrefix::Parse(text); }

inline Rtnetlink OpenRtnetlink() {
  auto rtnetlink = Rtnetlink::Open();
  REQUIRE(rtnetlink.ok());
  return *std::move(rtnetlink);
}

// Makes two linked links, both up, and gives "near" the address 10.9.0.1/24;
// its index. Unset, with the reason printed, when this kernel has no veth.
inline std::optional<int> MakePair(Rtnetlink& rtnetlink) {
  // The kernel names the other end itself.
  const absl::Status status = rtnetlink.CreateLink("near", "veth");
  if (absl::IsUnimplemented(status)) {
    std::printf("SKIPPED: this kernel has no veth\n");
    return std::nullopt;
  }
  REQUIRE(status.ok());
  const auto links = rtnetlink.ListLinks();
  REQUIRE(links.ok());
  for (const Link& link : *links) {
    if (link.kind != "veth") continue;
    REQUIRE(rtnetlink.SetLink(link.index, true, 0).ok());
  }
  const auto near = rtnetlink.GetLink("near");
  REQUIRE(near.ok());
  REQUIRE(rtnetlink
              .AddAddress({.link = near->index,
                           .address = Ip("10.9.0.1"),
                           .prefix_length = 24})
              .ok());
  return near->index;
}

}  // namespace edged::netlink
