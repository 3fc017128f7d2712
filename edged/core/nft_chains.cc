#include "edged/core/nft_chains.h"

#include <algorithm>

#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/nft_names.h"
#include "edged/core/slots.h"

namespace edged::edge {
namespace {

using nftables::Bytes;
using nftables::Chain;
using nftables::ChainType;
using nftables::Field;
using nftables::Hook;
using nftables::HookPoint;
using nftables::Match;
using nftables::MatchSet;
using nftables::Rule;
using nftables::SetCtMarkFromMap;
using nftables::Statement;
using nftables::Verdict;
using nftables::VerdictKind;
using nftables::VerdictMap;

// Before docker's -100, which else would win or lose by the order of loading.
constexpr int kDnatPriority = -110;
constexpr int kSnatPriority = 90;
// After every SNAT: sees the public address and port of the way back.
constexpr int kBackCheckPriority = 200;

// Any constant but 0: nft prints and reloads it.
constexpr uint32_t kHashSeed = 0xed5eed;

constexpr uint8_t kEchoRequest = 8;
constexpr uint8_t kEchoRequest6 = 128;

Statement Accept() { return Verdict{VerdictKind::kAccept}; }
Statement Drop() { return Verdict{VerdictKind::kDrop}; }
Statement Jump(std::string chain) {
  return Verdict{VerdictKind::kJump, std::move(chain)};
}

Statement CtBits(Field field, uint32_t bits) {
  return Match{field, nftables::MarkBytes(bits)};
}

Statement Established() {
  return CtBits(Field::kCtState,
                nftables::kCtEstablished | nftables::kCtRelated);
}

Statement L4proto(Protocol protocol) {
  return Match{Field::kL4proto, nftables::ToBytes(protocol)};
}

Statement Within(Field field, const IpPrefix& prefix) {
  Bytes mask(prefix.address().bytes().size(), 0);
  for (int bit = 0; bit < prefix.length(); ++bit) {
    mask[bit / 8] |= 0x80 >> bit % 8;
  }
  return Match{.field = field,
               .value = nftables::ToBytes(prefix.address()),
               .mask = mask};
}

// The rules of one table for one host.
class Chains {
 public:
  explicit Chains(const HostFacts& facts)
      : overlay_(facts.limits.overlay),
        names_(NamesOf(overlay_.network().family())),
        device_(nftables::NameBytes(facts.device)) {}

  std::vector<Chain> All() const {
    return {Translate(), Prerouting(), Output(),  BackMapped(),
            Back(),      BackCheck(),  Forward(), Input()};
  }

 private:
  Statement In() const { return Match{Field::kIifname, device_}; }
  Statement Out() const { return Match{Field::kOifname, device_}; }
  Statement NotIn() const {
    return Match{.field = Field::kIifname, .value = device_, .negate = true};
  }
  Statement NotOut() const {
    return Match{.field = Field::kOifname, .value = device_, .negate = true};
  }
  std::vector<Field> ListenerKey() const {
    return {names_.destination, Field::kL4proto, Field::kThDport};
  }
  std::vector<Field> BackKey() const {
    return {names_.source, Field::kL4proto, Field::kThSport};
  }

  Chain Translate() const;
  Chain Prerouting() const;
  Chain Output() const;
  Chain Back() const;
  Chain BackMapped() const;
  Chain BackCheck() const;
  Chain Forward() const;
  Chain Input() const;

