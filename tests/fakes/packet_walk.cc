#include "tests/fakes/packet_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "common/nftables/print.h"
#include "common/nftables/rule_context.h"
#include "common/nftables/values.h"

namespace edged::nftables {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17;

std::string_view NameOf(HookPoint hook) {
  switch (hook) {
    case HookPoint::kPrerouting:
      return "prerouting";
    case HookPoint::kInput:
      return "input";
    case HookPoint::kForward:
      return "forward";
    case HookPoint::kOutput:
      return "output";
    case HookPoint::kPostrouting:
      return "postrouting";
  }
  return "";
}

uint32_t MarkOf(const Bytes& bytes) {
  uint32_t mark = 0;
  std::memcpy(&mark, bytes.data(), std::min(bytes.size(), sizeof mark));
  return mark;
}

std::optional<Bytes> AddressField(const IpAddress& address, Family family) {
  if (address.family() != family) return std::nullopt;
  return ToBytes(address);
}

// Nothing when the packet does not have it.
std::optional<Bytes> Read(const Packet& packet, Field field) {
  const auto wanted = ProtocolOf(field);
  if (wanted && packet.protocol != *wanted) return std::nullopt;
  if (field == Field::kThSport || field == Field::kThDport) {
    if (packet.protocol != kTcp && packet.protocol != kUdp) return std::nullopt;
  }
  switch (field) {
    case Field::kIifname:
      return NameBytes(packet.iif);
    case Field::kOifname:
      return NameBytes(packet.oif);
    case Field::kNfproto:
      return Bytes{static_cast<uint8_t>(packet.source.is_ipv4() ? 2 : 10)};
    case Field::kL4proto:
      return Bytes{packet.protocol};
    case Field::kMark:
      return MarkBytes(packet.mark);
    case Field::kSkuid:
      if (!packet.user) return std::nullopt;
      return MarkBytes(*packet.user);
    case Field::kIpSaddr:
      return AddressField(packet.source, Family::kIpv4);
    case Field::kIpDaddr:
      return AddressField(packet.destination, Family::kIpv4);
    case Field::kIp6Saddr:
      return AddressField(packet.source, Family::kIpv6);
    case Field::kIp6Daddr:
      return AddressField(packet.destination, Family::kIpv6);
    case Field::kThSport:
      return PortBytes(packet.source_port);
    case Field::kThDport:
      return PortBytes(packet.destination_port);
    case Field::kTcpFlags:
      return Bytes{packet.tcp_flags};
    case Field::kIcmpType:
    case Field::kIcmpv6Type:
      return Bytes{packet.icmp_type};
    case Field::kCtState:
      return MarkBytes(packet.ct_state);
    case Field::kCtStatus:
      return MarkBytes(packet.ct_status);
    case Field::kCtMark:
      return MarkBytes(packet.ct_mark);
    case Field::kCtDirection:
      return Bytes{packet.ct_direction};
  }
  return std::nullopt;
}

std::optional<Bytes> ReadKey(const Packet& packet,
                             const std::vector<Field>& key) {
  Bytes bytes;
  for (const Field field : key) {
    const auto part = Read(packet, field);
    if (!part) return std::nullopt;
    if (key.size() == 1) return part;
    bytes = Concat({bytes, *part});
  }
  return bytes;
}

bool InOrder(Type type, const uint8_t* low, const uint8_t* high) {
  const size_t size = SizeOf(type);
  if (!IsHostOrder(type)) return std::memcmp(low, high, size) <= 0;
  for (size_t i = size; i-- > 0;) {
    if (low[i] != high[i]) return low[i] < high[i];
  }
  return true;
}

bool Contains(const Set& set, const Element& element, const Bytes& key) {
  if (element.key_end.empty()) return element.key == key;
  size_t offset = 0;
  for (const Type type : set.key) {
    const uint8_t* value = key.data() + offset;
    if (!InOrder(type, element.key.data() + offset, value) ||
        !InOrder(type, value, element.key_end.data() + offset)) {
      return false;
    }
    offset += (SizeOf(type) + 3) / 4 * 4;
  }
  return true;
}

// What becomes of the rest: go on with the next statement, with the next rule,
// leave the chain (a verdict without a chain), or stop altogether.
enum class Flow { kContinue, kNextRule, kReturn, kAccept, kStop };

class Walker {
 public:
  Walker(const Table& table, HookPoint hook, const Packet& packet,
         uint32_t hash)
      : table_(table), hash_(hash) {
    walk_.packet = packet;
    if (hook == HookPoint::kPrerouting || hook == HookPoint::kInput) {
      walk_.packet.oif.clear();
    }
    if (hook == HookPoint::kOutput) walk_.packet.iif.clear();
    for (const Chain& chain : table.chains) {
      if (chain.hook && chain.hook->point == hook) chains_.push_back(&chain);
    }
    std::ranges::stable_sort(
        chains_, {}, [](const Chain* chain) { return chain->hook->priority; });
  }

