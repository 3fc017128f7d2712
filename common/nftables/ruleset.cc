#include "common/nftables/ruleset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace edged::nftables {
namespace {

constexpr size_t kIfnameSize = 16;  // IFNAMSIZ, with the final zero

constexpr size_t Padded(size_t size) { return (size + 3) / 4 * 4; }

template <typename T>
size_t SizeOfParts(const std::vector<T>& parts) {
  if (parts.size() == 1) return SizeOf(parts[0]);
  size_t size = 0;
  for (const T& part : parts) size += Padded(SizeOf(part));
  return size;
}

}  // namespace

Bytes ToBytes(const IpAddress& address) {
  const auto bytes = address.bytes();
  return Bytes(bytes.begin(), bytes.end());
}

Bytes ToBytes(Protocol protocol) { return {static_cast<uint8_t>(protocol)}; }

Bytes PortBytes(uint16_t port) {
  return {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)};
}

Bytes MarkBytes(uint32_t mark) {
  Bytes bytes(sizeof mark);
  std::memcpy(bytes.data(), &mark, sizeof mark);
  return bytes;
}

Bytes NameBytes(std::string_view name) {
  Bytes bytes(kIfnameSize);
  std::copy_n(name.begin(), std::min(name.size(), kIfnameSize - 1),
              bytes.begin());
  return bytes;
}

Bytes Concat(std::initializer_list<Bytes> parts) {
  Bytes whole;
  for (const Bytes& part : parts) {
    whole.insert(whole.end(), part.begin(), part.end());
    whole.resize(Padded(whole.size()));
  }
  return whole;
}

size_t SizeOf(Type type) {
  switch (type) {
    case Type::kIpv4Addr:
    case Type::kMark:
      return 4;
    case Type::kIpv6Addr:
      return 16;
    case Type::kInetProto:
      return 1;
    case Type::kInetService:
      return 2;
    case Type::kIfname:
      return kIfnameSize;
    case Type::kVerdict:
      return 0;
  }
  return 0;
}

size_t SizeOf(Field field) {
  switch (field) {
    case Field::kIifname:
    case Field::kOifname:
      return kIfnameSize;
    case Field::kNfproto:
    case Field::kL4proto:
    case Field::kTcpFlags:
    case Field::kIcmpType:
    case Field::kIcmpv6Type:
    case Field::kCtDirection:
      return 1;
    case Field::kThSport:
    case Field::kThDport:
      return 2;
    case Field::kMark:
    case Field::kSkuid:
    case Field::kIpSaddr:
    case Field::kIpDaddr:
    case Field::kCtState:
    case Field::kCtStatus:
    case Field::kCtMark:
      return 4;
    case Field::kIp6Saddr:
    case Field::kIp6Daddr:
      return 16;
  }
  return 0;
}

size_t SizeOf(const std::vector<Type>& types) { return SizeOfParts(types); }

size_t SizeOf(const std::vector<Field>& fields) { return SizeOfParts(fields); }

bool CtTimeout::IsMetBy(const CtTimeout& listed) const {
  return listed.protocol == protocol &&
         std::ranges::all_of(seconds, [&listed](const auto& state) {
           const auto found = listed.seconds.find(state.first);
           return found != listed.seconds.end() &&
                  found->second == state.second;
         });
}

CtTimeout IdleTimeout(Protocol protocol, uint32_t seconds) {
  CtTimeout timeout{
      .name = fmt::format("{}-{}", edged::ToString(protocol), seconds),
      .protocol = protocol};
  if (protocol == Protocol::kUdp) {
    timeout.seconds = {{kUdpUnreplied, seconds}, {kUdpReplied, seconds}};
    return timeout;
  }
  // nft 1.0.6 lists nothing of an object that says what nft takes for granted,
  // and cannot load that again: so this one says more, of two ends that open
  // one connection at once.
  constexpr uint32_t kGranted = 432'000, kAlmostGranted = 119;
  timeout.seconds = {{kTcpEstablished, seconds}};
  if (seconds == kGranted) timeout.seconds[kTcpSynSent2] = kAlmostGranted;
  return timeout;
}

}  // namespace edged::nftables
