#include "common/nftables/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

namespace edged::nftables {
namespace {

struct Named {
  uint32_t value;
  std::string_view name;
};

// The kernel's numbers with nft's names, in nft's order.
constexpr Named kTcpFlagNames[] = {{1, "fin"},  {2, "syn"},  {4, "rst"},
                                   {8, "psh"},  {16, "ack"}, {32, "urg"},
                                   {64, "ecn"}, {128, "cwr"}};
constexpr Named kCtStateNames[] = {{kCtInvalid, "invalid"},
                                   {kCtEstablished, "established"},
                                   {kCtRelated, "related"},
                                   {kCtNew, "new"},
                                   {kCtUntracked, "untracked"}};
constexpr Named kCtStatusNames[] = {
    {1, "expected"},  {2, "seen-reply"},       {kCtStatusAssured, "assured"},
    {8, "confirmed"}, {kCtStatusSnat, "snat"}, {kCtStatusDnat, "dnat"},
    {512, "dying"}};
constexpr Named kProtocolNames[] = {
    {0, "ip"},   {1, "icmp"},       {2, "igmp"},   {4, "ipencap"},  {6, "tcp"},
    {17, "udp"}, {33, "dccp"},      {41, "ipv6"},  {47, "gre"},     {50, "esp"},
    {51, "ah"},  {58, "ipv6-icmp"}, {132, "sctp"}, {136, "udplite"}};
constexpr Named kNfprotoNames[] = {{2, "ipv4"}, {10, "ipv6"}};
constexpr Named kIcmpNames[] = {
    {0, "echo-reply"},           {3, "destination-unreachable"},
    {4, "source-quench"},        {5, "redirect"},
    {8, "echo-request"},         {9, "router-advertisement"},
    {10, "router-solicitation"}, {11, "time-exceeded"},
    {12, "parameter-problem"},   {13, "timestamp-request"},
    {14, "timestamp-reply"},     {15, "info-request"},
    {16, "info-reply"},          {17, "address-mask-request"},
    {18, "address-mask-reply"}};
constexpr Named kCtDirectionNames[] = {{0, "original"}, {1, "reply"}};
constexpr Named kIcmpv6Names[] = {
    {1, "destination-unreachable"}, {2, "packet-too-big"},
    {3, "time-exceeded"},           {4, "parameter-problem"},
    {128, "echo-request"},          {129, "echo-reply"},
    {130, "mld-listener-query"},    {131, "mld-listener-report"},
    {132, "mld-listener-done"},     {133, "nd-router-solicit"},
    {134, "nd-router-advert"},      {135, "nd-neighbor-solicit"},
    {136, "nd-neighbor-advert"},    {137, "nd-redirect"},
    {138, "router-renumbering"},    {141, "ind-neighbor-solicit"},
    {142, "ind-neighbor-advert"},   {143, "mld2-listener-report"}};

std::string NameOrNumber(std::span<const Named> names, uint32_t value) {
  const auto found = std::ranges::find(names, value, &Named::value);
  if (found != names.end()) return std::string(found->name);
  return fmt::format("{}", value);
}

uint32_t HostWord(const uint8_t* value) {
  uint32_t word;
  std::memcpy(&word, value, sizeof word);
  return word;
}

std::span<const Named> BitNames(Field field) {
  switch (field) {
    case Field::kTcpFlags:
      return kTcpFlagNames;
    case Field::kCtState:
      return kCtStateNames;
    case Field::kCtStatus:
      return kCtStatusNames;
    default:
      return {};
  }
}

std::string AddressText(const uint8_t* value, size_t size) {
  return IpAddress::FromBytes(std::span(value, size)).ToString();
}

std::string NameText(const uint8_t* value) {
  const auto* text = reinterpret_cast<const char*>(value);
  return fmt::format("\"{}\"", std::string_view(text, strnlen(text, 16)));
}

// The bytes with the most significant first.
Bytes BigEndian(bool host_order, const uint8_t* value, size_t size) {
  Bytes bytes(value, value + size);
  if (host_order && std::endian::native == std::endian::little) {
    std::reverse(bytes.begin(), bytes.end());
  }
  return bytes;
}

// How many bits first and last share if the range is exactly one prefix.
int CommonPrefix(const Bytes& first, const Bytes& last) {
  int length = 0;
  const int bits = static_cast<int>(first.size()) * 8;
  const auto bit = [](const Bytes& bytes, int i) {
    return (bytes[i / 8] >> (7 - i % 8)) & 1;
  };
  while (length < bits && bit(first, length) == bit(last, length)) ++length;
  for (int i = length; i < bits; ++i) {
    if (bit(first, i) != 0 || bit(last, i) != 1) return -1;
  }
  return length;
}

}  // namespace

std::string_view Name(Type type) {
  switch (type) {
    case Type::kIpv4Addr:
      return "ipv4_addr";
    case Type::kIpv6Addr:
      return "ipv6_addr";
    case Type::kInetProto:
      return "inet_proto";
    case Type::kInetService:
      return "inet_service";
    case Type::kMark:
      return "mark";
    case Type::kIfname:
      return "ifname";
    case Type::kVerdict:
      return "verdict";
  }
  return "";
}

std::string_view Name(Field field) {
  switch (field) {
    case Field::kIifname:
      return "iifname";
    case Field::kOifname:
      return "oifname";
    case Field::kNfproto:
      return "meta nfproto";
    case Field::kL4proto:
      return "meta l4proto";
    case Field::kMark:
      return "meta mark";
    case Field::kSkuid:
      return "meta skuid";
    case Field::kIpSaddr:
      return "ip saddr";
    case Field::kIpDaddr:
      return "ip daddr";
    case Field::kIp6Saddr:
      return "ip6 saddr";
    case Field::kIp6Daddr:
      return "ip6 daddr";
    case Field::kThSport:
      return "th sport";
    case Field::kThDport:
      return "th dport";
    case Field::kTcpFlags:
      return "tcp flags";
    case Field::kIcmpType:
      return "icmp type";
    case Field::kIcmpv6Type:
      return "icmpv6 type";
    case Field::kCtState:
      return "ct state";
    case Field::kCtStatus:
      return "ct status";
    case Field::kCtMark:
      return "ct mark";
    case Field::kCtDirection:
      return "ct direction";
  }
  return "";
}

std::string ValueText(Type type, const uint8_t* value) {
  switch (type) {
    case Type::kIpv4Addr:
      return AddressText(value, 4);
    case Type::kIpv6Addr:
      return AddressText(value, 16);
    case Type::kInetProto:
      return NameOrNumber(kProtocolNames, *value);
    case Type::kInetService:
      return fmt::format("{}", value[0] << 8 | value[1]);
    case Type::kMark:
      return fmt::format("{:#010x}", HostWord(value));
    case Type::kIfname:
      return NameText(value);
    case Type::kVerdict:
      return "";
  }
  return "";
}

std::string ValueText(Field field, const Bytes& value) {
  switch (field) {
    case Field::kIifname:
    case Field::kOifname:
      return ValueText(Type::kIfname, value.data());
    case Field::kNfproto:
      return NameOrNumber(kNfprotoNames, value[0]);
    case Field::kL4proto:
      return ValueText(Type::kInetProto, value.data());
    case Field::kMark:
    case Field::kCtMark:
      return ValueText(Type::kMark, value.data());
    case Field::kSkuid:
      return fmt::format("{}", HostWord(value.data()));
    case Field::kIpSaddr:
    case Field::kIpDaddr:
      return ValueText(Type::kIpv4Addr, value.data());
    case Field::kIp6Saddr:
    case Field::kIp6Daddr:
      return ValueText(Type::kIpv6Addr, value.data());
    case Field::kThSport:
    case Field::kThDport:
      return ValueText(Type::kInetService, value.data());
    case Field::kIcmpType:
      return NameOrNumber(kIcmpNames, value[0]);
    case Field::kIcmpv6Type:
      return NameOrNumber(kIcmpv6Names, value[0]);
    case Field::kCtDirection:
      return NameOrNumber(kCtDirectionNames, value[0]);
    case Field::kTcpFlags:
    case Field::kCtState:
    case Field::kCtStatus:
      return BitsText(field, value);
  }
  return "";
}

std::string BitsText(Field field, const Bytes& value) {
  uint32_t bits = value.size() == 1 ? value[0] : HostWord(value.data());
  std::string text;
  for (const Named& named : BitNames(field)) {
    if ((bits & named.value) == 0) continue;
    bits &= ~named.value;
    text += fmt::format("{}{}", text.empty() ? "" : ",", named.name);
  }
  if (bits != 0 || text.empty()) {
    text += fmt::format("{}{:#x}", text.empty() ? "" : ",", bits);
  }
  return text;
}

std::string RangeText(Type type, const uint8_t* first, const uint8_t* last) {
  const size_t size = SizeOf(type);
  if (std::equal(first, first + size, last)) return ValueText(type, first);
  if (type == Type::kInetProto) {  // nft lists such ranges by number
    return fmt::format("{}-{}", *first, *last);
  }
  const bool has_prefixes =
      type == Type::kIpv4Addr || type == Type::kIpv6Addr || type == Type::kMark;
  if (has_prefixes) {
    const int length = CommonPrefix(BigEndian(IsHostOrder(type), first, size),
                                    BigEndian(IsHostOrder(type), last, size));
    if (length >= 0) {
      return fmt::format("{}/{}", ValueText(type, first), length);
    }
  }
  return fmt::format("{}-{}", ValueText(type, first), ValueText(type, last));
}

std::string ConcatenationText(const std::vector<Type>& types,
                              const Bytes& first, const Bytes& last) {
  const Bytes& end = last.empty() ? first : last;
  std::string text;
  size_t offset = 0;
  for (const Type type : types) {
    text += fmt::format(
        "{}{}", offset == 0 ? "" : " . ",
        RangeText(type, first.data() + offset, end.data() + offset));
    offset += (SizeOf(type) + 3) / 4 * 4;
  }
  return text;
}

bool IsBits(Field field) { return !BitNames(field).empty(); }

bool IsHostOrder(Type type) {
  return type == Type::kMark || type == Type::kIfname;
}

bool IsHostOrder(Field field) {
  switch (field) {
    case Field::kIifname:
    case Field::kOifname:
    case Field::kMark:
    case Field::kSkuid:
    case Field::kCtMark:
    case Field::kCtState:
    case Field::kCtStatus:
    case Field::kCtDirection:
      return true;
    default:
      return false;
  }
}

bool IsZero(const Bytes& value) {
  return std::ranges::all_of(value, [](uint8_t byte) { return byte == 0; });
}

bool IsAllOnes(const Bytes& value) {
  return std::ranges::all_of(value, [](uint8_t byte) { return byte == 0xff; });
}

int PrefixLength(Field field, const Bytes& mask) {
  const Bytes bytes = BigEndian(IsHostOrder(field), mask.data(), mask.size());
  Bytes inverted = bytes;
  for (uint8_t& byte : inverted) byte = ~byte;
  // A prefix's mask is where the first and the last address differ: inverted,
  // it runs from 0 to its own value.
  return CommonPrefix(Bytes(bytes.size()), inverted);
}

Bytes MaskOf(const IpPrefix& prefix) {
  Bytes mask(prefix.address().bytes().size(), 0);
  for (int bit = 0; bit < prefix.length(); ++bit) {
    mask[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
  }
  return mask;
}

std::span<const TimeoutState> TimeoutStates(Protocol protocol) {
  static constexpr TimeoutState kTcp[] = {
      {1, "syn_sent", 120},  {2, "syn_recv", 60},   {3, "established", 432'000},
      {4, "fin_wait", 120},  {5, "close_wait", 60}, {6, "last_ack", 30},
      {7, "time_wait", 120}, {8, "close", 10},      {9, "syn_sent2", 120},
      {10, "retrans", 300},  {11, "unack", 300},
  };
  static constexpr TimeoutState kUdp[] = {
      {1, "unreplied", 30},
      {2, "replied", 120},
  };
  if (protocol == Protocol::kTcp) return kTcp;
  return kUdp;
}

}  // namespace edged::nftables
