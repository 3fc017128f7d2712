#include "edged/core/complaints.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <catch2/catch.hpp>

namespace edged::edge {
namespace {

using std::chrono::seconds;

constexpr Complaints::Time kBegin{std::chrono::hours(1)};

// What is told of a complaint; "-": nothing.
std::string Told(Complaints& complaints, const std::string& client,
                 const std::string& what, seconds at) {
  return complaints.Take(client, what, kBegin + at).value_or("-");
}

std::string Expired(Complaints& complaints, seconds at) {
  return fmt::format("{}", fmt::join(complaints.Expire(kBegin + at), "; "));
}

}  // namespace

TEST_CASE("complaints: one client's do not hide another's", "[complaints]") {
  Complaints complaints;
  CHECK(Told(complaints, "a", "a is loud", seconds(0)) == "a is loud");
  CHECK(Told(complaints, "a", "a is loud", seconds(1)) == "-");
  CHECK(Told(complaints, "b", "b is slow", seconds(30)) == "b is slow");
  CHECK(Told(complaints, "", "no memory", seconds(31)) == "no memory");
  CHECK(Told(complaints, "a", "a is slow", seconds(32)) == "-");
  CHECK(complaints.next() == kBegin + seconds(60));
  CHECK(Expired(complaints, seconds(59)) == "");
  CHECK(Expired(complaints, seconds(60)) ==
        "and 2 more complaints about a within a minute");
  CHECK(Told(complaints, "a", "a is loud", seconds(61)) == "a is loud");
  CHECK(Told(complaints, "", "no memory", seconds(61)) == "-");
  CHECK(Expired(complaints, seconds(121)) ==
        "and 1 more complaint within a minute");
  CHECK(!complaints.next());
}

TEST_CASE("complaints: more clients than are remembered are paced as one",
          "[complaints]") {
  Complaints complaints;
  size_t told = 0;
  for (int i = 0; i < 10'000; ++i) {
    told += complaints.Take(fmt::format("{}", i), "x", kBegin) ? 1 : 0;
  }
  CHECK(told == Complaints::kMostClients + 1);
  CHECK(Expired(complaints, seconds(60)) ==
        fmt::format("and {} more complaints about others within a minute",
                    10'000 - told));
}

}  // namespace edged::edge
