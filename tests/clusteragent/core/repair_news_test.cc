#include "clusteragent/core/repair_news.h"

#include <catch2/catch.hpp>
#include <string>

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Drift Repair(const std::string& what = "1 element of ports4 deleted") {
  return {.part = DriftPart::kTable,
          .what = what,
          .by = {.pid = 4711, .process = "nft"},
          .repair = "1 change",
          .took = milliseconds(2)};
}

std::string Text(const std::optional<Happening>& news) {
  return news ? news->reason + ": " + news->message : "nothing";
}

TEST_CASE("repair_news: the first is told at once, those after it as one",
          "[repair_news]") {
  RepairNews news;
  const RepairNews::Time begin{};
  CHECK(Text(news.Add(Repair(), begin)) ==
        "Repaired: nf_tables: 1 element of ports4 deleted, by nft (pid 4711); "
        "repaired in 2.00 ms: 1 change");
  CHECK(!news.due());
  for (int i = 1; i <= 30; ++i) {
    CHECK(!news.Add(Repair("the table deleted"), begin + seconds(i)));
  }
  REQUIRE(news.due() == begin + seconds(60));
  CHECK(!news.Due(begin + seconds(59)));
  CHECK(Text(news.Due(begin + seconds(60))) ==
        "Repaired: 30 more repairs; the last: nf_tables: the table deleted, by "
        "nft (pid 4711); repaired in 2.00 ms: 1 change");
  CHECK(!news.due());
  // That was telling, too.
  CHECK(!news.Add(Repair(), begin + seconds(61)));
  CHECK(
      Text(news.Due(begin + seconds(120))).starts_with("Repaired: nf_tables"));
  CHECK(news.Add(Repair(), begin + seconds(181)));
}

TEST_CASE("repair_news: what could not be repaired, and a flood",
          "[repair_news]") {
  RepairNews news;
  const RepairNews::Time begin{};
  Drift failed = Repair();
  failed.error = "busy";
  CHECK(Text(news.Add(failed, begin)) ==
        "NotRepaired: nf_tables: 1 element of ports4 deleted, by nft (pid "
        "4711); not repaired: busy");
  CHECK(!news.Add(failed, begin + seconds(1)));
  const Flood flood{.over = true,
                    .by = {.pid = 12, .process = "loop"},
                    .changes = 5'000,
                    .repairs = 40,
                    .lasted = seconds(9)};
  CHECK(!news.Add(flood, begin + seconds(10)));
  CHECK(Text(news.Due(begin + seconds(60))) ==
        "Repaired: 40 more repairs, 1 failed; the last: the flood is over "
        "after 9.0 s: 5000 changes seen, 40 repairs, begun by loop (pid 12)");
  CHECK(
      Text(news.Add(Flood{.by = {.port = 7}}, begin + seconds(200)))
          .starts_with("TooManyRepairs: netlink port 7 changes what is ours"));
}

}  // namespace
}  // namespace edged::agent
