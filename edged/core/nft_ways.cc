#include "edged/core/nft_ways.h"

#include <algorithm>

#include "common/nftables/values.h"
#include "edged/core/arrival_ways.h"
#include "edged/core/group_marks.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Bytes;
using nftables::Chain;
using nftables::ChainType;
using nftables::Field;
using nftables::Hook;
using nftables::HookPoint;
using nftables::Match;
using nftables::Statement;
using nftables::Verdict;
using nftables::VerdictKind;

// Before the packet is routed, and after its connection is known.
constexpr int kAnswerPriority = -150;
// After every translation, which sets the mark.
constexpr int kArrivalPriority = -90;

// The mapping address of public address `index`, whichever the uplink.
Statement OfIndex(const FamilyNames& names, const protocol::Overlay& overlay,
                  uint32_t index) {
  const Bytes block = nftables::MaskOf(overlay.BlockPrefix(0));
  Bytes value = nftables::ToBytes(overlay.MappingAddress(0, index));
  Bytes mask = block;
  for (size_t i = 0; i < mask.size(); ++i) {
    mask[i] = static_cast<uint8_t>(~block[i]);
    value[i] = static_cast<uint8_t>(value[i] & mask[i]);
  }
  return Match{.field = names.source, .value = value, .mask = mask};
}

Statement IsReply(bool negate = false) {
  return Match{.field = Field::kCtDirection,
               .value = {nftables::kCtReply},
               .negate = negate};
}

Statement IsOfWay(Field field, uint8_t number) {
  const WayMark mark = MarkOfWay(number);
  return Match{.field = field,
               .value = nftables::MarkBytes(mark.value),
               .mask = nftables::MarkBytes(mark.mask)};
}

Statement MarkForWay(uint8_t number) {
  const WayMark mark = MarkOfWay(number);
  return nftables::SetMark{.value = mark.value, .keep = ~mark.mask};
}

// A connection notes where its client last came in by: an address may move to
// another interface under it. 0 stands for the interface of the default route,
// and for whatever else has no way of its own.
Chain Arrival(const HostFacts& facts) {
  Chain chain{.name = "arrival",
              .hook = Hook{ChainType::kFilter, HookPoint::kPrerouting,
                           kArrivalPriority}};
  const auto note = [](uint8_t number) {
    return nftables::SetCtMark{.value = number, .keep = ~kWayNumberBits};
  };
  const Verdict accept{VerdictKind::kAccept};
  chain.rules = {
      {{Match{.field = Field::kCtMark,
              .value = nftables::MarkBytes(GroupMarks::kValue),
              .negate = true,
              .mask = nftables::MarkBytes(GroupMarks::kMask)},
        accept}},
      {{IsReply(), accept}},
      {{Match{Field::kIifname, nftables::NameBytes(facts.device)}, accept}}};
  for (const ArrivalWay& way : facts.arrivals.ways) {
    chain.rules.push_back(
        {{Match{Field::kIifname, nftables::NameBytes(way.interface)},
          note(way.number), accept}});
  }
  chain.rules.push_back({{note(0)}});
  return chain;
}

// Answers out of the tunnel, before they are routed. A connection that begins
// there, of which the state was lost, leaves by the interface of its address,
// which is told by its index: the host bits of each uplink's block.
Chain Answer(const HostFacts& facts) {
  Chain chain{
      .name = "answer",
      .hook = Hook{ChainType::kFilter, HookPoint::kPrerouting, kAnswerPriority},
      .rules = {{{Match{.field = Field::kIifname,
                        .value = nftables::NameBytes(facts.device),
                        .negate = true},
                  Verdict{VerdictKind::kAccept}}}}};
  for (const ArrivalWay& way : facts.arrivals.ways) {
    chain.rules.push_back({{IsReply(), IsOfWay(Field::kCtMark, way.number),
                            MarkForWay(way.number)}});
    for (const ArrivalAddress& address : way.addresses) {
      const Family family = address.nic.family();
      const protocol::Overlay* overlay = facts.OverlayOf(family);
      if (!overlay) continue;
      chain.rules.push_back({{IsReply(/*negate=*/true),
                              OfIndex(NamesOf(family), *overlay, address.index),
                              MarkForWay(way.number)}});
    }
  }
  return chain;
}

// What this host itself answers in the place of a target: ICMP errors, and
// refusals, which come before the connection's mark tells its way. Those stay
// where they are when they go to somebody in a network of this host.
Chain OwnAnswer(const HostFacts& facts) {
  Chain chain{
      .name = "own-answer",
      .hook = Hook{ChainType::kRoute, HookPoint::kOutput, kAnswerPriority}};
  nftables::MatchAnyOf leaves{.field = Field::kOifname};
  for (const std::string& exit : facts.arrivals.exits) {
    leaves.values.push_back(nftables::NameBytes(exit));
  }
  std::ranges::sort(leaves.values);
  for (const ArrivalWay& way : facts.arrivals.ways) {
    chain.rules.push_back({{IsReply(), IsOfWay(Field::kCtMark, way.number),
                            MarkForWay(way.number)}});
    for (const ArrivalAddress& address : way.addresses) {
      chain.rules.push_back({{IsReply(), IsOfWay(Field::kCtMark, 0),
                              Match{NamesOf(address.nic.family()).source,
                                    nftables::ToBytes(address.nic)},
                              leaves, MarkForWay(way.number)}});
    }
  }
  return chain;
}

}  // namespace

std::vector<Chain> WayChains(const HostFacts& facts) {
  if (facts.arrivals.ways.empty()) return {};
  return {Arrival(facts), Answer(facts), OwnAnswer(facts)};
}

}  // namespace edged::edge
