#include "edged/core/served_addresses.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

// The sample edge of both families on a host that has its first IPv4 address
// and its IPv6 one, and lets IPv6 through when told so.
class Host {
 public:
  explicit Host(bool forwards_ipv6) : facts_(DualFacts()) {
    ObservedRoutes observed;
    observed.links = {
        {.index = 2, .name = "eth0", .ipv6 = {.enabled = true}},
        {.index = 3, .name = "edged0", .ipv6 = {.enabled = true}}};
    protocol::EdgeState state = DualState();
    for (const auto& wanted : state.settings.public_addresses) {
      if (wanted.address == Ip("203.0.113.2")) continue;
      const bool ipv4 = wanted.address.is_ipv4();
      observed.addresses.push_back({.link = 2,
                                    .address = wanted.address,
                                    .prefix_length = ipv4 ? 24 : 64});
      if (!ipv4) address6_ = wanted.address;
    }
    state.mappings = {{Tcp(80), "g1"},
                      {At("203.0.113.2", Protocol::kTcp, 80), "g2"}};
    model_ = ModelOf(state);
    facts_.ipv6.forwarding_everywhere = forwards_ipv6;
    unserved_ = ResolveAddresses(state.settings, observed, facts_);
  }

  std::string Served() const {
    std::string text;
    for (const auto& address :
         ResolvedAddresses(model_.settings(), facts_, unserved_)) {
      if (address.nic_address) text += address.address.ToString() + " ";
    }
    return text;
  }
  std::string WhyNot(const IpAddress& address) const {
    const auto why = unserved_.find(address);
    return why == unserved_.end() ? "" : why->second.reason;
  }

  const HostFacts& facts() const { return facts_; }
  const EdgeModel& model() const { return model_; }
  const UnservedAddresses& unserved() const { return unserved_; }
  const IpAddress& address6() const { return address6_; }

 private:
  HostFacts facts_;
  EdgeModel model_;
  UnservedAddresses unserved_;
  IpAddress address6_ = Ip("::");
};

TEST_CASE("served_addresses: those that are local, and lead somewhere",
          "[served_addresses]") {
  const Host host(true);
  CHECK(host.Served() == "203.0.113.1 " + host.address6().ToString() + " ");
  CHECK(host.WhyNot(Ip("203.0.113.2")) == "AddressNotLocal");
  const Host without(false);
  CHECK(without.Served() == "203.0.113.1 ");
  CHECK(without.WhyNot(without.address6()) == "Ipv6ForwardingOff");
  const auto all = ResolvedAddresses(without.model().settings(),
                                     without.facts(), without.unserved());
  CHECK(all.size() == without.model().settings().public_addresses.size());
  CHECK(all.back().error != "");
}

TEST_CASE("served_addresses: a mapping on another one is not programmed",
          "[served_addresses]") {
  const Host host(true);
  const auto refused =
      NotProgrammed(host.model(), host.facts(), host.unserved());
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].listener == At("203.0.113.2", Protocol::kTcp, 80));
  CHECK(refused[0].reason == "AddressNotLocal");
  protocol::Digest digest = host.model().digest();
  digest.Remove(protocol::Mapping{refused[0].listener, "g2"});
  CHECK(ProgrammedDigest(host.model(), host.facts()) == digest);
  // As long as nothing was asked of the host.
  CHECK(NotProgrammed(host.model(), host.facts(), {})[0].message ==
        "203.0.113.2 is not resolved");
}

}  // namespace
}  // namespace edged::edge
