#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "common/nftables/client.h"
#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_delta.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"
#include "tests/edged/core/sample_edge.h"

namespace edged::edge {

// The sample edge with two mappings, programmed through `client`: applies
// deltas as the daemon does, and after each compares the kernel with the whole
// table.
class EdgeOnKernel {
 public:
  explicit EdgeOnKernel(
      nftables::Client& client,
      nftables::CanonicalText text_of = nftables::ExpressionsOf)
      : kernel(client), text_of_(std::move(text_of)) {
    protocol::EdgeState state = SampleState();
    state.mappings = {{Tcp(80), "g1"}, {Udp(5000, 5999), "g1"}};
    model = ModelOf(state);
    marks = *GroupMarks::TakeOver({}, model);
    REQUIRE(kernel.Apply(Missing()) == absl::OkStatus());
  }

  // What the kernel lacks of the whole table.
  nftables::Transaction Missing() const {
    return nftables::Diff(Listing(), CompileTable(model, marks, facts),
                          text_of_);
  }

  // Right after a bulk load the kernel's hash table still grows: then a dump
  // gives some elements twice and leaves others out (6.18), unmarked.
  nftables::Listing Listing() const {
    for (int tries = 0; tries < 50; ++tries) {
      auto listing = kernel.List(kTable);
      REQUIRE(listing.status() == absl::OkStatus());
      bool twice = false;
      for (const auto& [name, set] : listing->sets) {
        const auto repeated = std::ranges::adjacent_find(
            set.elements, {}, &nftables::Element::key);
        twice = twice || repeated != set.elements.end();
      }
      if (!twice) return *std::move(listing);
    }
    FAIL("the kernel lists elements twice, again and again");
    return {};
  }

  // Judges, compiles, applies, reads back, commits; the nft commands.
  std::string Change(const protocol::EdgeDelta& delta) {
    const auto judgement = model.Judge(delta, facts.limits);
    REQUIRE(judgement.status() == absl::OkStatus());
    const protocol::EdgeDelta& accepted = judgement->accepted;
    REQUIRE(!NeedsWholeTable(model, accepted));
    REQUIRE(marks.Reserve(accepted) == absl::OkStatus());
    const auto transaction = CompileDelta(model, marks, facts, accepted);
    const std::string commands = nftables::Print(transaction);
    INFO(commands);
    REQUIRE(kernel.Apply(transaction) == absl::OkStatus());
    for (const auto& touched :
         Touched(marks, facts, accepted.mappings, accepted.removed_mappings)) {
      const auto found =
          kernel.GetElements(kTable, touched.set, touched.Keys());
      REQUIRE(found.status() == absl::OkStatus());
      CHECK(CheckReadBack(touched, *found) == absl::OkStatus());
    }
    model.Commit(accepted);
    marks.Release(accepted);
    CHECK(nftables::Print(Missing()) == "");
    KernelDigest digest(model, marks, facts);
    digest.Add(Listing());
    CHECK(digest.digest() == model.digest());
    CHECK(digest.strangers() == 0);
    return commands;
  }

  nftables::Client& kernel;
  EdgeModel model;
  GroupMarks marks;
  HostFacts facts = SampleFacts();

 private:
  nftables::CanonicalText text_of_;
};

// Any state of up to four groups and uplinks on a few ports.
inline protocol::EdgeState RandomState(std::mt19937& random) {
  const auto pick = [&](uint32_t below) { return random() % below; };
  protocol::EdgeState state = SampleState();
  state.uplinks.clear();
  state.groups.clear();
  for (const char* name : {"a", "b", "c", "d"}) {
    if (pick(3) == 0) continue;
    const auto number = static_cast<uint8_t>(name[0] - 'a' + 1);
    const uint32_t block = pick(6) == 0 ? number + 10u : number;
    state.uplinks.push_back({name, Key(number), block});
  }
  for (const char* name : {"g1", "g2", "g3", "g4"}) {
    if (pick(4) == 0) continue;
    protocol::Group group{
        .name = name,
        .public_address = Ip(name[1] % 2 == 0 ? "203.0.113.2" : "203.0.113.1"),
        .affinity = pick(2) == 0 ? protocol::Affinity::kNone
                                 : protocol::Affinity::kClientIp};
    if (pick(3) == 0) {
      group.timeouts.tcp_idle = std::chrono::seconds(60 + pick(2));
    }
    if (pick(3) == 0) {
      group.timeouts.udp_session = std::chrono::seconds(60 + pick(2));
    }
    const char* clients[] = {"198.51.0.0/16", "198.51.100.0/24",
                             "198.51.101.0/24", "198.51.100.9/32"};
    for (auto* prefixes : {&group.access.allow, &group.access.deny}) {
      if (pick(3) != 0) continue;
      for (const char* client : clients) {
        if (pick(2) == 0) prefixes->push_back(Net(client));
      }
      std::ranges::sort(*prefixes);
    }
    for (const auto& uplink : state.uplinks) {
      if (pick(2) == 0) group.uplinks.push_back(uplink.name);
    }
    state.groups.push_back(group);
  }
  for (int i = 0; i < 12 && !state.groups.empty(); ++i) {
    const auto& group = state.groups[pick(state.groups.size())];
    const auto first = static_cast<uint16_t>(1000 + pick(40));
    const auto last =
        static_cast<uint16_t>(first + (pick(3) == 0 ? pick(9) : 0));
    state.mappings.push_back({{group.public_address,
                               pick(2) == 0 ? Protocol::kTcp : Protocol::kUdp,
                               {first, last}},
                              group.name});
  }
  return state;
}

}  // namespace edged::edge
