#include "edged/core/probe_bytes.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace edged::edge {
namespace {

using nftables::AnySet;
using nftables::Bytes;
using nftables::Element;

constexpr uint16_t kSomeHighPort = 40'000;
constexpr uint8_t kTcpSyn = 2, kTcpAck = 16;

Value KnownNumber(uint32_t number) {
  return Known(nftables::MarkBytes(number));
}
Bytes PartOf(const Bytes& bytes, size_t offset, size_t size) {
  if (offset + size > bytes.size()) return {};
  return Bytes(bytes.begin() + offset, bytes.begin() + offset + size);
}

}  // namespace

Truth Not(Truth truth) {
  switch (truth) {
    case Truth::kYes:
      return Truth::kNo;
    case Truth::kPerhaps:
      return Truth::kPerhaps;
    default:
      return Truth::kYes;
  }
}

Value Known(std::span<const uint8_t> bytes) {
  Value value;
  for (const uint8_t byte : bytes) value.push_back({Byte::kKnown, byte});
  return value;
}

Value Filled(Byte::Kind kind, size_t size) {
  return Value(size, Byte{kind, 0});
}

// The packet's bytes, as far as they are decided.
Value NetworkHeader(const Probe& probe) {
  const bool ipv4 = probe.family == Family::kIpv4;
  Value header = Filled(Byte::kUnknown, 40);
  const auto put = [&header](size_t offset, const Value& bytes) {
    std::ranges::copy(bytes, header.begin() + offset);
  };
  const auto put_address = [&](size_t offset,
                               const std::optional<IpAddress>& address) {
    put(offset, address ? Known(address->bytes())
                        : Filled(Byte::kOrdinary, ipv4 ? 4 : 16));
  };
  const Value protocol = Known(nftables::ToBytes(probe.protocol));
  if (ipv4) {
    put(0, Known(Bytes{0x45}));
    put(6, Known(Bytes{0x40, 0}));  // not a fragment
    put(9, protocol);
    put_address(12, probe.source);
    put_address(16, probe.destination);
  } else {
    put(6, protocol);
    put_address(8, probe.source);
    put_address(24, probe.destination);
  }
  return header;
}

Value TransportHeader(const Probe& probe) {
  Value header = Filled(Byte::kUnknown, 20);
  const auto put = [&header](size_t offset, const Value& bytes) {
    std::ranges::copy(bytes, header.begin() + offset);
  };
  put(0, Known(nftables::PortBytes(probe.source_port.value_or(kSomeHighPort))));
  if (probe.destination_port) {
    put(2, Known(nftables::PortBytes(*probe.destination_port)));
  }
  if (probe.protocol == Protocol::kTcp) {
    put(13, Known(Bytes{probe.established ? kTcpAck : kTcpSyn}));
  }
  return header;
}

Value MetaValue(const Probe& probe, uint32_t key) {
  const bool ipv4 = probe.family == Family::kIpv4;
  switch (key) {
    case NFT_META_IIFNAME:
      return Known(nftables::NameBytes(probe.in));
    case NFT_META_OIFNAME:
      return Known(nftables::NameBytes(probe.out));
    case NFT_META_IIF:
      return KnownNumber(probe.in_index);
    case NFT_META_OIF:
      return KnownNumber(probe.out_index);
    case NFT_META_L4PROTO:
      return Known(nftables::ToBytes(probe.protocol));
    case NFT_META_NFPROTO:
      return Known(
          Bytes{static_cast<uint8_t>(ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6)});
    case NFT_META_PROTOCOL:
      return Known(ipv4 ? Bytes{0x08, 0x00} : Bytes{0x86, 0xdd});
    case NFT_META_MARK:
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
      return KnownNumber(0);
    case NFT_META_PKTTYPE:  // to this machine's link address
      return Known(Bytes{0});
    default:
      return Filled(Byte::kUnknown, nftables::kWordSize * 4);
  }
}

Value CtValue(const Probe& probe, uint32_t key) {
  constexpr uint32_t kConfirmed = 2 | 4 | 8;  // seen-reply, assured, confirmed
  switch (key) {
    case NFT_CT_STATE:
      return KnownNumber(probe.untracked     ? nftables::kCtUntracked
                         : probe.established ? nftables::kCtEstablished
                                             : nftables::kCtNew);
    case NFT_CT_STATUS:
      return KnownNumber((probe.translated ? nftables::kCtStatusDnat : 0) |
                         (probe.established ? kConfirmed : 0));
    case NFT_CT_MARK:  // never one that others know
      return Filled(Byte::kOrdinary, 4);
    default:
      return Filled(Byte::kUnknown, nftables::kWordSize * 4);
  }
}

Value FibValue(const Probe& probe, const nftables::LoadFib& load) {
  if (load.result != NFT_FIB_RESULT_ADDRTYPE) {
    // There is a way back, by whichever interface.
    return Filled(Byte::kOrdinary, 16);
  }
  const bool local = (load.flags & NFTA_FIB_F_DADDR) != 0 && probe.to_this_host;
  return KnownNumber(local ? RTN_LOCAL : RTN_UNICAST);
}

Truth Equals(const Value& value, const Bytes& wanted) {
  Truth truth = Truth::kYes;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const Byte byte = i < value.size() ? value[i] : Byte{};
    if (byte.kind == Byte::kKnown) {
      if (byte.value != wanted[i]) return Truth::kNo;
    } else {
      truth = std::min(
          truth, byte.kind == Byte::kOrdinary ? Truth::kSome : Truth::kPerhaps);
    }
  }
  return truth;
}

Truth Within(const Value& value, const Bytes& first, const Bytes& last) {
  Bytes known;
  for (size_t i = 0; i < first.size(); ++i) {
    const Byte byte = i < value.size() ? value[i] : Byte{};
    if (byte.kind == Byte::kOrdinary) return Truth::kSome;
    if (byte.kind == Byte::kUnknown) return Truth::kPerhaps;
    known.push_back(byte.value);
  }
  return first <= known && known <= last ? Truth::kYes : Truth::kNo;
}

Truth Matches(const AnySet& set, const Element& element, const Value& key) {
  if (element.key_end.size() != element.key.size()) {
    return Equals(key, element.key);
  }
  if (set.parts.empty()) return Within(key, element.key, element.key_end);
  Truth truth = Truth::kYes;
  size_t offset = 0;
  for (const uint32_t size : set.parts) {
    const Value part(key.begin() + std::min(offset, key.size()), key.end());
    truth = std::min(truth, Within(part, PartOf(element.key, offset, size),
                                   PartOf(element.key_end, offset, size)));
    offset += (size + 3) / nftables::kWordSize * nftables::kWordSize;
  }
  return truth;
}

}  // namespace edged::edge
