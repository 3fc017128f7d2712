#include "common/config/duration.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/status.h"

namespace edged::config {
namespace {

std::string Read(std::string_view text) {
  const auto duration = ParseDuration(text);
  return duration.ok() ? fmt::format("{} ms", duration->count()) : "refused";
}

TEST_CASE("duration: reads hours to milliseconds exactly", "[duration]") {
  CHECK(Read("1h") == "3600000 ms");
  CHECK(Read("15m") == "900000 ms");
  CHECK(Read("30s") == "30000 ms");
  CHECK(Read("500ms") == "500 ms");
  CHECK(Read("1h30m") == "5400000 ms");
  CHECK(Read("1m250ms") == "60250 ms");
  CHECK(Read("90m") == "5400000 ms");
  CHECK(Read("0h5s") == "5000 ms");
}

TEST_CASE("duration: refuses what is not exact and positive", "[duration]") {
  for (const char* text : {"",
                           "BOGUS",
                           "-1s",
                           "+1s",
                           "0",
                           "0s",
                           "0h0ms",
                           "1",
                           "h",
                           "1.5h",
                           "1 s",
                           " 1s",
                           "1s ",
                           "1S",
                           "1d",
                           "1us",
                           "30s1m",
                           "1s1s",
                           "1h-5m",
                           "1e3s",
                           "9223372036854775807h",
                           "9223372036854775807ms1ms",
                           "99999999999999999999s"}) {
    INFO(text);
    CHECK(Read(text) == "refused");
  }
  CHECK(std::string(Message(ParseDuration("BOGUS").status())) ==
        "\"BOGUS\" is not a duration such as 1h30m, 30s or 250ms");
}

TEST_CASE("duration: prints what it reads", "[duration]") {
  for (const char* text : {"1h", "15m", "30s", "250ms", "1h30m", "1h1m1s1ms",
                           "2562047788015h12m55s807ms"}) {
    const auto duration = ParseDuration(text);
    REQUIRE(duration.ok());
    CHECK(FormatDuration(*duration) == text);
  }
  CHECK(FormatDuration(std::chrono::milliseconds(0)) == "0s");
  CHECK(FormatDuration(std::chrono::milliseconds(-61'500)) == "-1m1s500ms");
}

}  // namespace
}  // namespace edged::config