  Walk Run(const Packet& original) {
    walk_.end = "accept";
    for (const Chain* chain : chains_) {
      const bool nat = chain->hook->type == ChainType::kNat;
      if (nat && (translated_ || (walk_.packet.ct_state & kCtNew) == 0)) {
        continue;
      }
      if (RunChain(*chain) == Flow::kStop) break;
    }
    walk_.packet.iif = original.iif;
    walk_.packet.oif = original.oif;
    return std::move(walk_);
  }

 private:
  Flow Stop(std::string end) {
    walk_.end = std::move(end);
    return Flow::kStop;
  }

  const Chain* FindChain(const std::string& name) const {
    const auto found = std::ranges::find(table_.chains, name, &Chain::name);
    return found == table_.chains.end() ? nullptr : &*found;
  }
  const SetWithElements* FindSet(const std::string& name) const {
    for (const SetWithElements& set : table_.sets) {
      if (set.set.name == name) return &set;
    }
    return nullptr;
  }

  Flow RunChain(const Chain& chain) {
    for (const Rule& rule : chain.rules) {
      const Flow flow = RunRule(rule);
      if (flow == Flow::kReturn) return Flow::kContinue;
      if (flow == Flow::kAccept || flow == Flow::kStop) return flow;
    }
    return Flow::kContinue;
  }

  Flow RunRule(const Rule& rule) {
    for (const Statement& statement : rule.statements) {
      const Flow flow = std::visit(
          [this](const auto& part) { return Do(part); }, Simplified(statement));
      if (flow != Flow::kContinue) return flow;
    }
    return Flow::kContinue;
  }

  static Flow When(bool matches) {
    return matches ? Flow::kContinue : Flow::kNextRule;
  }

  Flow Do(const Match& match) {
    auto value = Read(walk_.packet, match.field);
    if (!value) return Flow::kNextRule;
    const bool any_bit = IsBits(match.field) && !match.mask;
    const Bytes& mask = any_bit ? match.value : match.mask.value_or(Bytes{});
    for (size_t i = 0; i < mask.size(); ++i) (*value)[i] &= mask[i];
    const bool matches = any_bit ? !IsZero(*value) : *value == match.value;
    return When(matches != match.negate);
  }
  Flow Do(const MatchAnyOf& match) {
    const auto value = Read(walk_.packet, match.field);
    if (!value) return Flow::kNextRule;
    const bool matches = std::ranges::count(match.values, *value) > 0;
    return When(matches != match.negate);
  }
  Flow Do(const MatchSet& match) {
    const auto key = ReadKey(walk_.packet, match.key);
    if (!key) return Flow::kNextRule;
    const SetWithElements* set = FindSet(match.set);
    if (set == nullptr) return Stop("no set " + match.set);
    return When((Find(*set, *key) != nullptr) != match.negate);
  }

  Flow Do(const MatchPathMtu& match) {
    constexpr uint8_t kUnreachable = 3, kFragmentationNeeded = 4;
    const Packet& packet = walk_.packet;
    return When(packet.source.is_ipv4() && packet.protocol == kIcmp &&
                packet.icmp_type == kUnreachable &&
                packet.icmp_code == kFragmentationNeeded &&
                packet.icmp_mtu < match.below);
  }

  const Element* Find(const SetWithElements& set, const Bytes& key) const {
    for (const Element& element : set.elements) {
      if (Contains(set.set, element, key)) return &element;
    }
    return nullptr;
  }

  // Continues with the element in `element_`.
  Flow LookUp(const std::vector<Field>& key, const std::string& map) {
    const auto bytes = ReadKey(walk_.packet, key);
    if (!bytes) return Flow::kNextRule;
    const SetWithElements* set = FindSet(map);
    if (set == nullptr) return Stop("no set " + map);
    element_ = Find(*set, *bytes);
    return When(element_ != nullptr);
  }

  Flow Do(const VerdictMap& map) {
    const Flow flow = LookUp(map.key, map.map);
    if (flow != Flow::kContinue || !element_->verdict) return flow;
    return Do(*element_->verdict);
  }

  Flow Do(const SetCtMark& set) {
    SetMarkTo(walk_.packet.ct_mark, "ct mark",
              (walk_.packet.ct_mark & set.keep) ^ set.value);
    return Flow::kContinue;
  }
  Flow Do(const SetMark& set) {
    SetMarkTo(walk_.packet.mark, "mark",
              (walk_.packet.mark & set.keep) ^ set.value);
    return Flow::kContinue;
  }
  Flow Do(const SetCtMarkFromMap& set) {
    const Flow flow = LookUp(set.key, set.map);
    if (flow != Flow::kContinue) return flow;
    SetMarkTo(walk_.packet.ct_mark, "ct mark", MarkOf(element_->data));
    return flow;
  }
  void SetMarkTo(uint32_t& mark, std::string_view name, uint32_t value) {
    mark = value;
    walk_.steps.push_back(fmt::format("{} {:#010x}", name, value));
  }

