#include "clusteragent/core/objects.h"

#include <catch2/catch.hpp>

#include "clusteragent/core/names.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

TEST_CASE("objects: age is a total order", "[objects]") {
  const ObjectMeta none_a{.name_space = "n", .name = "a"};
  const ObjectMeta none_b{.name_space = "n", .name = "b"};
  const ObjectMeta other_namespace{.name_space = "m", .name = "z"};
  const ObjectMeta early{.name_space = "n", .name = "y", .created = At(1)};
  const ObjectMeta late{.name_space = "n", .name = "x", .created = At(2)};
  CHECK(IsOlder(none_a, none_b));
  CHECK_FALSE(IsOlder(none_b, none_a));
  CHECK(IsOlder(other_namespace, none_a));
  CHECK(IsOlder(early, late));
  CHECK_FALSE(IsOlder(late, early));
  CHECK(IsOlder(late, other_namespace));
  CHECK_FALSE(IsOlder(none_a, late));
  CHECK_FALSE(IsOlder(none_a, none_a));
}

TEST_CASE("objects: a selector wants all of its labels", "[objects]") {
  CHECK(Selector().Matches({}));
  CHECK(Selector().Matches({{"a", "1"}}));
  const Selector both{{{"a", "1"}, {"b", "2"}}};
  CHECK(both.Matches({{"a", "1"}, {"b", "2"}, {"c", "3"}}));
  CHECK_FALSE(both.Matches({{"a", "1"}}));
  CHECK_FALSE(both.Matches({{"a", "1"}, {"b", "3"}}));
  CHECK(both.ToString() == "a=1,b=2");
}

TEST_CASE("objects: keys read as people write them", "[objects]") {
  CHECK(Edge("vps", {"203.0.113.1"}).Key().ToString() == "EdgeNode vps");
  CHECK(Object("web", "vps", {}).Key().ToString() == "PortBinding default/web");
}

TEST_CASE("names: labels, subdomains and port names", "[names]") {
  CHECK(IsDnsLabel("a"));
  CHECK(IsDnsLabel("a-1"));
  CHECK(IsDnsLabel(std::string(63, 'a')));
  for (const std::string wrong : {"", "-a", "a-", "A", "a.b", "a_b", "ä"}) {
    CAPTURE(wrong);
    CHECK_FALSE(IsDnsLabel(wrong));
  }
  CHECK_FALSE(IsDnsLabel(std::string(64, 'a')));
  CHECK(IsDnsSubdomain("vps.example.com"));
  CHECK_FALSE(IsDnsSubdomain("vps..com"));
  CHECK_FALSE(IsDnsSubdomain("vps."));
  CHECK_FALSE(IsDnsSubdomain("../vps"));
  CHECK(IsPortName("http-alt"));
  CHECK_FALSE(IsPortName("80"));
  CHECK(IsPortName("1-http--alt"));
  CHECK(IsPortName(std::string(63, 'p')));
  CHECK_FALSE(IsPortName(std::string(64, 'p')));
  CHECK_FALSE(IsPortName("http-"));
  CHECK_FALSE(IsPortName("8-0"));
}

}  // namespace
}  // namespace edged::agent
