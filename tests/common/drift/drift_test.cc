#include "common/drift/drift.h"

#include <catch2/catch.hpp>

namespace edged {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST_CASE("drift: a culprit is named as far as the kernel tells", "[drift]") {
  CHECK(Culprit{4711, "nft", 4711}.ToString() == "nft (pid 4711)");
  CHECK(Culprit{.port = 4711}.ToString() == "netlink port 4711");
  CHECK(Culprit().ToString() == "somebody");
}

TEST_CASE("drift: one line tells what, by whom, and the repair", "[drift]") {
  Drift drift{.part = DriftPart::kTable,
              .what = "table deleted",
              .by = {12, "nft", 12},
              .repair = "3 changes: add table inet edged; ...",
              .took = microseconds(1250)};
  CHECK(drift.ToString() ==
        "drift: nf_tables: table deleted, by nft (pid 12); repaired in 1.25 "
        "ms: 3 changes: add table inet edged; ...");
  drift.repair.clear();
  drift.error = "no buffer";
  CHECK(drift.ToString() ==
        "drift: nf_tables: table deleted, by nft (pid 12); not repaired: no "
        "buffer");
}

TEST_CASE("drift: a flood is told at its begin and at its end", "[drift]") {
  Flood flood{.by = {12, "nft", 12}};
  CHECK(flood.ToString() ==
        "drift: nft (pid 12) changes what is ours faster than it is repaired; "
        "repairs wait now, and are told when it is over");
  flood.over = true;
  flood.changes = 40'000;
  flood.repairs = 90;
  flood.lasted = milliseconds(4500);
  CHECK(flood.ToString() ==
        "drift: the flood is over after 4.5 s: 40000 changes seen, 90 repairs, "
        "begun by nft (pid 12)");
}

}  // namespace edged
