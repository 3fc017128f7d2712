#include "common/nftables/check.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

const Verdict kAccept{VerdictKind::kAccept};

Match Is(Field field, Bytes value) {
  return {field, std::move(value), false, std::nullopt};
}

std::string Fault(const std::vector<Statement>& statements) {
  return std::string(Message(CheckRule(Rule{statements})));
}

std::string Fault(const Set& set, const Element& element) {
  return std::string(Message(CheckElement(set, element)));
}

const Match kTcp = Is(Field::kL4proto, {6});
const Match kIcmp = Is(Field::kL4proto, {1});
const Match kFrom4 = Is(Field::kIpSaddr, {10, 0, 0, 1});

}  // namespace

TEST_CASE("check: names are those that nft reads", "[check]") {
  for (const char* name : {"ports4", "group-1", "a_b.c", "X"}) {
    CHECK(CheckName(name) == absl::OkStatus());
  }
  CHECK(CheckName(std::string(255, 'x')) == absl::OkStatus());
  CHECK(Message(CheckName(std::string(256, 'x'))) ==
        "name " + std::string(32, 'x') + "... is longer than 255 characters");
  for (const char* name : {"1st", "-a", "a b", "a;b", "a\n", "ä", "a}"}) {
    CHECK(CheckName(name).code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("check: a set's verdict is the whole data", "[check]") {
  const auto fault = [](std::vector<Type> key, std::vector<Type> data) {
    return std::string(
        Message(CheckSet({"s", std::move(key), std::move(data)})));
  };
  CHECK(fault({Type::kMark}, {Type::kVerdict}) == "");
  CHECK(fault({Type::kMark}, {Type::kVerdict, Type::kMark}) ==
        "set s: a verdict can only be the whole data");
  CHECK(fault({Type::kVerdict}, {}) ==
        "set s: a verdict can only be the whole data");
  CHECK(fault(std::vector(4, Type::kIpv6Addr), {}) == "");
  CHECK(fault(std::vector(5, Type::kIpv6Addr), {}) ==
        "set s is wider than 64 bytes");
}

TEST_CASE("check: an element fits its set", "[check]") {
  const Set plain{"plain", {Type::kInetService}, {}, false, false};
  Set ranges = plain;
  ranges.interval = true;
  CHECK(Fault(plain, {PortBytes(1)}) == "");
  CHECK(Fault(plain, {PortBytes(1), PortBytes(2)}) ==
        "an element of plain: it takes no ranges");
  CHECK(Fault(ranges, {PortBytes(1), PortBytes(256)}) == "");
  CHECK(Fault(ranges, {PortBytes(256), PortBytes(1)}) ==
        "an element of plain: the range 256 to 1 ends before it begins");
  CHECK(Fault(ranges, {PortBytes(1), {2}}) ==
        "an element of plain: the end of the range has 1 bytes, not 2");
  CHECK(Fault(plain, {PortBytes(1), {}, PortBytes(2)}) ==
        "an element of plain: the data has 2 bytes, not 0");
  CHECK(Fault(plain, {PortBytes(1), {}, {}, kAccept}) ==
        "an element of plain: it takes no verdict");
  const Set verdicts{"verdicts", {Type::kMark}, {Type::kVerdict}};
  CHECK(Fault(verdicts, {MarkBytes(1)}) ==
        "an element of verdicts: the verdict is missing");
  CHECK(Fault(verdicts, {MarkBytes(1), {}, {}, Verdict{VerdictKind::kJump}}) ==
        "an element of verdicts: a name is empty");
  const Set marks{"marks", {Type::kMark}, {}, true};
  CHECK(Fault(marks, {MarkBytes(1), MarkBytes(256)}) == "");
  CHECK(Fault(marks, {MarkBytes(256), MarkBytes(1)}) ==
        "an element of marks: the range 0x00000100 to 0x00000001 ends before "
        "it begins");
}

TEST_CASE("check: refuses ranges that nft reads wrong", "[check]") {
  const Set pairs{"pairs", {Type::kInetProto, Type::kMark}, {}, true};
  CHECK(Fault(pairs,
              {Concat({{6}, MarkBytes(1)}), Concat({{6}, MarkBytes(2)})}) ==
        "an element of pairs: nft cannot load ranges of type mark here");
  const Set names{"names", {Type::kIfname}, {}, true};
  CHECK(Fault(names, {NameBytes("a"), NameBytes("b")}) ==
        "an element of names: nft cannot load ranges of type ifname here");
}

TEST_CASE("check: values fit their fields", "[check]") {
  CHECK(Fault({Is(Field::kIpSaddr, {1, 2})}) == "ip saddr has 2 bytes, not 4");
  CHECK(Fault({MatchAnyOf{Field::kThDport, {PortBytes(1), {1}}}}) ==
        "th dport has 1 bytes, not 2");
  CHECK(Fault({MatchAnyOf{Field::kThDport, {}}}) == "th dport of an empty set");
  CHECK(Fault({Is(Field::kCtState, MarkBytes(0))}) ==
        "ct state without any bit");
  CHECK(Fault({MatchAnyOf{Field::kTcpFlags, {{1}, {2}}}}) ==
        "tcp flags takes no set: a match may have several bits");
  CHECK(Fault({Is(Field::kNfproto, {3})}) == "meta nfproto is 2 or 10, not 3");
  CHECK(Fault({NatByHash{Family::kIpv4, {Field::kIpSaddr}, 1, {}}}) ==
        "jhash has no slots");
  CHECK(
      Fault({NatByHash{
          Family::kIpv6, {Field::kIp6Saddr}, 1, {AddressBytes("10.0.0.1")}}}) ==
      "a slot has 4 bytes, not 16");
  CHECK(Fault({MatchSet{{}, "ports"}}) == "the key for @ports is empty");
  CHECK(Fault({SetCtMark{0, UINT32_MAX}}) == "a mark is set to itself");
}

TEST_CASE("check: masks are for bits, marks and addresses", "[check]") {
  const auto masked = [](Field field, Bytes mask, Bytes value) {
    return Fault({Match{field, std::move(value), false, std::move(mask)}});
  };
  CHECK(masked(Field::kMark, MarkBytes(0xff), MarkBytes(1)) == "");
  CHECK(masked(Field::kMark, MarkBytes(0xff), MarkBytes(0x100)) ==
        "meta mark can never be 0x00000100 under its mask");
  CHECK(masked(Field::kMark, MarkBytes(0), MarkBytes(0)) ==
        "meta mark with an empty mask");
  CHECK(masked(Field::kThDport, PortBytes(0xff), PortBytes(1)) ==
        "th dport takes no mask");
  CHECK(masked(Field::kIpSaddr, {255, 0, 0, 0}, {10, 0, 0, 0}) == "");
  CHECK(masked(Field::kIpSaddr, {255}, {10, 0, 0, 0}) ==
        "a mask has 1 bytes, not 4");
}

TEST_CASE("check: refuses matches that exclude each other", "[check]") {
  CHECK(Fault({kFrom4, Is(Field::kIp6Saddr, Bytes(16))}) ==
        "ip6 saddr after a match of the other family");
  CHECK(Fault({MatchSet{{Field::kIpSaddr, Field::kIp6Saddr}, "s"}}) ==
        "ip6 saddr after a match of the other family");
  CHECK(Fault({kFrom4, Is(Field::kNfproto, {10})}) ==
        "meta nfproto ipv6 contradicts an earlier match");
  CHECK(Fault({kTcp, Is(Field::kL4proto, {17})}) ==
        "meta l4proto udp contradicts an earlier match");
  CHECK(Fault({kIcmp, Is(Field::kTcpFlags, {2})}) ==
        "tcp flags after a match of protocol 1");
  CHECK(Fault({kIcmp, Is(Field::kThDport, PortBytes(1))}) ==
        "th dport after a match of protocol 1");
  CHECK(Fault({kFrom4, NatTo{NatKind::kDnat, Address("fd00::1"), {}}}) ==
        "translation after a match of the other family");
}

TEST_CASE("check: nothing follows a verdict", "[check]") {
  const std::vector<Statement> ends = {
      kAccept, Reject{}, Masquerade{},
      NatTo{NatKind::kDnat, Address("10.0.0.1"), {}}};
  for (const Statement& end : ends) {
    CHECK(Fault({end}) == "");
    CHECK(Fault({end, Counter{}}) == "nothing can follow a verdict");
  }
  CHECK(Fault({VerdictMap{{Field::kMark}, "groups"}, kAccept}) == "");
  CHECK(Fault({Verdict{VerdictKind::kGoto, ""}}) == "a name is empty");
  CHECK(Fault({Verdict{VerdictKind::kDrop, "x"}}) ==
        "a verdict that does not jump names chain x");
}

TEST_CASE("check: a port is translated for known protocols only", "[check]") {
  const NatTo nat{NatKind::kDnat, Address("10.0.0.1"), 80};
  const std::string fault = "translation of a port needs a match of protocols";
  CHECK(Fault({nat}) == fault);
  CHECK(Fault({Is(Field::kThDport, PortBytes(80)), nat}) == fault);
  CHECK(Fault({kTcp, nat}) == "");
  CHECK(Fault({MatchAnyOf{Field::kL4proto, {{6}, {17}}}, nat}) == "");
  CHECK(Fault({MatchAnyOf{Field::kL4proto, {{6}, {17}}, true}, nat}) == fault);
  CHECK(Fault({NatToMap{
            NatKind::kDnat, Family::kIpv4, {Field::kIpDaddr}, "m", true}}) ==
        fault);
  CHECK(Fault({NatToMap{NatKind::kDnat,
                        Family::kIpv4,
                        {Field::kIpDaddr, Field::kL4proto, Field::kThDport},
                        "m",
                        true}}) == "");
}

TEST_CASE("check: refuses what nft would load as something else", "[check]") {
  const Reject reset{RejectKind::kTcpReset};
  const Match ipv4 = Is(Field::kNfproto, {2});
  CHECK(Fault({kTcp, reset}) == "");
  CHECK(Fault({kIcmp, reset}) == "a TCP reset after a match of protocol 1");
  CHECK(Fault({ipv4, kTcp, reset}) ==
        "nft does not list the family of a TCP reset: match an address");
  CHECK(Fault({ipv4, Reject{}}) == "");
  CHECK(Fault({Counter{}, ipv4, Reject{}}) ==
        "meta nfproto must stand first before a reject");
  const Match sport = Is(Field::kThSport, PortBytes(1));
  const Match dport = Is(Field::kThDport, PortBytes(2));
  CHECK(Fault({kTcp, sport, dport}) == "");
  CHECK(Fault({kTcp, dport, sport}) == "th sport must stand before th dport");
  CHECK(Fault({sport, dport}) ==
        "th dport must follow th sport, both after a protocol");
  CHECK(Fault({kTcp, sport, kFrom4, dport}) ==
        "th dport must follow th sport, both after a protocol");
  const MatchAnyOf several{Field::kL4proto, {{6}, {17}}};
  CHECK(Fault({several, dport}) == "");
  CHECK(Fault({several, Is(Field::kTcpFlags, {2})}) ==
        "tcp flags after a match of several protocols");
  CHECK(Fault({several, kTcp}) == "meta l4proto 6 after a match of several");
}

TEST_CASE("check: a timeout that nft could not load again is refused",
          "[check]") {
  const auto fault = [](const CtTimeout& timeout) {
    return std::string(CheckTimeout(timeout).message());
  };
  for (const uint32_t seconds : {1, 30, 120, 180, 432'000}) {
    CHECK(fault(IdleTimeout(Protocol::kTcp, seconds)) == "");
    CHECK(fault(IdleTimeout(Protocol::kUdp, seconds)) == "");
  }
  CHECK(fault({"t", Protocol::kTcp, {{kTcpEstablished, 432'000}}}) ==
        "ct timeout t: says what nft takes for granted");
  CHECK(fault({"t", Protocol::kTcp, {{kTcpEstablished, 0}}}) ==
        "ct timeout t: established is 0");
  CHECK(fault({"t", Protocol::kUdp, {{3, 5}}}) ==
        "ct timeout t: udp has no state 3");
  CHECK(fault({"", Protocol::kUdp, {{kUdpReplied, 5}}}) != "");
}

TEST_CASE("check: an ICMP error's MTU is of IPv4 and below something",
          "[check]") {
  const Match udp{Field::kL4proto, ToBytes(Protocol::kUdp)};
  CHECK(Fault({MatchPathMtu{1280}}) == "");
  CHECK(Fault({MatchPathMtu{0}}) == "no MTU is below 0");
  CHECK(Fault({udp, MatchPathMtu{1280}}) ==
        "icmp type after a match of protocol 17");
  CHECK(Fault({Match{Field::kNfproto, {10}}, MatchPathMtu{1280}}) ==
        "icmp type after a match of the other family");
}

TEST_CASE("check: a timeout is set where the protocol is known", "[check]") {
  const SetCtTimeout set{"tcp-1"};
  const Match tcp{Field::kL4proto, ToBytes(Protocol::kTcp)};
  CHECK(Fault({set}) == "ct timeout tcp-1 needs a match of its protocol");
  CHECK(Fault({tcp, set}) == "");
  CHECK(Fault({MatchSet{{Field::kL4proto, Field::kThDport}, "some"}, set}) ==
        "");
  CHECK(Fault({MatchSet{{Field::kL4proto, Field::kThDport}, "some", true},
               set}) != "");
}

}  // namespace edged::nftables