  Flow Do(const NatTo& nat) {
    return Translate(nat.kind, nat.address, nat.port);
  }
  Flow Do(const NatToMap& nat) {
    const Flow flow = LookUp(nat.key, nat.map);
    if (flow != Flow::kContinue) return flow;
    return TranslateTo(nat.kind, nat.family, nat.with_port, element_->data);
  }
  Flow Do(const NatByHash& nat) {
    if (!ReadKey(walk_.packet, nat.key)) return Flow::kNextRule;
    return TranslateTo(NatKind::kDnat, nat.family, nat.with_port,
                       nat.slots[hash_ % nat.slots.size()]);
  }
  Flow TranslateTo(NatKind kind, Family family, bool with_port,
                   const Bytes& data) {
    const size_t size = family == Family::kIpv4 ? 4 : 16;
    const auto address = IpAddress::FromBytes(std::span(data.data(), size));
    std::optional<uint16_t> port;
    if (with_port) port = data[size] << 8 | data[size + 1];
    return Translate(kind, address, port);
  }
  Flow Translate(NatKind kind, const IpAddress& address,
                 std::optional<uint16_t> port) {
    Packet& packet = walk_.packet;
    // The kernel leaves packets of the other family alone.
    if (address.family() != packet.source.family()) return Flow::kNextRule;
    const bool dnat = kind == NatKind::kDnat;
    (dnat ? packet.destination : packet.source) = address;
    if (port) (dnat ? packet.destination_port : packet.source_port) = *port;
    packet.ct_status |= dnat ? kCtStatusDnat : kCtStatusSnat;
    walk_.steps.push_back(fmt::format(
        "{} to {}", dnat ? "dnat" : "snat",
        port ? SocketAddress{address, *port}.ToString() : address.ToString()));
    translated_ = true;
    return Flow::kAccept;
  }

  Flow Do(const Masquerade&) {
    walk_.packet.ct_status |= kCtStatusSnat;
    walk_.steps.push_back("masquerade");
    translated_ = true;
    return Flow::kAccept;
  }
  Flow Do(const Reject& reject) {
    const bool tcp = walk_.packet.protocol == kTcp;
    if (reject.kind == RejectKind::kTcpReset && !tcp) return Flow::kNextRule;
    // Behind the protocol, as nft would write it there.
    const Match protocol{Field::kL4proto, {walk_.packet.protocol}};
    const std::string text = Print(Rule{{protocol, reject}});
    return Stop(text.substr(text.find("reject")));
  }
  Flow Do(const ClampMss&) {
    if (walk_.packet.protocol != kTcp) return Flow::kNextRule;
    walk_.steps.push_back("clamp mss");
    return Flow::kContinue;
  }
  Flow Do(const Counter&) { return Flow::kContinue; }
  Flow Do(const SetCtTimeout&) { return Flow::kContinue; }
  Flow Do(const SetTrace&) { return Flow::kContinue; }
  Flow Do(const NoTrack&) {
    walk_.steps.push_back("notrack");
    return Flow::kContinue;
  }

  Flow Do(const Verdict& verdict) {
    switch (verdict.kind) {
      case VerdictKind::kAccept:
        return Flow::kAccept;
      case VerdictKind::kDrop:
        return Stop("drop");
      case VerdictKind::kReturn:
        return Flow::kReturn;
      case VerdictKind::kJump:
      case VerdictKind::kGoto:
        break;
    }
    const Chain* chain = FindChain(verdict.chain);
    if (chain == nullptr) return Stop("no chain " + verdict.chain);
    const Flow flow = RunChain(*chain);
    if (flow != Flow::kContinue) return flow;
    return verdict.kind == VerdictKind::kJump ? Flow::kNextRule : Flow::kReturn;
  }

  const Table& table_;
  const uint32_t hash_;
  std::vector<const Chain*> chains_;
  Walk walk_;
  const Element* element_ = nullptr;
  bool translated_ = false;
};

}  // namespace

std::string Walk::ToString() const {
  std::string text;
  for (const std::string& step : steps) text += step + ", ";
  return text + end;
}

Walk WalkHook(const Table& table, HookPoint hook, const Packet& packet,
              uint32_t hash) {
  return Walker(table, hook, packet, hash).Run(packet);
}

std::string WalkHooks(const Table& table, const std::vector<HookPoint>& hooks,
                      Packet packet, uint32_t hash) {
  std::string text;
  for (const HookPoint hook : hooks) {
    const Walk walk = WalkHook(table, hook, packet, hash);
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", NameOf(hook),
                        walk.ToString());
    if (walk.end != "accept") break;
    packet = walk.packet;
  }
  return text;
}

}  // namespace edged::nftables
