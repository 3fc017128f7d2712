#include "common/protocol/digest.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/protocol/bytes.h"
#include "tests/common/protocol/random_state.h"

namespace edged::protocol {
namespace {

IpAddress Ip(std::string_view text) { return IpAddress::Parse(text).value(); }

Mapping Web() {
  return {{Ip("203.0.113.1"), Protocol::kTcp, {443, 443}}, "web"};
}

EdgeState Example() {
  EdgeState state;
  state.settings.public_addresses = {
      {Ip("203.0.113.1"), "eth0", Ip("10.0.0.4"), 1}, {Ip("2001:db8::1")}};
  state.uplinks = {{"home-0", PublicKey(), 1}, {"home-1", PublicKey(), 2}};
  state.groups = {{"web", Ip("203.0.113.1"), Affinity::kNone, {"home-0"}}};
  state.mappings = {Web()};
  return state;
}

TEST_CASE("digest: is nothing for nothing", "[digest]") {
  CHECK(Digest().ToString() == std::string(64, '0'));
  CHECK(Digest().Short() == "00000000");
}

TEST_CASE("digest: hashes the documented bytes of a mapping", "[digest]") {
  // SHA-256 over "M", 4 and 203.0.113.1, 6, 443, 443, 3 and "web", made by
  // sha256sum.
  Digest digest;
  digest.Add(Web());
  CHECK(digest.ToString() ==
        "b942206e881f20c755f4db144621181f58d0781f76c19a4a9ecee75632a06e5e");
  CHECK(digest.Short() == digest.ToString().substr(0, 8));
}

TEST_CASE("digest: stays the same from one version to the next", "[digest]") {
  CHECK(DigestOf(Example()).ToString() ==
        "f5e298f9431879e9cfe8c5436e6f5486368aeaf23d18be4c41dbd6cf08a3e155");
}

TEST_CASE("digest: differs when any field does", "[digest]") {
  const std::vector<std::function<void(EdgeState&)>> changes = {
      [](EdgeState&) {},
      [](EdgeState& s) { s.settings.public_addresses.pop_back(); },
      [](EdgeState& s) { s.settings.network6 = IpPrefix(Ip("fd00::"), 64); },
      [](EdgeState& s) { s.settings.network6 = IpPrefix(Ip("fd00::"), 65); },
      [](EdgeState& s) { s.settings.public_addresses[0].interface = "eth1"; },
      [](EdgeState& s) { s.settings.public_addresses[0].interface = ""; },
      [](EdgeState& s) { s.settings.public_addresses[0].nic_address.reset(); },
      [](EdgeState& s) {
        s.settings.public_addresses[0].nic_address = Ip("10.0.0.5");
      },
      [](EdgeState& s) {
        s.settings.public_addresses[1].nic_address = IpAddress();
      },
      [](EdgeState& s) { s.settings.public_addresses[0].index = 2; },
      [](EdgeState& s) { s.settings.mtu = 1420; },
      [](EdgeState& s) {
        s.settings.heartbeat_interval = std::chrono::milliseconds(251);
      },
      [](EdgeState& s) { s.settings.unhealthy_threshold = 4; },
      [](EdgeState& s) { s.uplinks.pop_back(); },
      [](EdgeState& s) { s.uplinks[0].name = "home-2"; },
      [](EdgeState& s) { s.uplinks[0].key = PrivateKey::Generate().Public(); },
      [](EdgeState& s) { s.uplinks[0].block = 3; },
      [](EdgeState& s) { std::swap(s.uplinks[0].block, s.uplinks[1].block); },
      [](EdgeState& s) { s.groups.pop_back(); },
      [](EdgeState& s) { s.groups[0].name = "Web"; },
      [](EdgeState& s) {
        s.groups[0].timeouts.tcp_idle = std::chrono::seconds(5);
      },
      [](EdgeState& s) {
        s.groups[0].timeouts.udp_session = std::chrono::seconds(5);
      },
      [](EdgeState& s) {
        s.groups[0].access.allow = {*IpPrefix::Parse("192.0.2.0/24")};
      },
      [](EdgeState& s) {
        s.groups[0].access.deny = {*IpPrefix::Parse("192.0.2.0/24")};
      },
      [](EdgeState& s) {
        s.groups[0].access.deny = {*IpPrefix::Parse("192.0.2.0/25")};
      },
      [](EdgeState& s) { s.groups[0].public_address = Ip("203.0.113.2"); },
      [](EdgeState& s) { s.groups[0].affinity = Affinity::kClientIp; },
      [](EdgeState& s) {
        s.groups[0].uplinks = {"home-0", "home-1"};
      },
      [](EdgeState& s) { s.groups[0].uplinks = {"home-0home-1"}; },
      [](EdgeState& s) { s.groups[0].uplinks.clear(); },
      [](EdgeState& s) { s.mappings.pop_back(); },
      [](EdgeState& s) {
        s.mappings[0].listener.public_address = Ip("2001:db8::1");
      },
      [](EdgeState& s) { s.mappings[0].listener.protocol = Protocol::kUdp; },
      [](EdgeState& s) {
        s.mappings[0].listener.ports = {442, 443};
      },
      [](EdgeState& s) {
        s.mappings[0].listener.ports = {443, 444};
      },
      [](EdgeState& s) { s.mappings[0].group = "we"; },
  };
  std::set<Digest> digests;
  for (const auto& change : changes) {
    EdgeState state = Example();
    change(state);
    CHECK(digests.insert(DigestOf(state)).second);
  }
}

TEST_CASE("digest: does not depend on the order of records", "[digest]") {
  RandomStates states(1);
  std::mt19937 random(2);
  for (int round = 0; round < 50; ++round) {
    EdgeState state = states.Next();
    const Digest digest = DigestOf(state);
    std::ranges::shuffle(state.uplinks, random);
    std::ranges::shuffle(state.groups, random);
    std::ranges::shuffle(state.mappings, random);
    CHECK(DigestOf(state) == digest);
  }
}

TEST_CASE("digest: kept by each change equals one from scratch", "[digest]") {
  RandomStates states(3);
  EdgeState state = states.Next();
  Digest kept = DigestOf(state);
  for (int round = 0; round < 300; ++round) {
    const EdgeState next = states.Next();
    const auto replace = [&kept](const auto& from, const auto& to) {
      for (const auto& record : from) {
        if (std::ranges::find(to, record) == to.end()) kept.Remove(record);
      }
      for (const auto& record : to) {
        if (std::ranges::find(from, record) == from.end()) kept.Add(record);
      }
    };
    if (state.settings != next.settings) {
      kept.Remove(state.settings);
      kept.Add(next.settings);
    }
    replace(state.uplinks, next.uplinks);
    replace(state.groups, next.groups);
    replace(state.mappings, next.mappings);
    state = next;
    CHECK(kept.ToString() == DigestOf(state).ToString());
  }
}

TEST_CASE("digest: carries and borrows over all its bytes", "[digest]") {
  const std::string ones(32, '\xff');
  Digest digest = Digest::FromBytes(ones).value();
  digest.Add(Web());  // −1 + hash
  Digest hash;
  hash.Add(Web());
  CHECK_FALSE(digest == hash);
  digest.Remove(Web());
  CHECK(digest.ToString() == std::string(64, 'f'));
  Digest negative;
  negative.Remove(Web());
  negative.Add(Web());
  CHECK(negative == Digest());
}

TEST_CASE("digest: comes back from its bytes, and only from 32", "[digest]") {
  const Digest digest = DigestOf(Example());
  const std::string bytes(digest.bytes().begin(), digest.bytes().end());
  CHECK(Digest::FromBytes(bytes).value() == digest);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(Digest::FromBytes(bytes.substr(0, size)).ok());
  }
  CHECK_FALSE(Digest::FromBytes(bytes + "x").ok());
}

}  // namespace
}  // namespace edged::protocol
