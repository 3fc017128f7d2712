#include "edged/core/nft_chains.h"

#include <algorithm>
#include <iterator>

#include "common/nftables/values.h"
#include "common/slots.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/nft_access.h"
#include "edged/core/nft_names.h"
#include "edged/core/nft_ways.h"

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

constexpr int kSnatPriority = 90;
// After every SNAT: sees the public address and port of the way back.
constexpr int kBackCheckPriority = 200;

// Any constant but 0: nft prints and reloads it.
constexpr uint32_t kHashSeed = 0xed5eed;

Statement Accept() { return Verdict{VerdictKind::kAccept}; }
Statement Drop() { return Verdict{VerdictKind::kDrop}; }
Statement Jump(std::string chain) {
  return Verdict{VerdictKind::kJump, std::move(chain)};
}
Statement Goto(std::string chain) {
  return Verdict{VerdictKind::kGoto, std::move(chain)};
}

Statement CtBits(Field field, uint32_t bits, bool negate = false) {
  return Match{field, nftables::MarkBytes(bits), negate};
}

Statement Established() {
  return CtBits(Field::kCtState,
                nftables::kCtEstablished | nftables::kCtRelated);
}

Statement Syn(bool negate = false) {
  return Match{.field = Field::kTcpFlags,
               .value = {nftables::kTcpSyn},
               .negate = negate};
}

// Both ends have spoken: all but the first packets of an established
// connection, at the cost of one comparison.
Rule AcceptAssured() {
  return {{CtBits(Field::kCtStatus, nftables::kCtStatusAssured), Accept()}};
}

// Of both directions: an answer to a SYN is one, too.
Rule ClampSyn() { return {{Syn(), nftables::ClampMss{}}}; }

Statement L4proto(Protocol protocol) {
  return Match{Field::kL4proto, nftables::ToBytes(protocol)};
}

Statement Within(Field field, const IpPrefix& prefix) {
  return Match{.field = field,
               .value = nftables::ToBytes(prefix.address()),
               .mask = nftables::MaskOf(prefix)};
}

Statement OfFamily(const FamilyNames& names) {
  return Match{.field = Field::kNfproto, .value = {names.nfproto}};
}

// The rules of one table for one host. What is in one rule for each family
// stands beside the same of the other one.
class Chains {
 public:
  explicit Chains(const HostFacts& facts)
      : facts_(facts), device_(nftables::NameBytes(facts.device)) {
    for (const Family family : facts.families()) {
      names_.push_back(&NamesOf(family));
    }
  }

  std::vector<Chain> All() const {
    return {Translate(),  Prerouting(), Output(),    BackClient(),
            BackMapped(), Back(),       BackCheck(), ToTunnel(),
            FromTunnel(), Forward(),    Input()};
  }

 private:
  Statement In() const { return Match{Field::kIifname, device_}; }
  Statement Out() const { return Match{Field::kOifname, device_}; }
  Statement NotIn() const {
    return Match{.field = Field::kIifname, .value = device_, .negate = true};
  }
  const protocol::Overlay& OverlayOf(const FamilyNames& names) const {
    return *facts_.OverlayOf(names.family);
  }

  Chain Translate() const;
  Chain Prerouting() const;
  Chain Output() const;
  Chain Back() const;
  static Chain BackClient();
  Chain BackMapped() const;
  Chain BackCheck() const;
  Chain ToTunnel() const;
  Chain FromTunnel() const;
  std::vector<Rule> Guard() const;
  Chain Forward() const;
  Chain Input() const;

  const HostFacts& facts_;
  std::vector<const FamilyNames*> names_;  // of the families that are carried
  Bytes device_;
};

