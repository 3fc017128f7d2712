#include "edged/core/astray.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

std::string News(const Astray& before, const Astray& after,
                 const HostFacts& facts = DualFacts()) {
  const AstrayNews news =
      NewsOfAstray(before, after, ModelOf(SampleState()), facts);
  return fmt::format("begun: {}\nover: {}", fmt::join(news.begun, "\n"),
                     fmt::join(news.over, "\n"));
}

constexpr Family k4 = Family::kIpv4, k6 = Family::kIpv6;

}  // namespace

TEST_CASE("astray: who takes an uplink's packets is told once for each",
          "[astray]") {
  const Astray one{{{"a", k4}, "route 1 takes them"}};
  const std::string told =
      "packets for uplink a do not go into the tunnel: route 1 takes them; "
      "`edged doctor` says more";
  CHECK(WarningsOfAstray(one) == std::vector<std::string>{told});
  CHECK(News({}, one) == "begun: " + told + "\nover: ");
  CHECK(News(one, one) == "begun: \nover: ");
  CHECK_THAT(News(one, {{{"a", k4}, "route 2 takes them"}}),
             Catch::StartsWith("begun: packets for uplink a do not go into the "
                               "tunnel: route 2 takes them"));
}

TEST_CASE("astray: the end is told, of each family alone", "[astray]") {
  const Astray both{{{"a", k4}, "x"}, {{"a", k6}, "x"}};
  CHECK(News(both, {{{"a", k4}, "x"}}) ==
        "begun: \nover: IPv6 packets for uplink a go into the tunnel again");
  CHECK(News(both, {}) ==
        "begun: \nover: packets for uplink a go into the tunnel again\n"
        "IPv6 packets for uplink a go into the tunnel again");
}

TEST_CASE("astray: of what is removed there is no end", "[astray]") {
  CHECK(News({{{"gone", k4}, "x"}}, {}) == "begun: \nover: ");
  CHECK(News({{{"a", k6}, "x"}}, {}, SampleFacts()) == "begun: \nover: ");
}

}  // namespace edged::edge
