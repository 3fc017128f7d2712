#include "edged/core/conntrack_room.h"

#include <catch2/catch.hpp>

namespace edged::edge {
namespace {

TEST_CASE("conntrack_room: a full table is told of until it has room",
          "[conntrack_room]") {
  ConntrackRoom room;
  const auto warns = [&room](int64_t count, int64_t most) {
    room.Saw({count, most});
    CHECK(room.is_full() == !room.Warning(true).empty());
    return room.is_full();
  };
  CHECK(!warns(94, 100));
  CHECK(warns(95, 100));
  const std::string full =
      "the table of connections is full (net.netfilter.nf_conntrack_max 100): "
      "those that are there go on, new ones are dropped, ";
  CHECK(room.Warning(true) == full + "but not those of uplinks");
  CHECK(room.Warning(false) == full + "of uplinks too");
  CHECK(warns(85, 100));
  CHECK(!warns(84, 100));
  CHECK(!warns(94, 100));
  CHECK(warns(262'144, 262'144));
}

TEST_CASE("conntrack_room: what is unknown is not full", "[conntrack_room]") {
  ConntrackRoom room;
  room.Saw({100, 0});
  CHECK(room.Warning(false).empty());
}

}  // namespace
}  // namespace edged::edge
