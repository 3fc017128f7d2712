#include "clusteragent/core/path_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Time = PathSearch::Time;

// A path with an edge at its end, and a clock of its own. Heartbeats come back
// every 250 ms while the path lives.
class Path {
 public:
  PathSearch search;
  uint32_t carries = 1500;  // of both ways; 0: nothing
  uint32_t edge = 1440;     // what the edge's links leave
  bool answers = true;      // the edge knows probes
  milliseconds round_trip{20};
  std::function<bool(uint64_t number)> loses = [](uint64_t) { return false; };
  std::vector<uint32_t> sizes;  // of all probes sent
  uint32_t told = 0;            // what the edge has heard
  Time now = Time() + std::chrono::hours(1);

  void Start(uint32_t own) {
    search.SetOwn(own, now);
    search.Begin(now);
  }

  // Lets time pass; "1440 → 1200 → 1216": the sizes that were in use.
  std::string Run(PathSearch::Duration time) {
    std::string text = std::to_string(search.mtu());
    uint32_t before = search.mtu();
    for (const Time end = now + time; now < end; now += milliseconds(1)) {
      Step();
      if (search.mtu() == before) continue;
      before = search.mtu();
      text += fmt::format(" → {}", before);
    }
    return text;
  }

 private:
  struct Echo {
    Time at;
    PathSearch::Probe probe;
  };

  void Step() {
    if (carries > 0 && (now - Time()) % milliseconds(250) == seconds(0)) {
      search.Heard(now);
    }
    std::erase_if(echoes_, [this](const Echo& echo) {
      if (echo.at > now) return false;
      search.Echoed(echo.probe, edge, now);
      return true;
    });
    while (now >= search.due()) {
      const auto probe = search.Next(now);
      if (!probe) break;
      sizes.push_back(probe->size);
      REQUIRE(sizes.size() < 2'000);
      if (carries == 0 || probe->size > carries || loses(probe->number)) {
        continue;
      }
      if (!answers) continue;
      if (probe->uplink_mtu != 0) told = probe->uplink_mtu;
      echoes_.push_back({now + round_trip, *probe});
    }
  }

  std::vector<Echo> echoes_;
};

TEST_CASE("path_search: what the links leave is taken when it passes",
          "[path_search]") {
  Path path;
  path.Start(1440);
  CHECK(path.Run(seconds(1)) == "1440");
  CHECK(path.sizes == std::vector<uint32_t>{0, 1440, 0});
  CHECK(path.told == 1440);
  // One probe every five seconds from then on.
  path.sizes.clear();
  CHECK(path.Run(minutes(1)) == "1440");
  CHECK(path.sizes == std::vector<uint32_t>(12, 1440));
}

TEST_CASE("path_search: a black hole is left at once, and the rest regained",
          "[path_search]") {
  Path path;
  path.carries = 1220;
  path.Start(1440);
  // The least that surely passes, after three losses; then up to what fits.
  CHECK(path.Run(seconds(1)) == "1440 → 1200");
  CHECK(path.Run(seconds(10)) == "1200 → 1216");
  CHECK(path.told == 1216);
}

TEST_CASE("path_search: a path that shrinks is noticed within six seconds",
          "[path_search]") {
  Path path;
  path.Start(1440);
  path.Run(seconds(3));
  path.carries = 1380;
  CHECK(path.Run(seconds(6)).starts_with("1440 → 1200"));
  path.Run(seconds(10));
  CHECK(path.search.mtu() == 1376);
  CHECK(path.told == 1376);
}

TEST_CASE("path_search: every path of 576 and more is found", "[path_search]") {
  for (uint32_t carries = 576; carries <= 1440; carries += 48) {
    Path path;
    path.carries = carries;
    path.Start(1440);
    path.Run(seconds(20));
    const uint32_t found = path.search.mtu();
    INFO("carries " << carries);
    CHECK(found <= carries);
    CHECK(found + 16 > carries);
    CHECK(path.told == found);
  }
}

TEST_CASE("path_search: larger ones are tried again after ten minutes",
          "[path_search]") {
  Path path;
  path.carries = 1300;
  path.Start(1440);
  path.Run(seconds(20));
  REQUIRE(path.search.mtu() == 1296);
  path.carries = 1500;
  CHECK(path.Run(minutes(9)) == "1296");
  CHECK(path.Run(minutes(2)) == "1296 → 1440");
}

TEST_CASE("path_search: a link that changes is another path, no black hole",
          "[path_search]") {
  Path path;
  path.Start(1440);
  path.Run(seconds(1));
  path.search.SetOwn(1220, path.now);
  CHECK(path.search.mtu() == 1220);  // at once
  path.Run(seconds(1));
  CHECK(path.told == 1220);
  path.search.SetOwn(1440, path.now);
  CHECK(path.search.mtu() == 1220);  // until more has passed
  CHECK(path.Run(seconds(1)) == "1220 → 1440");
}

TEST_CASE("path_search: the edge's own links count", "[path_search]") {
  Path path;
  path.edge = 1340;
  path.Start(1440);
  CHECK(path.Run(seconds(1)) == "1440 → 1340");
  path.edge = 1320;
  CHECK(path.Run(seconds(6)) == "1340 → 1320");
  path.edge = 1440;
  CHECK(path.Run(seconds(6)) == "1320 → 1440");
  path.edge = 0;  // nonsense
  CHECK(path.Run(seconds(6)) == "1440 → 576");
}

TEST_CASE("path_search: an edge that knows no probes is left in peace",
          "[path_search]") {
  Path path;
  path.answers = false;
  path.carries = 1220;
  path.Start(1440);
  CHECK(path.Run(minutes(1)) == "1440");
  CHECK(std::ranges::count(path.sizes, 0u) ==
        static_cast<int>(path.sizes.size()));
  CHECK(path.sizes.size() < 50);
}

TEST_CASE("path_search: losses by chance do not shrink it", "[path_search]") {
  Path path;
  path.loses = [](uint64_t number) { return number % 3 == 0; };
  path.Start(1440);
  CHECK(path.Run(minutes(5)) == "1440");
  path.loses = [](uint64_t number) { return number % 3 != 0; };
  CHECK(path.Run(minutes(5)) == "1440");
}

TEST_CASE("path_search: a dead path tells nothing of sizes", "[path_search]") {
  Path path;
  path.Start(1440);
  path.Run(seconds(1));
  path.carries = 0;
  path.sizes.clear();
  CHECK(path.Run(minutes(1)) == "1440");
  CHECK(path.sizes.size() < 60);
  path.carries = 1500;
  path.search.Begin(path.now);
  CHECK(path.Run(seconds(10)) == "1440");
}

TEST_CASE("path_search: a slow path is waited for", "[path_search]") {
  Path path;
  path.round_trip = milliseconds(900);
  path.Start(1440);
  CHECK(path.Run(minutes(1)) == "1440");
  path.carries = 1300;
  path.Run(seconds(60));
  CHECK(path.search.mtu() == 1296);
}

TEST_CASE("path_search: before the first size has passed the edge hears none",
          "[path_search]") {
  Path path;
  path.loses = [](uint64_t number) { return number > 1; };
  path.Start(1440);
  path.Run(milliseconds(500));
  CHECK(path.told == 0);
  path.loses = [](uint64_t) { return false; };
  path.Run(seconds(3));
  CHECK(path.told == 1440);
}

}  // namespace
}  // namespace edged::agent
