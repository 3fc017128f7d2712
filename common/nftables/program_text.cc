#include "common/nftables/program_text.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "common/nftables/print.h"
#include "common/nftables/values.h"

namespace edged::nftables {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmpv6 = 58;
constexpr uint8_t kNfprotoIpv4 = 2, kNfprotoIpv6 = 10;
constexpr size_t kShownElements = 6;  // of an anonymous set

constexpr char kEthernetType[] = "meta protocol";

// What a word holds: its name, and the field that prints its values if there
// is one.
struct Symbol {
  std::string name;
  std::optional<Field> field{};
  size_t size = 4;
  std::optional<Bytes> mask{};
};

Symbol SymbolOf(Field field) {
  return {std::string(Name(field)), field, SizeOf(field)};
}

// By NFT_META_*.
constexpr std::string_view kMetaNames[] = {
    "meta length",  "meta protocol", "meta priority", "meta mark",
    "iif",          "oif",           "iifname",       "oifname",
    "iiftype",      "oiftype",       "meta skuid",    "meta skgid",
    "meta nftrace", "rtclassid",     "meta secmark",  "meta nfproto",
    "meta l4proto", "meta ibrname",  "meta obrname",  "meta pkttype",
    "meta cpu",     "iifgroup",      "oifgroup",      "meta cgroup",
    "meta random",  "meta ipsec",    "meta iifkind",  "meta oifkind"};

Symbol OfMeta(uint32_t key) {
  switch (key) {
    case NFT_META_IIFNAME:
      return SymbolOf(Field::kIifname);
    case NFT_META_OIFNAME:
      return SymbolOf(Field::kOifname);
    case NFT_META_NFPROTO:
      return SymbolOf(Field::kNfproto);
    case NFT_META_L4PROTO:
      return SymbolOf(Field::kL4proto);
    case NFT_META_MARK:
      return SymbolOf(Field::kMark);
    case NFT_META_SKUID:
      return SymbolOf(Field::kSkuid);
    default:
      break;
  }
  if (key < std::size(kMetaNames)) return {std::string(kMetaNames[key])};
  return {fmt::format("<meta {}>", key)};
}

Symbol OfCt(const LoadCt& load) {
  switch (load.key) {
    case NFT_CT_STATE:
      return SymbolOf(Field::kCtState);
    case NFT_CT_STATUS:
      return SymbolOf(Field::kCtStatus);
    case NFT_CT_MARK:
      return SymbolOf(Field::kCtMark);
    case NFT_CT_DIRECTION:
      return SymbolOf(Field::kCtDirection);
    default:
      return {fmt::format("<ct {}>", load.key)};
  }
}

Symbol OfFib(const LoadFib& load) {
  constexpr std::string_view kKeys[] = {"saddr", "daddr", "mark", "iif", "oif"};
  std::string keys;
  for (size_t i = 0; i < std::size(kKeys); ++i) {
    if ((load.flags >> i & 1) == 0) continue;
    keys += fmt::format("{}{}", keys.empty() ? "" : " . ", kKeys[i]);
  }
  const bool type = load.result == NFT_FIB_RESULT_ADDRTYPE;
  return {fmt::format("fib {} {}", keys, type ? "type" : "oif")};
}

std::string Hex(const Bytes& bytes) {
  std::string text = "0x";
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// A name may be compared by its beginning alone: iifname "veth*".
std::string InterfaceText(const Bytes& value) {
  const auto* letters = reinterpret_cast<const char*>(value.data());
  const std::string_view name(letters, strnlen(letters, value.size()));
  return fmt::format("\"{}{}\"", name, name.size() == value.size() ? "*" : "");
}

std::string AddressTypeText(const Bytes& value) {
  constexpr std::string_view kTypes[] = {
      "unspec",    "unicast",   "local",       "broadcast", "anycast",
      "multicast", "blackhole", "unreachable", "prohibit"};
  uint32_t type = 0;
  std::memcpy(&type, value.data(), std::min(value.size(), sizeof type));
  return type < std::size(kTypes) ? std::string(kTypes[type]) : Hex(value);
}

// Of packets on a device: which family comes next.
uint8_t NfprotoOfEthernet(const Bytes& type) {
  if (type == Bytes{0x08, 0x00}) return kNfprotoIpv4;
  return type == Bytes{0x86, 0xdd} ? kNfprotoIpv6 : 0;
}

bool IsAddress(Field field) {
  return field == Field::kIpSaddr || field == Field::kIpDaddr ||
         field == Field::kIp6Saddr || field == Field::kIp6Daddr;
}

std::string ValueOf(const Symbol& symbol, Bytes value) {
  if (value.empty()) return "<nothing>";
  if (symbol.name.starts_with("fib") && symbol.name.ends_with("type")) {
    return AddressTypeText(value);
  }
  if (symbol.name == kEthernetType && NfprotoOfEthernet(value) != 0) {
    return NfprotoOfEthernet(value) == kNfprotoIpv4 ? "ip" : "ip6";
  }
  if (!symbol.field) return Hex(value);
  const Field field = *symbol.field;
  if (field == Field::kIifname || field == Field::kOifname) {
    return InterfaceText(value);
  }
  const size_t bits = value.size() * 8;
  if (IsAddress(field) && value.size() < SizeOf(field)) {
    value.resize(SizeOf(field));
    return fmt::format("{}/{}", ValueText(field, value), bits);
  }
  // In a concatenation it is padded.
  if (value.size() < SizeOf(field)) return Hex(value);
  value.resize(SizeOf(field));
  return IsBits(field) ? BitsText(field, value) : ValueText(field, value);
}

std::string_view Operator(Comparison comparison) {
  switch (comparison) {
    case Comparison::kEqual:
      return "";
    case Comparison::kNotEqual:
      return "!= ";
    case Comparison::kLess:
      return "< ";
    case Comparison::kAtMost:
      return "<= ";
    case Comparison::kGreater:
      return "> ";
    case Comparison::kAtLeast:
      return ">= ";
  }
  return "";
}

class Printer {
 public:
  explicit Printer(const AnyTable& table) : table_(table) {
    if (table.family == NFPROTO_IPV4) nfproto_ = kNfprotoIpv4;
    if (table.family == NFPROTO_IPV6) nfproto_ = kNfprotoIpv6;
  }

  std::string Text(const Program& program) {
    for (const Instruction& each : program) {
      std::visit([this](const auto& one) { Add(one); }, each);
    }
    std::erase(parts_, "");
    return fmt::format("{}", fmt::join(parts_, " "));
  }

 private:
  void Add(const LoadMeta& load) { Put(load.word, OfMeta(load.key)); }
  void Add(const LoadCt& load) { Put(load.word, OfCt(load)); }
  void Add(const LoadFib& load) { Put(load.word, OfFib(load)); }
  void Add(const LoadPayload& load) { Put(load.word, OfPayload(load)); }
  void Add(const LoadUnknown& load) {
    if (!load.word) words_.clear();
    const uint32_t word = load.word.value_or(0);
    // The same value, in the order of bytes that comparisons need.
    const bool swapped = load.name == "byteorder" && words_.contains(word);
    Put(word, {swapped ? At(word).name : fmt::format("<{}>", load.name)});
  }
  void Add(const LoadConstant&) {}
  void Add(const MaskBits& mask) {
    Symbol symbol = At(mask.from);
    symbol.mask = mask.mask;
    if (!IsZero(mask.flip)) symbol.name += fmt::format(" ^ {}", Hex(mask.flip));
    words_[mask.to] = std::move(symbol);
  }
  void Add(const Compare& compare);
  void Add(const CompareRanges& compare);
  void Add(const LookUp& lookup);
  void Add(const LimitRate& limit) {
    Say(limit.over ? "limit rate over ..." : "limit rate ...");
  }
  void Add(const UnknownMatch& match) { Say(fmt::format("<{}>", match.name)); }
  void Add(const Refuse&) { Say("reject"); }
  void Add(const Translate& translate) {
    Say(translate.name == "masq" ? "masquerade" : translate.name);
  }
  void Add(const Act& act) { Say(act.name); }
  void Add(const Verdict& verdict) { Say(Print(verdict)); }
  void Add(const UnknownVerdict& verdict) {
    Say(fmt::format("<{}>", verdict.name));
  }

  void Say(std::string part) { parts_.push_back(std::move(part)); }
  void Put(uint32_t word, Symbol symbol) { words_[word] = std::move(symbol); }
  Symbol At(uint32_t word) const {
    const auto found = words_.find(word);
    return found == words_.end() ? Symbol{"<value>"} : found->second;
  }
  // The values that lie one after the other from `word` on.
  std::vector<Symbol> From(uint32_t word) const;
  Symbol OfPayload(const LoadPayload& load);
  Symbol OfNetwork(const LoadPayload& load);
  void Remember(const Symbol& symbol, const Compare& compare);
  void Drop(std::optional<size_t>& part) {
    if (part) parts_[*part].clear();
    part.reset();
  }
  std::string KeyText(const std::vector<Symbol>& key, const Bytes& bytes,
                      const Bytes& end) const;
  std::string SetText(const LookUp& lookup,
                      const std::vector<Symbol>& key) const;

  const AnyTable& table_;
  std::map<uint32_t, Symbol> words_;
  std::vector<std::string> parts_;
  std::string low_;  // the last part, if it may be the first half of a range
  std::optional<uint8_t> protocol_;
  std::optional<uint8_t> nfproto_;
  // Matches that a later one implies: nft does not list them.
  std::optional<size_t> protocol_part_;
  std::optional<size_t> nfproto_part_;
};

Symbol Printer::OfPayload(const LoadPayload& load) {
  if (load.header == Header::kNetwork) return OfNetwork(load);
  const std::string raw =
      fmt::format("@{},{},{}", load.header == Header::kLink ? "ll" : "th",
                  load.offset * 8, load.size * 8);
  if (load.header == Header::kLink) return {raw, std::nullopt, load.size};
  Drop(protocol_part_);
  const uint8_t protocol = protocol_.value_or(0);
  if (load.size == 2 && load.offset <= 2 &&
      (protocol == 0 || protocol == kTcp || protocol == kUdp)) {
    const Field field = load.offset == 0 ? Field::kThSport : Field::kThDport;
    const std::string_view name = protocol == kTcp   ? "tcp"
                                  : protocol == kUdp ? "udp"
                                                     : "th";
    return {fmt::format("{} {}", name, load.offset == 0 ? "sport" : "dport"),
            field, 2};
  }
  if (protocol == kTcp && load.offset == 13 && load.size == 1) {
    return SymbolOf(Field::kTcpFlags);
  }
  if (load.offset == 0 && load.size == 1 && protocol == kIcmp) {
    Drop(nfproto_part_);
    return SymbolOf(Field::kIcmpType);
  }
  if (load.offset == 0 && load.size == 1 && protocol == kIcmpv6) {
    Drop(nfproto_part_);
    return SymbolOf(Field::kIcmpv6Type);
  }
  return {raw, std::nullopt, load.size};
}

Symbol Printer::OfNetwork(const LoadPayload& load) {
  Drop(nfproto_part_);
  const auto field = [&]() -> std::optional<Field> {
    if (nfproto_.value_or(kNfprotoIpv4) == kNfprotoIpv4 && load.size <= 4) {
      if (load.offset == 9) return Field::kL4proto;
      if (load.offset == 12) return Field::kIpSaddr;
      if (load.offset == 16) return Field::kIpDaddr;
    }
    if (nfproto_.value_or(kNfprotoIpv6) == kNfprotoIpv6) {
      if (load.offset == 6 && load.size == 1) return Field::kL4proto;
      if (load.offset == 8) return Field::kIp6Saddr;
      if (load.offset == 24) return Field::kIp6Daddr;
    }
    return std::nullopt;
  }();
  if (!field) {
    return {fmt::format("@nh,{},{}", load.offset * 8, load.size * 8),
            std::nullopt, load.size};
  }
  Symbol symbol = SymbolOf(*field);
  symbol.size = load.size;
  if (field == Field::kL4proto) {
    symbol.name = load.offset == 9 ? "ip protocol" : "ip6 nexthdr";
  }
  return symbol;
}

// What later matches are written by.
void Printer::Remember(const Symbol& symbol, const Compare& compare) {
  if (compare.comparison != Comparison::kEqual || compare.value.empty() ||
      symbol.mask) {
    return;
  }
  const size_t part = parts_.size() - 1;
  if (symbol.field == Field::kL4proto) {
    protocol_ = compare.value[0];
    protocol_part_ = part;
  }
  if (symbol.field == Field::kNfproto) {
    nfproto_ = compare.value[0];
    nfproto_part_ = part;
  }
  const uint8_t nfproto = NfprotoOfEthernet(compare.value);
  if (symbol.name == kEthernetType && nfproto != 0) {
    nfproto_ = nfproto;
    nfproto_part_ = part;
  }
}

void Printer::Add(const Compare& compare) {
  const Symbol symbol = At(compare.word);
  const std::string_view sign = Operator(compare.comparison);
  const std::string low = std::exchange(low_, "");
  if (!symbol.mask) {
    const std::string value = ValueOf(symbol, compare.value);
    const std::string before = fmt::format("{} >= ", symbol.name);
    if (compare.comparison == Comparison::kAtMost && low.starts_with(before)) {
      parts_.back() = fmt::format("{} {}-{}", symbol.name,
                                  low.substr(before.size()), value);
      return;
    }
    Say(fmt::format("{} {}{}", symbol.name, sign, value));
    if (compare.comparison == Comparison::kAtLeast) low_ = parts_.back();
    return Remember(symbol, compare);
  }
  const bool bits = symbol.field && IsBits(*symbol.field);
  if (bits && IsZero(compare.value)) {
    const bool any = compare.comparison == Comparison::kNotEqual;
    return Say(fmt::format("{} {}{}", symbol.name, any ? "" : "! ",
                           ValueOf(symbol, *symbol.mask)));
  }
  const bool prefix = symbol.field && IsAddress(*symbol.field) &&
                      symbol.mask->size() == SizeOf(*symbol.field);
  const int length = prefix ? PrefixLength(*symbol.field, *symbol.mask) : -1;
  if (length >= 0) {
    return Say(fmt::format("{} {}{}/{}", symbol.name, sign,
                           ValueOf(symbol, compare.value), length));
  }
  Say(fmt::format("{} & {} {}{}", symbol.name, ValueOf(symbol, *symbol.mask),
                  sign.empty() ? "== " : sign, ValueOf(symbol, compare.value)));
}

void Printer::Add(const CompareRanges& compare) {
  const Symbol symbol = At(compare.word);
  std::string ranges;
  for (const auto& [first, last] : compare.ranges) {
    ranges +=
        fmt::format("{}{}", ranges.empty() ? "" : ", ", ValueOf(symbol, first));
    if (first != last) ranges += fmt::format("-{}", ValueOf(symbol, last));
  }
  if (compare.ranges.size() > 1) ranges = fmt::format("{{ {} }}", ranges);
  Say(fmt::format("{} {}{}", symbol.name, compare.negate ? "!= " : "", ranges));
}

std::vector<Symbol> Printer::From(uint32_t word) const {
  std::vector<Symbol> key;
  for (auto found = words_.find(word); found != words_.end();
       found = words_.find(word)) {
    key.push_back(found->second);
    // A load of no bytes takes a register all the same.
    word += std::max<uint32_t>(
        1, static_cast<uint32_t>((found->second.size + 3) / kWordSize));
  }
  if (key.empty()) key.push_back({"<value>"});
  return key;
}

std::string Printer::KeyText(const std::vector<Symbol>& key, const Bytes& bytes,
                             const Bytes& end) const {
  std::string text;
  size_t offset = 0;
  for (const Symbol& symbol : key) {
    if (offset >= bytes.size()) break;
    const size_t size = std::min(symbol.size, bytes.size() - offset);
    const auto part = [&](const Bytes& whole) {
      return ValueOf(
          symbol, Bytes(whole.begin() + offset, whole.begin() + offset + size));
    };
    text += fmt::format("{}{}", offset == 0 ? "" : " . ", part(bytes));
    if (end.size() == bytes.size() && part(end) != part(bytes)) {
      text += fmt::format("-{}", part(end));
    }
    offset += (size + 3) / kWordSize * kWordSize;
  }
  return text;
}

std::string Printer::SetText(const LookUp& lookup,
                             const std::vector<Symbol>& key) const {
  const auto set = table_.sets.find(lookup.set);
  const bool shown = set != table_.sets.end() && set->second.anonymous() &&
                     set->second.complete;
  if (!shown) return "@" + lookup.set;
  std::string text;
  size_t count = 0;
  for (const Element& element : set->second.elements) {
    if (count++ == kShownElements) {
      text += ", ...";
      break;
    }
    text += text.empty() ? "" : ", ";
    text += KeyText(key, element.key, element.key_end);
    if (element.verdict) text += " : " + Print(*element.verdict);
  }
  return fmt::format("{{ {} }}", text);
}

void Printer::Add(const LookUp& lookup) {
  const std::vector<Symbol> key = From(lookup.word);
  std::string name;
  for (const Symbol& symbol : key) {
    name += fmt::format("{}{}", name.empty() ? "" : " . ", symbol.name);
  }
  const std::string set = SetText(lookup, key);
  if (lookup.verdict) return Say(fmt::format("{} vmap {}", name, set));
  if (lookup.to) {
    words_.clear();
    return Put(*lookup.to, {fmt::format("{} map {}", name, set)});
  }
  Say(fmt::format("{} {}{}", name, lookup.negate ? "!= " : "", set));
}

}  // namespace

std::string ProgramText(const Program& program, const AnyTable& table) {
  return Printer(table).Text(program);
}

bool Refuses(const Program& program) {
  return std::ranges::any_of(program, [](const Instruction& each) {
    return std::holds_alternative<Refuse>(each);
  });
}

}  // namespace edged::nftables