// First the ports that are never translated, whatever the maps say.
Chain Chains::Translate() const {
  const VerdictMap groups{{Field::kCtMark}, GroupsSet().name};
  Chain chain{.name = "translate",
              .rules = {{{MatchSet{{Field::kL4proto, Field::kThDport},
                                   ReservedSet().name},
                          Accept()}}}};
  for (const FamilyNames* names : names_) {
    const std::vector<Field> key = {names->destination, Field::kL4proto,
                                    Field::kThDport};
    chain.rules.push_back({{SetCtMarkFromMap{key, names->ports}, groups}});
    chain.rules.push_back({{SetCtMarkFromMap{key, names->ranges}, groups}});
  }
  return chain;
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
  Chain chain{
      .name = "back",
      .hook = Hook{ChainType::kNat, HookPoint::kPostrouting, kSnatPriority}};
  for (const FamilyNames* names : names_) {
    chain.rules.push_back({{In(), nftables::NatToMap{nftables::NatKind::kSnat,
                                                     names->family,
                                                     {names->source},
                                                     names->back}}});
  }
  return chain;
}

// Only here the packet has the address and port to be looked up. Every packet
// comes here, so that what costs less is compared first.
Chain Chains::BackCheck() const {
  return {.name = "back-check",
          .hook = Hook{ChainType::kFilter, HookPoint::kPostrouting,
                       kBackCheckPriority},
          .rules = {{{CtBits(Field::kCtState, nftables::kCtNew), In(),
                      Jump("back-mapped")}}}};
}

// A flow that an uplink begins anew goes to a client that its group admits.
Chain Chains::BackClient() {
  return {.name = "back-client",
          .rules = {{{VerdictMap{{Field::kCtMark}, ClientsSet().name}}},
                    {{Accept()}}}};
}

// What WireGuard in the kernel sends itself seems to come from its device here:
// it is neither an uplink's nor translated.
Chain Chains::BackMapped() const {
  Chain chain{.name = "back-mapped"};
  for (const FamilyNames* names : names_) {
    chain.rules.push_back(
        {{Within(names->source, OverlayOf(*names).network()), Drop()}});
  }
  chain.rules.push_back(
      {{CtBits(Field::kCtStatus, nftables::kCtStatusSnat, /*negate=*/true),
        Accept()}});
  for (const FamilyNames* names : names_) {
    const std::vector<Field> key = {names->source, Field::kL4proto,
                                    Field::kThSport};
    chain.rules.push_back(
        {{SetCtMarkFromMap{key, names->ports}, Goto("back-client")}});
    chain.rules.push_back(
        {{SetCtMarkFromMap{key, names->ranges}, Goto("back-client")}});
  }
  chain.rules.push_back({{Drop()}});
  return chain;
}

// What forwards only because of us reaches the tunnel and nothing else. The
// tunnel's packets have gone another way.
std::vector<Rule> Chains::Guard() const {
  std::vector<Rule> rules;
  for (const FamilyNames* names : names_) {
    rules.push_back({{OfFamily(*names),
                      MatchSet{{Field::kIifname}, names->switched}, Drop()}});
  }
  if (facts_.ipv6.prepared) {
    rules.push_back({{OfFamily(NamesOf(Family::kIpv6)), Drop()}});
  }
  return rules;
}

Chain Chains::ToTunnel() const {
  const Statement our_mark =
      Match{.field = Field::kCtMark,
            .value = nftables::MarkBytes(GroupMarks::kValue),
            .mask = nftables::MarkBytes(GroupMarks::kMask)};
  return {.name = "to-tunnel",
          .rules = {
              AcceptAssured(),
              ClampSyn(),
              {{Established(), Accept()}},
              {{CtBits(Field::kCtStatus, nftables::kCtStatusDnat), our_mark,
                Accept()}},
              {{Drop()}},
          }};
}

Chain Chains::FromTunnel() const {
  Chain chain{
      .name = "from-tunnel",
      .rules = {AcceptAssured(), ClampSyn(), {{Established(), Accept()}}}};
  for (const FamilyNames* names : names_) {
    const Statement from_overlay =
        Within(names->source, OverlayOf(*names).network());
    chain.rules.push_back({{from_overlay, Syn(/*negate=*/true), Accept()}});
    chain.rules.push_back({{from_overlay, L4proto(Protocol::kUdp), Accept()}});
  }
  chain.rules.push_back({{Drop()}});
  return chain;
}

