#include "common/nftables/data_type.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>

namespace edged::nftables {
namespace {

constexpr uint32_t kNfproto = 2, kInteger = 4, kIpAddr = 7, kIp6Addr = 8,
                   kInetProtocol = 12, kInetService = 13, kIcmpType = 14,
                   kTcpFlag = 15, kMark = 19, kUid = 24, kCtState = 26,
                   kCtDirection = 27, kCtStatus = 28, kIcmp6Type = 29,
                   kIfname = 41;
constexpr uint32_t kBitsPerPart = 6;

constexpr Type kTypes[] = {
    Type::kIpv4Addr, Type::kIpv6Addr, Type::kInetProto, Type::kInetService,
    Type::kMark,     Type::kIfname,   Type::kVerdict};

}  // namespace

DataType DataTypeOf(Type type) {
  switch (type) {
    case Type::kIpv4Addr:
      return {kIpAddr, 4, ByteOrder::kNetwork};
    case Type::kIpv6Addr:
      return {kIp6Addr, 16, ByteOrder::kNetwork};
    case Type::kInetProto:
      return {kInetProtocol, 1, ByteOrder::kHost};
    case Type::kInetService:
      return {kInetService, 2, ByteOrder::kNetwork};
    case Type::kMark:
      return {kMark, 4, ByteOrder::kHost};
    case Type::kIfname:
      return {kIfname, 16, ByteOrder::kHost};
    case Type::kVerdict:
      return {NFT_DATA_VERDICT, 0, ByteOrder::kNone};
  }
  return {};
}

DataType DataTypeOf(Field field) {
  switch (field) {
    case Field::kIifname:
    case Field::kOifname:
      return DataTypeOf(Type::kIfname);
    case Field::kNfproto:
      return {kNfproto, 1, ByteOrder::kHost};
    case Field::kL4proto:
      return DataTypeOf(Type::kInetProto);
    case Field::kMark:
    case Field::kCtMark:
      return DataTypeOf(Type::kMark);
    case Field::kSkuid:
      return {kUid, 4, ByteOrder::kHost};
    case Field::kIpSaddr:
    case Field::kIpDaddr:
      return DataTypeOf(Type::kIpv4Addr);
    case Field::kIp6Saddr:
    case Field::kIp6Daddr:
      return DataTypeOf(Type::kIpv6Addr);
    case Field::kThSport:
    case Field::kThDport:
      return DataTypeOf(Type::kInetService);
    case Field::kTcpFlags:
      return {kTcpFlag, 1, ByteOrder::kNetwork};
    case Field::kIcmpType:
      return {kIcmpType, 1, ByteOrder::kNetwork};
    case Field::kIcmpv6Type:
      return {kIcmp6Type, 1, ByteOrder::kNetwork};
    case Field::kCtState:
      return {kCtState, 4, ByteOrder::kHost};
    case Field::kCtStatus:
      return {kCtStatus, 4, ByteOrder::kHost};
    case Field::kCtDirection:
      return {kCtDirection, 1, ByteOrder::kHost};
  }
  return {};
}

DataType HashType() { return {kInteger, 4, ByteOrder::kHost}; }

DataType Concatenated(const std::vector<DataType>& parts) {
  if (parts.size() == 1) return parts[0];
  DataType whole;
  for (const DataType& part : parts) {
    whole.id = whole.id << kBitsPerPart | part.id;
    whole.size += (part.size + 3) / 4 * 4;
  }
  return whole;
}

std::optional<std::vector<Type>> TypesOf(uint32_t id) {
  if (id == NFT_DATA_VERDICT) return std::vector{Type::kVerdict};
  std::vector<Type> types;
  for (; id != 0; id >>= kBitsPerPart) {
    const uint32_t part = id & ((1 << kBitsPerPart) - 1);
    const auto* found = std::ranges::find_if(
        kTypes, [part](Type type) { return DataTypeOf(type).id == part; });
    if (found == std::end(kTypes)) return std::nullopt;
    types.insert(types.begin(), *found);
  }
  if (types.empty()) return std::nullopt;
  return types;
}

}  // namespace edged::nftables
