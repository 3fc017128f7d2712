#include "clusteragent/core/port_claims.h"

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

TEST_CASE("port_claims: finds whoever overlaps", "[port_claims]") {
  PortClaims claims;
  claims.Claim({100, 200}, 1);
  claims.Claim({300, 300}, 2);
  claims.Claim({65535, 65535}, 3);
  CHECK(claims.OwnerOf({1, 99}) == std::nullopt);
  CHECK(claims.OwnerOf({99, 100}) == 1);
  CHECK(claims.OwnerOf({150, 150}) == 1);
  CHECK(claims.OwnerOf({200, 299}) == 1);
  CHECK(claims.OwnerOf({201, 299}) == std::nullopt);
  CHECK(claims.OwnerOf({201, 300}) == 2);
  CHECK(claims.OwnerOf({301, 65534}) == std::nullopt);
  CHECK(claims.OwnerOf({301, 65535}) == 3);
  CHECK(claims.OwnerOf({1, 65535}) == 1);
}

}  // namespace
}  // namespace edged::agent
