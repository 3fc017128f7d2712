#include "clusteragent/core/placer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "clusteragent/core/plan_text.h"
#include "common/protocol/edge_limits.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

World TwoEdges(std::vector<PortBinding> objects) {
  return {
      {Edge("a", {"203.0.113.1", "203.0.113.2"}), Edge("b", {"203.0.113.129"})},
      std::move(objects)};
}

TEST_CASE("placer: Preserve leads clients to the uplinks that have the target",
          "[placer]") {
  World world =
      TwoEdges({Object("m", "a",
                       {Bind("one", "TCP", 80), Bind("two", "TCP", 81),
                        Bind("all", "TCP", 82)})});
  auto& bindings = world.port_bindings[0].bindings;
  bindings[0].target.address = "192.168.1.11";
  bindings[0].client_ip = "Preserve";
  bindings[1].target.address = "172.17.0.1";  // a bridge that each host has
  bindings[1].client_ip = "Preserve";
  Facts facts = FactsFor({"a", "b"});
  facts.local_addresses.push_back(Ip("172.17.0.1"));
  facts.uplinks[0].addresses.push_back(Ip("172.17.0.1"));
  facts.uplinks.push_back(
      {.name = "second",
       .keys = {{"a", KeyNumber(2)}},
       .addresses = {Ip("172.17.0.1"), Ip("192.168.1.11")}});
  // As the leader plans, and as "second" does for itself.
  const Plan here = PlanOf(world, facts);
  facts.own_uplink = "second";
  facts.local_addresses = facts.uplinks[1].addresses;
  const Plan there = PlanOf(world, facts);
  CHECK(here.Edge("a")->wanted == there.Edge("a")->wanted);

  const auto members = [&](size_t mapping) {
    const protocol::EdgeState& wanted = here.Edge("a")->wanted;
    const auto group =
        std::ranges::find(wanted.groups, wanted.mappings.at(mapping).group,
                          &protocol::Group::name);
    return fmt::format("{}", fmt::join(group->uplinks, " "));
  };
  CHECK(members(0) == "second");
  CHECK(members(1) == "home second");
  CHECK(members(2) == "home second");
  CHECK(here.Edge("a")->wanted.groups.size() == 3);
  CHECK(here.Edge("a")->mappings[0].backend.endpoints.empty());
  CHECK(there.Edge("a")->mappings[0].backend.endpoints.size() == 1);

  // Its group keeps its name when another host has the target, too.
  facts.uplinks[0].addresses.push_back(Ip("192.168.1.11"));
  const Plan both = PlanOf(world, facts);
  CHECK(both.Edge("a")->wanted.mappings == here.Edge("a")->wanted.mappings);
  CHECK(both.Edge("a")->wanted.groups != here.Edge("a")->wanted.groups);
}

// `count` objects of one binding each, numbered by age, that differ in what
// `change` does.
template <typename Change>
World Many(size_t count, Change change) {
  World world = TwoEdges({});
  for (size_t i = 0; i < count; ++i) {
    PortBinding object =
        Object(fmt::format("m{:06}", i), "a",
               {Bind("x", "TCP", static_cast<int64_t>(1'000 + i % 60'000))});
    object.meta.created = At(static_cast<int64_t>(i));
    change(i, object.bindings[0]);
    world.port_bindings.push_back(std::move(object));
  }
  // Whoever comes first in the list is not the oldest.
  std::ranges::reverse(world.port_bindings);
  return world;
}

// What is mapped of edge a, and the refusals of all.
std::string Room(const World& world, const Facts& facts) {
  const Plan plan = PlanOf(world, facts);
  const std::string all = PlanText(plan);
  const size_t refused = all.find("Refused\n");
  return fmt::format("{} {}", plan.Edge("a")->wanted.mappings.size(),
                     refused == std::string::npos ? "" : all.substr(refused));
}

TEST_CASE("placer: the youngest stand back where an edge is full", "[placer]") {
  // Each with a group of its own: of those who have its target.
  Facts facts = FactsFor({"a", "b"});
  const auto target = [](size_t i) {
    return fmt::format("192.168.{}.{}", i / 256, i % 256);
  };
  World world = Many(kMostGroupsOfEdge + 1, [&](size_t i, Binding& binding) {
    binding.client_ip = "Preserve";
    binding.target.address = target(i);
    facts.uplinks[0].addresses.push_back(Ip(target(i)));
    facts.local_addresses.push_back(Ip(target(i)));
  });
  std::ranges::sort(facts.uplinks[0].addresses);
  std::ranges::sort(facts.local_addresses);
  CHECK(Room(world, facts) ==
        "16384 Refused\n"
        "  EdgeFull: PortBinding default/m016384: spec.bindings[0] \"x\": "
        "EdgeNode a takes 16384 groups (choices of public address, timeouts, "
        "access and target of clientIP: Preserve) at most, and older bindings "
        "have them\n");
  // Younger ones that share a group have room, and so has another edge.
  PortBinding shared = world.port_bindings.back();
  shared.meta = {
      .name_space = "default", .name = "young", .created = At(99'999)};
  shared.bindings[0].listen_port = 80;
  world.port_bindings.push_back(shared);
  shared.meta.name = "elsewhere";
  shared.edge_node = "b";
  world.port_bindings.push_back(shared);
  CHECK(Room(world, facts)
            .starts_with("16385 Refused\n  EdgeFull: PortBinding default/"
                         "m016384"));
  CHECK(PlanOf(world, facts).Edge("b")->mappings.size() == 1);

  facts = FactsFor({"a", "b"});
  world = Many(kMostAccessOfEdge + 1, [](size_t i, Binding& binding) {
    binding.access.emplace().deny_cidrs = {
        fmt::format("10.0.{}.{}/32", i / 256, i % 256)};
  });
  CHECK(Room(world, facts) ==
        "1024 Refused\n"
        "  EdgeFull: PortBinding default/m001024: spec.bindings[0] \"x\": "
        "EdgeNode a takes 1024 groups with access of their own at most, and "
        "older bindings have them\n");

  // Each timeout is a burden of its own.
  world = Many(protocol::kMostTimeouts + 1, [](size_t i, Binding& binding) {
    binding.tcp.emplace().idle_timeout = {fmt::format("{}s", i + 1),
                                          std::chrono::seconds(i + 1)};
  });
  CHECK(Room(world, facts) ==
        "256 Refused\n"
        "  EdgeFull: PortBinding default/m000256: spec.bindings[0] \"x\": "
        "EdgeNode a takes 256 different timeouts at most, and older bindings "
        "have them\n");

  const size_t prefixes = 256;
  world =
      Many(kMostPrefixesOfEdge / prefixes + 1, [&](size_t i, Binding& binding) {
        auto& access = binding.access.emplace();
        for (size_t n = 0; n < prefixes; ++n) {
          access.deny_cidrs.push_back(fmt::format("10.{}.{}.0/24", i % 256, n));
        }
        access.deny_cidrs[0] = fmt::format("192.0.2.{}/32", i % 256);
        if (i >= 256) access.deny_cidrs[1] = "198.51.100.0/24";
      });
  CHECK(Room(world, facts) ==
        "256 Refused\n"
        "  EdgeFull: PortBinding default/m000256: spec.bindings[0] \"x\": "
        "EdgeNode a takes 65536 prefixes in the access of bindings at most, "
        "and older bindings have them\n");
}

}  // namespace
}  // namespace edged::agent