// Every forwarded packet comes here: each name of an interface that it is
// compared with costs as much as three other conditions.
Chain Chains::Forward() const {
  Chain chain{
      .name = "forward",
      .hook = Hook{ChainType::kFilter, HookPoint::kForward, 0},
      .rules = {{{Out(), Goto("to-tunnel")}}, {{In(), Goto("from-tunnel")}}}};
  for (const Rule& rule : Guard()) chain.rules.push_back(rule);
  return chain;
}

// The tunnel reaches the API, heartbeats and ping, and nothing else of this
// host; the tunnel's address is reached from nowhere else.
Chain Chains::Input() const {
  Chain chain{.name = "input",
              .hook = Hook{ChainType::kFilter, HookPoint::kInput, 0}};
  for (const FamilyNames* names : names_) {
    const Statement to_edge = Match{
        names->destination, nftables::ToBytes(OverlayOf(*names).EdgeAddress())};
    // Not from lo either: whoever has a shell here is no uplink.
    chain.rules.push_back({{to_edge, NotIn(), Drop()}});
    if (names->family == Family::kIpv4) {
      chain.rules.push_back(
          {{In(), MatchSet{{names->source}, CallersSet().name}, to_edge,
            MatchSet{{Field::kL4proto, Field::kThDport}, ServicesSet().name},
            Accept()}});
    }
    chain.rules.push_back(
        {{In(), to_edge,
          Match{.field = names->icmp_type, .value = {names->echo_request}},
          Accept()}});
  }
  chain.rules.push_back({{In(), Established(), Accept()}});
  chain.rules.push_back({{In(), Drop()}});
  return chain;
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
  const Family family = group.public_address.family();
  Chain chain{.name = GroupChainName(group.name),
              .rules = AccessRules(group, NamesOf(family).source)};
  const protocol::Overlay& overlay = *facts.OverlayOf(family);
  const uint32_t index =
      FindPublicAddress(settings, group.public_address)->index;
  const auto target_of = [&](size_t member) {
    const uint32_t block = uplinks.at(group.uplinks[member]).block;
    return overlay.MappingAddress(block, index);
  };
  const std::vector<bool> serving = ServingOf(group, facts.health);
  const auto count = std::ranges::count(serving, true);
  if (count == 0) {
    std::ranges::move(RefuseAll(), std::back_inserter(chain.rules));
    return chain;
  }
  if (facts.no_timeouts.empty()) {
    // Before the translation, which ends the chain.
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      const auto seconds = group.timeouts.Of(protocol).count();
      if (seconds == 0) continue;
      chain.rules.push_back(
          {{L4proto(protocol),
            nftables::SetCtTimeout{
                nftables::IdleTimeout(protocol, seconds).name}}});
    }
  }
  if (count == 1) {
    const auto only = std::ranges::find(serving, true) - serving.begin();
    chain.rules.push_back({{nftables::NatTo{
        nftables::NatKind::kDnat, target_of(static_cast<size_t>(only)),
        std::nullopt}}});
    return chain;
  }
  const FamilyNames& names = NamesOf(family);
  nftables::NatByHash nat{
      .family = names.family, .key = {names.source}, .seed = kHashSeed};
  if (group.affinity == protocol::Affinity::kNone) {
    nat.key.push_back(Field::kThSport);
  }
  nat.slots.reserve(kSlots);
  for (const uint16_t member : DealSlots(group.uplinks, serving)) {
    nat.slots.push_back(nftables::ToBytes(target_of(member)));
  }
  chain.rules.push_back({{std::move(nat)}});
  return chain;
}

std::vector<Chain> FixedChains(const HostFacts& facts) {
  std::vector<Chain> chains = Chains(facts).All();
  std::ranges::move(WayChains(facts), std::back_inserter(chains));
  return chains;
}

}  // namespace edged::edge
