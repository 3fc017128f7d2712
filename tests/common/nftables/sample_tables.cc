#include "tests/common/nftables/sample_tables.h"

#include <string>
#include <vector>

namespace edged::nftables {
namespace {

constexpr uint32_t kGroupMark = 0xed000100;

const std::vector<Field> kListener4 = {Field::kIpDaddr, Field::kL4proto,
                                       Field::kThDport};
const std::vector<Field> kBack4 = {Field::kIpSaddr, Field::kL4proto,
                                   Field::kThSport};
const std::vector<Type> kListenerTypes4 = {Type::kIpv4Addr, Type::kInetProto,
                                           Type::kInetService};

const Verdict kAccept{VerdictKind::kAccept};
const Verdict kDrop{VerdictKind::kDrop};

Verdict JumpTo(std::string chain) {
  return {VerdictKind::kJump, std::move(chain)};
}

Match Is(Field field, Bytes value) {
  return {field, std::move(value), false, std::nullopt};
}
Match IsNot(Field field, Bytes value) {
  return {field, std::move(value), true, std::nullopt};
}
Match Masked(Field field, Bytes mask, Bytes value, bool negate = false) {
  return {field, std::move(value), negate, std::move(mask)};
}
Match Bits(Field field, uint32_t bits) { return Is(field, MarkBytes(bits)); }

const Match kFromTunnel = Is(Field::kIifname, NameBytes("edged0"));
const Match kToTunnel = Is(Field::kOifname, NameBytes("edged0"));
const Match kSyn = Is(Field::kTcpFlags, {kTcpSyn});
const Match kNoSyn = IsNot(Field::kTcpFlags, {kTcpSyn});
const Match kEstablished = Bits(Field::kCtState, kCtEstablished | kCtRelated);
const Match kNew = Bits(Field::kCtState, kCtNew);
const Match kTranslated = Bits(Field::kCtStatus, kCtStatusDnat);
const Match kPing = Is(Field::kIcmpType, {8});

Hook At(ChainType type, HookPoint point, int priority) {
  return {type, point, priority};
}

Set MapOf(std::string name, std::vector<Type> key, std::vector<Type> data) {
  return {std::move(name), std::move(key), std::move(data), false, false};
}

Element Maps(Bytes key, Bytes data) {
  return {std::move(key), {}, std::move(data), std::nullopt};
}
Element MapsRange(Bytes first, Bytes last, Bytes data) {
  return {std::move(first), std::move(last), std::move(data), std::nullopt};
}
Element Goes(Bytes key, Verdict verdict) {
  return {std::move(key), {}, {}, std::move(verdict)};
}
Element Holds(Bytes key) { return {std::move(key), {}, {}, std::nullopt}; }

}  // namespace

IpAddress Address(std::string_view text) {
  return IpAddress::Parse(text).value();
}

Bytes AddressBytes(std::string_view text) { return ToBytes(Address(text)); }

Bytes Listener(std::string_view address, Protocol protocol, uint16_t port) {
  return Concat({AddressBytes(address), ToBytes(protocol), PortBytes(port)});
}

Table EdgeTable() {
  const std::string kPublic = "203.0.113.1";
  const Bytes mark = MarkBytes(kGroupMark);
  Set ports = MapOf("ports4", kListenerTypes4, {Type::kMark});
  ports.counter = true;
  Set ranges = ports;
  ranges.name = "ranges4";
  ranges.interval = true;
  const Set reserved{
      "reserved", {Type::kInetProto, Type::kInetService}, {}, false, false};

  Table table{"edged", {}, {}};
  table.sets = {
      {ports,
       {Maps(Listener(kPublic, Protocol::kTcp, 80), mark),
        Maps(Listener(kPublic, Protocol::kTcp, 81), mark),
        Maps(Listener(kPublic, Protocol::kTcp, 1234), mark),
        Maps(Listener(kPublic, Protocol::kUdp, 7000), mark)}},
      {ranges,
       {MapsRange(Listener(kPublic, Protocol::kTcp, 100),
                  Listener(kPublic, Protocol::kTcp, 199), mark),
        MapsRange(Listener(kPublic, Protocol::kUdp, 10000),
                  Listener(kPublic, Protocol::kUdp, 60000), mark)}},
      {MapOf("groups", {Type::kMark}, {Type::kVerdict}),
       {Goes(mark, {VerdictKind::kGoto, "group-1"})}},
      {MapOf("back4", {Type::kIpv4Addr}, {Type::kIpv4Addr}),
       {Maps(AddressBytes("10.200.0.17"), AddressBytes(kPublic))}},
      {reserved,
       {Holds(Concat({ToBytes(Protocol::kTcp), PortBytes(22)})),
        Holds(Concat({ToBytes(Protocol::kUdp), PortBytes(51820)}))}},
  };
  NatByHash spread{Family::kIpv4, {Field::kIpSaddr, Field::kThSport}, 0x5eed};
  for (int slot = 0; slot < 256; ++slot) {
    spread.slots.push_back(
        AddressBytes(slot % 3 == 0 ? "10.200.0.33" : "10.200.0.17"));
  }
  const auto nat = [](HookPoint point, int priority) {
    return At(ChainType::kNat, point, priority);
  };
  const auto filter = [](HookPoint point, int priority) {
    return At(ChainType::kFilter, point, priority);
  };
  const VerdictMap by_mark{{Field::kCtMark}, "groups"};
  table.chains = {
      {"group-1", {}, {{{spread}}}},
      {"translate",
       {},
       {{{MatchSet{{Field::kL4proto, Field::kThDport}, "reserved"}, kAccept}},
        {{SetCtMarkFromMap{kListener4, "ports4"}, by_mark}},
        {{SetCtMarkFromMap{kListener4, "ranges4"}, by_mark}}}},
      {"prerouting",
       nat(HookPoint::kPrerouting, -110),
       {{{IsNot(Field::kIifname, NameBytes("edged0")), JumpTo("translate")}}}},
      {"output", nat(HookPoint::kOutput, -110), {{{JumpTo("translate")}}}},
      {"back",
       nat(HookPoint::kPostrouting, 90),
       {{{kFromTunnel,
          NatToMap{
              NatKind::kSnat, Family::kIpv4, {Field::kIpSaddr}, "back4"}}}}},
      {"back-mapped",
       {},
       {{{SetCtMarkFromMap{kBack4, "ports4"}, kAccept}},
        {{SetCtMarkFromMap{kBack4, "ranges4"}, kAccept}},
        {{kDrop}}}},
      {"back-check",
       filter(HookPoint::kPostrouting, 200),
       {{{kFromTunnel, kNew, JumpTo("back-mapped")}}}},
      {"forward",
       filter(HookPoint::kForward, 0),
       {{{kToTunnel, kSyn, ClampMss{}}},
        {{kFromTunnel, kSyn, ClampMss{}}},
        {{kToTunnel, kTranslated, kAccept}},
        {{kToTunnel, kEstablished, kAccept}},
        {{kToTunnel, kDrop}},
        {{kFromTunnel, kEstablished, kAccept}},
        {{kFromTunnel, kNoSyn, Is(Field::kIpSaddr, AddressBytes("10.200.0.17")),
          kAccept}},
        {{kFromTunnel, Is(Field::kL4proto, ToBytes(Protocol::kUdp)),
          Is(Field::kIpSaddr, AddressBytes("10.200.0.17")), kAccept}},
        {{kFromTunnel, kDrop}}}},
      {"input",
       filter(HookPoint::kInput, 0),
       {{{Is(Field::kIpDaddr, AddressBytes("10.200.0.1")),
          MatchAnyOf{
              Field::kIifname, {NameBytes("edged0"), NameBytes("lo")}, true},
          kDrop}},
        {{kFromTunnel, Is(Field::kIpSaddr, AddressBytes("10.200.0.16")),
          Is(Field::kL4proto, ToBytes(Protocol::kTcp)),
          Is(Field::kThDport, PortBytes(7443)), kAccept}},
        {{kFromTunnel, kPing, kAccept}},
        {{kFromTunnel, kEstablished, kAccept}},
        {{kFromTunnel, kDrop}}}},
  };
  return table;
}

Table UplinkTable() {
  const auto target = [](std::string_view address, uint16_t port) {
    return Concat({AddressBytes(address), PortBytes(port)});
  };
  Table table{"uplink", {}, {}};
  table.sets = {
      {MapOf("targets", kListenerTypes4, {Type::kIpv4Addr, Type::kInetService}),
       {Maps(Listener("10.200.0.17", Protocol::kTcp, 80),
             target("10.244.1.5", 8080)),
        Maps(Listener("10.200.0.17", Protocol::kUdp, 7000),
             target("10.244.1.5", 7000)),
        Maps(Listener("10.200.4.17", Protocol::kTcp, 80),
             target("10.244.1.5", 8080))}},
  };
  const std::vector<Bytes> devices = {NameBytes("eu-1"), NameBytes("eu-2")};
  const MatchAnyOf from{Field::kIifname, devices};
  const MatchAnyOf not_from{Field::kIifname, devices, true};
  const MatchAnyOf to{Field::kOifname, devices};
  const auto comes_from_edge = [](uint32_t edge) {
    return Masked(Field::kCtMark, MarkBytes(0xff), MarkBytes(edge));
  };
  const Match any_edge =
      Masked(Field::kCtMark, MarkBytes(0xff), MarkBytes(0), true);
  table.chains = {
      {"mark-edge",
       At(ChainType::kFilter, HookPoint::kPrerouting, -150),
       {{{Is(Field::kIifname, NameBytes("eu-1")), kNew,
          SetCtMark{1, 0xffffff00}}},
        {{Is(Field::kIifname, NameBytes("eu-2")), kNew,
          SetCtMark{2, 0xffffff00}}},
        {{not_from, comes_from_edge(1), SetMark{1, 0xffffff00}}},
        {{not_from, comes_from_edge(2), SetMark{2, 0xffffff00}}}}},
      {"mark-own",
       At(ChainType::kRoute, HookPoint::kOutput, -150),
       {{{comes_from_edge(1), SetMark{1, 0xffffff00}}},
        {{comes_from_edge(2), SetMark{2, 0xffffff00}}}}},
      {"prerouting",
       At(ChainType::kNat, HookPoint::kPrerouting, -110),
       {{{from, NatToMap{NatKind::kDnat, Family::kIpv4, kListener4, "targets",
                         true}}},
        {{from, Is(Field::kL4proto, ToBytes(Protocol::kUdp)),
          NatTo{NatKind::kDnat, Address("10.244.1.5"), std::nullopt}}}}},
      {"postrouting",
       At(ChainType::kNat, HookPoint::kPostrouting, 90),
       {{{any_edge, kTranslated, from, Masquerade{}}}}},
      {"forward",
       At(ChainType::kFilter, HookPoint::kForward, 0),
       {{{from, kTranslated, kAccept}},
        {{from, Is(Field::kL4proto, ToBytes(Protocol::kTcp)),
          Reject{RejectKind::kTcpReset}}},
        {{from, Reject{}}},
        {{to, any_edge, kAccept}},
        {{to, kDrop}}}},
      {"input",
       At(ChainType::kFilter, HookPoint::kInput, 0),
       {{{from, kTranslated, kAccept}},
        {{from, kEstablished, kAccept}},
        {{from, kPing, kAccept}},
        {{from, kDrop}}}},
  };
  return table;
}

namespace {

std::vector<SetWithElements> EverySet() {
  const Set marks{"marks", {Type::kMark}, {}, false, false};
  const Set names{"names", {Type::kIfname}, {}, false, true};
  const Set ports{"ports", {Type::kInetService}, {}, true, false};
  const Set networks{"networks", {Type::kIpv4Addr}, {}, true, true};
  const Set networks6{"networks6", {Type::kIpv6Addr}, {}, true, false};
  const Set protocols{"protocols", {Type::kInetProto}, {}, false, false};
  const Set pairs{"pairs", {Type::kIfname, Type::kMark}, {}, false, false};
  const Set mixed{
      "mixed", {Type::kIpv4Addr, Type::kInetService}, {}, true, true};
  const Set empty{"empty", {Type::kIpv6Addr}, {}, false, false};
  SetWithElements many{marks, {}};
  for (const uint32_t mark : {1, 2, 3, 4, 5, 6, 256, 7, 0x10000}) {
    many.elements.push_back(Holds(MarkBytes(mark)));
  }
  return {
      many,
      {names,
       {Holds(NameBytes("edged0")), Holds(NameBytes("eth0")),
        Holds(NameBytes("lo"))}},
      {ports,
       {Holds(PortBytes(22)), MapsRange(PortBytes(1024), PortBytes(2047), {}),
        MapsRange(PortBytes(8080), PortBytes(8081), {})}},
      {networks,
       {MapsRange(AddressBytes("10.0.0.0"), AddressBytes("10.255.255.255"), {}),
        MapsRange(AddressBytes("11.0.0.1"), AddressBytes("11.0.0.7"), {}),
        Holds(AddressBytes("12.0.0.1"))}},
      {networks6,
       {MapsRange(AddressBytes("fd00::"), AddressBytes("fd00::ffff"), {}),
        Holds(AddressBytes("fd01::1"))}},
      {protocols,
       {Holds({1}), Holds({6}), Holds({17}), Holds({58}), Holds({99}),
        Holds({132})}},
      {pairs,
       {Holds(Concat({NameBytes("eth0"), MarkBytes(4)})),
        Holds(Concat({NameBytes("eth0"), MarkBytes(6)})),
        Holds(Concat({NameBytes("lo"), MarkBytes(5)}))}},
      {mixed,
       {MapsRange(Concat({AddressBytes("10.0.0.0"), PortBytes(80)}),
                  Concat({AddressBytes("10.0.0.255"), PortBytes(90)}), {}),
        MapsRange(Concat({AddressBytes("10.1.0.1"), PortBytes(0)}),
                  Concat({AddressBytes("10.1.0.1"), PortBytes(65535)}), {}),
        Holds(Concat({AddressBytes("10.2.0.1"), PortBytes(443)}))}},
      {empty, {}},
      {MapOf("back6", {Type::kIpv6Addr}, {Type::kIpv6Addr}),
       {Maps(AddressBytes("fd00::1"), AddressBytes("fd00::2"))}},
      {MapOf("targets6",
             {Type::kIpv6Addr, Type::kInetProto, Type::kInetService},
             {Type::kIpv6Addr, Type::kInetService}),
       {Maps(Listener("fd00::1", Protocol::kTcp, 80),
             Concat({AddressBytes("fd00::2"), PortBytes(8080)}))}},
      {MapOf("groups", {Type::kMark}, {Type::kVerdict}),
       {Goes(MarkBytes(1), kAccept), Goes(MarkBytes(2), kDrop),
        Goes(MarkBytes(3), {VerdictKind::kReturn}),
        Goes(MarkBytes(4), JumpTo("other")),
        Goes(MarkBytes(5), {VerdictKind::kGoto, "other"}),
        Goes(MarkBytes(6), kAccept)}},
  };
}

// Matches, one rule each; what they come to is counted.
std::vector<Rule> EveryMatch() {
  const Bytes tcp = ToBytes(Protocol::kTcp), udp = ToBytes(Protocol::kUdp);
  const std::vector<std::vector<Statement>> matches = {
      {Is(Field::kIifname, NameBytes("eth0"))},
      {IsNot(Field::kOifname, NameBytes("lo"))},
      {Is(Field::kNfproto, {2})},
      {IsNot(Field::kNfproto, {10})},
      {Is(Field::kL4proto, tcp)},
      {IsNot(Field::kL4proto, {99})},
      {MatchAnyOf{Field::kL4proto, {tcp, udp, {58}}}},
      {Is(Field::kMark, MarkBytes(17))},
      {Is(Field::kSkuid, MarkBytes(0))},
      {IsNot(Field::kSkuid, MarkBytes(65534))},
      {Masked(Field::kMark, MarkBytes(0xff), MarkBytes(1))},
      {Masked(Field::kMark, MarkBytes(0xff00ff), MarkBytes(1), true)},
      {Masked(Field::kCtMark, MarkBytes(0xffffff00), MarkBytes(kGroupMark))},
      {Masked(Field::kCtMark, MarkBytes(0xff000000), MarkBytes(0), true)},
      {MatchAnyOf{Field::kCtMark, {MarkBytes(2), MarkBytes(256)}}},
      {Is(Field::kIpSaddr, AddressBytes("192.0.2.1")),
       IsNot(Field::kIpDaddr, AddressBytes("192.0.2.2"))},
      {Masked(Field::kIpSaddr, AddressBytes("255.0.0.0"),
              AddressBytes("10.0.0.0"))},
      {Masked(Field::kIpDaddr, AddressBytes("255.128.0.0"),
              AddressBytes("10.0.0.0"), true)},
      {Masked(Field::kIpDaddr, AddressBytes("255.0.0.255"),
              AddressBytes("10.0.0.1"))},
      {MatchAnyOf{Field::kIpSaddr,
                  {AddressBytes("192.0.2.1"), AddressBytes("9.9.9.9")}}},
      {MatchAnyOf{Field::kIpSaddr, {AddressBytes("192.0.2.1")}}},
      {Is(Field::kIp6Saddr, AddressBytes("fd00::1")),
       IsNot(Field::kIp6Daddr, AddressBytes("fd00::2"))},
      {Masked(Field::kIp6Daddr, AddressBytes("ffff:ffff::"),
              AddressBytes("fd00::"))},
      {Is(Field::kThSport, PortBytes(80)),
       IsNot(Field::kThDport, PortBytes(90))},
      {MatchAnyOf{Field::kThDport, {PortBytes(80), PortBytes(443)}, true}},
      {Is(Field::kL4proto, tcp), Is(Field::kThSport, PortBytes(80)),
       Is(Field::kThDport, PortBytes(90))},
      {Is(Field::kL4proto, udp), Is(Field::kIpSaddr, AddressBytes("192.0.2.1")),
       MatchAnyOf{Field::kThDport, {PortBytes(80), PortBytes(90)}}},
      {Is(Field::kNfproto, {2}), Is(Field::kL4proto, tcp),
       Is(Field::kThDport, PortBytes(80))},
      {Is(Field::kNfproto, {10}),
       Is(Field::kIp6Saddr, AddressBytes("fd00::1"))},
      {Is(Field::kNfproto, {2}), Counter{},
       Is(Field::kIpSaddr, AddressBytes("192.0.2.1"))},
      {Is(Field::kL4proto, tcp), Counter{}, Is(Field::kThDport, PortBytes(80))},
      {Is(Field::kThDport, PortBytes(80)), Is(Field::kL4proto, tcp)},
      {kSyn, Is(Field::kL4proto, tcp), Is(Field::kThDport, PortBytes(80))},
      {Is(Field::kIpSaddr, AddressBytes("192.0.2.1")), Is(Field::kNfproto, {2}),
       kNoSyn},
      {Is(Field::kTcpFlags, {kTcpSyn | 16})},
      {IsNot(Field::kTcpFlags, {kTcpSyn | 16})},
      {Masked(Field::kTcpFlags, {23}, {kTcpSyn})},
      {Masked(Field::kTcpFlags, {23}, {kTcpSyn}, true)},
      {Masked(Field::kTcpFlags, {kTcpSyn}, {kTcpSyn})},
      {Masked(Field::kTcpFlags, {kTcpSyn}, {0})},
      {Masked(Field::kTcpFlags, {kTcpSyn | 4}, {0}, true)},
      {kPing},
      {IsNot(Field::kIcmpType, {0})},
      {MatchAnyOf{Field::kIcmpType, {{3}, {11}}}},
      {MatchPathMtu{1280}},
      {Is(Field::kNfproto, {2}), Is(Field::kL4proto, {1}), MatchPathMtu{1}},
      {Is(Field::kIpSaddr, AddressBytes("192.0.2.1")), MatchPathMtu{65535}},
      {Is(Field::kIcmpv6Type, {128})},
      {MatchAnyOf{Field::kIcmpv6Type, {{134}, {135}, {136}, {200}}}},
      {kNew},
      {kEstablished},
      {IsNot(Field::kCtState, MarkBytes(kCtInvalid | kCtNew))},
      {Masked(Field::kCtState, MarkBytes(kCtNew | kCtRelated),
              MarkBytes(kCtRelated))},
      {kTranslated},
      {IsNot(Field::kCtStatus, MarkBytes(kCtStatusDnat | kCtStatusSnat))},
      {Masked(Field::kCtStatus, MarkBytes(kCtStatusDnat | kCtStatusSnat),
              MarkBytes(kCtStatusDnat))},
      {MatchSet{{Field::kMark}, "marks"}},
      {MatchSet{{Field::kIifname}, "names", true}},
      {MatchSet{{Field::kThDport}, "ports"}},
      {Is(Field::kL4proto, tcp), MatchSet{{Field::kThDport}, "ports"}},
      {MatchSet{{Field::kIpSaddr}, "networks"}},
      {Is(Field::kNfproto, {10}), MatchSet{{Field::kIp6Saddr}, "networks6"}},
      {MatchSet{{Field::kL4proto}, "protocols", true}},
      {MatchSet{{Field::kIifname, Field::kCtMark}, "pairs"}},
      {MatchSet{{Field::kIpDaddr, Field::kThDport}, "mixed", true}},
      {Is(Field::kL4proto, udp),
       MatchSet{{Field::kIpDaddr, Field::kThDport}, "mixed"}},
  };
  std::vector<Rule> rules;
  for (const auto& match : matches) {
    Rule& rule = rules.emplace_back(Rule{match});
    rule.statements.push_back(Counter{});
  }
  return rules;
}

std::vector<Rule> EveryAction() {
  const Match tcp = Is(Field::kL4proto, ToBytes(Protocol::kTcp));
  const Match from4 = Is(Field::kIpSaddr, AddressBytes("192.0.2.1"));
  const Match from6 = Is(Field::kIp6Saddr, AddressBytes("fd00::1"));
  return {
      {{SetCtMark{0x12, 0}}},
      {{SetCtMark{1, 0xffffff00}}},
      {{SetCtMark{0, 0xffffff00}}},
      {{SetCtMark{0x1ff, 0xffffff00}}},
      {{SetCtMark{0x101, 0xffff0000}}},
      {{SetMark{0x12, 0}}},
      {{SetMark{0x101, 0xffffff00}}},
      {{SetMark{0x100, 0xffffffff}}},
      {{kSyn, ClampMss{}}},
      {{tcp, ClampMss{}}},
      {{Counter{}, kNew, JumpTo("other")}},
      {{tcp, Is(Field::kThDport, PortBytes(80)), SetTrace{}}},
      {{tcp, Is(Field::kThDport, PortBytes(80)), NoTrack{}}},
      {{NoTrack{}}},
      {{kNew, Verdict{VerdictKind::kReturn}}},
      {{VerdictMap{{Field::kCtMark}, "groups"}}},
      {{VerdictMap{{Field::kMark}, "groups"}, Counter{}}},
      {{tcp, Reject{RejectKind::kTcpReset}}},
      {{kNoSyn, Reject{RejectKind::kTcpReset}}},
      {{from4, Reject{RejectKind::kTcpReset}}},
      {{Is(Field::kL4proto, ToBytes(Protocol::kUdp)), Reject{}}},
      {{from4, Reject{}}},
      {{from6, Reject{}}},
      {{Is(Field::kNfproto, {2}), Reject{}}},
      {{Is(Field::kNfproto, {10}), Reject{RejectKind::kAdminProhibited}}},
      {{from4, Reject{RejectKind::kHostUnreachable}}},
      {{kNew, Verdict{VerdictKind::kGoto, "other"}}},
      {{Reject{}}},
  };
}

std::vector<Rule> EveryTranslation() {
  const Match tcp = Is(Field::kL4proto, ToBytes(Protocol::kTcp));
  const MatchAnyOf tcp_or_udp{
      Field::kL4proto, {ToBytes(Protocol::kTcp), ToBytes(Protocol::kUdp)}};
  const auto to = [](std::string_view address, std::optional<uint16_t> port) {
    return NatTo{NatKind::kDnat, Address(address), port};
  };
  const std::vector<Field> listener6 = {Field::kIp6Daddr, Field::kL4proto,
                                        Field::kThDport};
  const NatByHash by_address{Family::kIpv6,
                             {Field::kIp6Saddr},
                             0,
                             {AddressBytes("fd00::2"), AddressBytes("fd00::3"),
                              AddressBytes("fd00::2")}};
  const NatByHash with_port{Family::kIpv4,
                            {Field::kIpSaddr, Field::kThSport},
                            7,
                            {Concat({AddressBytes("10.0.0.1"), PortBytes(80)}),
                             Concat({AddressBytes("10.0.0.2"), PortBytes(81)})},
                            true};
  return {
      {{tcp, SetCtTimeout{"tcp-3600"}}},
      {{Is(Field::kIpDaddr, AddressBytes("192.0.2.1")),
        Is(Field::kL4proto, ToBytes(Protocol::kUdp)), SetCtTimeout{"udp-2"}}},
      {{MatchSet{{Field::kL4proto}, "protocols"}, SetCtTimeout{"tcp-432000"}}},
      {{to("10.0.0.1", std::nullopt)}},
      {{tcp, to("10.0.0.1", 80)}},
      {{tcp_or_udp, to("10.0.0.1", 80)}},
      {{tcp, Is(Field::kThDport, PortBytes(80)), to("fd00::1", 80)}},
      {{to("fd00::1", std::nullopt)}},
      {{NatToMap{NatKind::kDnat, Family::kIpv6, listener6, "targets6", true}}},
      {{tcp,
        NatToMap{NatKind::kDnat, Family::kIpv6, listener6, "targets6", true}}},
      {{by_address}},
      {{tcp, with_port}},
  };
}

}  // namespace

Table EverythingTable() {
  Table table{"everything", EverySet(), {}};
  table.timeouts = {
      IdleTimeout(Protocol::kTcp, 3600), IdleTimeout(Protocol::kTcp, 432'000),
      IdleTimeout(Protocol::kUdp, 2),    IdleTimeout(Protocol::kUdp, 30),
      IdleTimeout(Protocol::kUdp, 120),  IdleTimeout(Protocol::kUdp, 180)};
  table.chains = {
      {"other", {}, {}},
      {"matches", {}, EveryMatch()},
      {"actions", At(ChainType::kFilter, HookPoint::kForward, 11),
       EveryAction()},
      {"raw",
       At(ChainType::kFilter, HookPoint::kPrerouting, -300),
       {{{JumpTo("matches")}}}},
      {"translations", At(ChainType::kNat, HookPoint::kPrerouting, -90),
       EveryTranslation()},
      {"back",
       At(ChainType::kNat, HookPoint::kPostrouting, 100),
       {{{NatToMap{
            NatKind::kSnat, Family::kIpv6, {Field::kIp6Saddr}, "back6"}}},
        {{NatTo{NatKind::kSnat, Address("10.0.0.1"), std::nullopt}}},
        {{Masquerade{}}}}},
      {"late", At(ChainType::kFilter, HookPoint::kInput, 51), {}},
      {"later", At(ChainType::kFilter, HookPoint::kInput, 90), {}},
  };
  return table;
}

}  // namespace edged::nftables