  const protocol::Overlay& overlay_;
  const FamilyNames& names_;
  Bytes device_;
};

// First the ports that are never translated, whatever the maps say.
Chain Chains::Translate() const {
  const VerdictMap groups{{Field::kCtMark}, GroupsSet().name};
  return {
      .name = "translate",
      .rules = {
          {{MatchSet{{Field::kL4proto, Field::kThDport}, ReservedSet().name},
            Accept()}},
          {{SetCtMarkFromMap{ListenerKey(), names_.ports}, groups}},
          {{SetCtMarkFromMap{ListenerKey(), names_.ranges}, groups}},
      }};
}

Chain Chains::Prerouting() const {
  return {.name = "prerouting",
          .hook = Hook{ChainType::kNat, HookPoint::kPrerouting, kDnatPriority},
          .rules = {{{NotIn(), Jump("translate")}}}};
}

Chain Chains::Output() const {
  return {.name = "output",
          .hook = Hook{ChainType::kNat, HookPoint::kOutput, kDnatPriority},
          .rules = {{{Jump("translate")}}}};
}

// The way back of flows whose connection state was lost: their next packet may
// come from the uplink, and leaves with the public address again.
Chain Chains::Back() const {
  return {.name = "back",
          .hook = Hook{ChainType::kNat, HookPoint::kPostrouting, kSnatPriority},
          .rules = {{{In(), nftables::NatToMap{nftables::NatKind::kSnat,
                                               names_.family,
                                               {names_.source},
                                               names_.back}}}}};
}

// Only here the packet has the address and port to be looked up.
Chain Chains::BackCheck() const {
  return {.name = "back-check",
          .hook = Hook{ChainType::kFilter, HookPoint::kPostrouting,
                       kBackCheckPriority},
          .rules = {{{In(), CtBits(Field::kCtState, nftables::kCtNew),
                      Jump("back-mapped")}}}};
}

Chain Chains::BackMapped() const {
  return {.name = "back-mapped",
          .rules = {
              {{SetCtMarkFromMap{BackKey(), names_.ports}, Accept()}},
              {{SetCtMarkFromMap{BackKey(), names_.ranges}, Accept()}},
              {{Drop()}},
          }};
}

Chain Chains::Forward() const {
  const Statement syn =
      Match{.field = Field::kTcpFlags, .value = {nftables::kTcpSyn}};
  const Statement no_syn = Match{
      .field = Field::kTcpFlags, .value = {nftables::kTcpSyn}, .negate = true};
  const Statement our_mark =
      Match{.field = Field::kCtMark,
            .value = nftables::MarkBytes(GroupMarks::kValue),
            .mask = nftables::MarkBytes(GroupMarks::kMask)};
  const Statement from_overlay = Within(names_.source, overlay_.network());
  return {
      .name = "forward",
      .hook = Hook{ChainType::kFilter, HookPoint::kForward, 0},
      .rules = {
          {{Out(), syn, nftables::ClampMss{}}},
          {{In(), syn, nftables::ClampMss{}}},
          {{MatchSet{{Field::kIifname}, SwitchedSet().name}, NotOut(), Drop()}},
          {{Out(), CtBits(Field::kCtStatus, nftables::kCtStatusDnat), our_mark,
            Accept()}},
          {{Out(), Established(), Accept()}},
          {{Out(), Drop()}},
          {{In(), Established(), Accept()}},
          {{In(), from_overlay, no_syn, Accept()}},
          {{In(), from_overlay, L4proto(Protocol::kUdp), Accept()}},
          {{In(), Drop()}},
      }};
}

// The tunnel reaches the API, heartbeats and ping, and nothing else of this
// host; the tunnel's address is reached from nowhere else.
Chain Chains::Input() const {
  const Statement to_edge =
      Match{names_.destination, nftables::ToBytes(overlay_.EdgeAddress())};
  const Statement ping =
      names_.family == Family::kIpv4
          ? Match{.field = Field::kIcmpType, .value = {kEchoRequest}}
          : Match{.field = Field::kIcmpv6Type, .value = {kEchoRequest6}};
  return {
      .name = "input",
      .hook = Hook{ChainType::kFilter, HookPoint::kInput, 0},
      .rules = {
          // Not from lo either: whoever has a shell here is no uplink.
          {{to_edge, NotIn(), Drop()}},
          {{In(), MatchSet{{names_.source}, names_.callers}, to_edge,
            MatchSet{{Field::kL4proto, Field::kThDport}, ServicesSet().name},
            Accept()}},
          {{In(), to_edge, ping, Accept()}},
          {{In(), Established(), Accept()}},
          {{In(), Drop()}},
      }};
}

std::vector<Rule> RefuseAll() {
  return {{{L4proto(Protocol::kTcp),
            nftables::Reject{nftables::RejectKind::kTcpReset}}},
          {{nftables::Reject{nftables::RejectKind::kPortUnreachable}}}};
}

}  // namespace

Chain GroupChain(const protocol::Group& group,
                 const std::map<std::string, protocol::Uplink>& uplinks,
                 const protocol::Settings& settings, const HostFacts& facts) {
  Chain chain{.name = GroupChainName(group.name)};
  const protocol::Overlay& overlay = facts.limits.overlay;
  const uint32_t index =
      FindPublicAddress(settings, group.public_address)->index;
  const auto target_of = [&](size_t member) {
    const uint32_t block = uplinks.at(group.uplinks[member]).block;
    return overlay.MappingAddress(block, index);
  };
  const std::vector<bool> serving = ServingOf(group, facts.health);
  const auto count = std::ranges::count(serving, true);
  if (count == 0) {
    chain.rules = RefuseAll();
    return chain;
  }
  if (count == 1) {
    const auto only = std::ranges::find(serving, true) - serving.begin();
    chain.rules = {{{nftables::NatTo{nftables::NatKind::kDnat,
                                     target_of(static_cast<size_t>(only)),
                                     std::nullopt}}}};
    return chain;
  }
  const FamilyNames& names = NamesOf(overlay.network().family());
  nftables::NatByHash nat{
      .family = names.family, .key = {names.source}, .seed = kHashSeed};
  if (group.affinity == protocol::Affinity::kNone) {
    nat.key.push_back(Field::kThSport);
  }
  nat.slots.reserve(kSlots);
  for (const uint16_t member : DealSlots(group.uplinks, serving)) {
    nat.slots.push_back(nftables::ToBytes(target_of(member)));
  }
  chain.rules = {{{std::move(nat)}}};
  return chain;
}

std::vector<Chain> FixedChains(const HostFacts& facts) {
  return Chains(facts).All();
}

}  // namespace edged::edge
