#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/nftables/ruleset.h"

// How nft describes values: a number, a size and a byte order. They are stored
// with a set and are what `nft list` prints its elements by (nftables
// include/datatype.h, enum datatypes and enum byteorder).

namespace edged::nftables {

enum class ByteOrder : uint32_t { kNone = 0, kHost = 1, kNetwork = 2 };

struct DataType {
  uint32_t id = 0;
  uint32_t size = 0;  // bytes in a register, not padded
  ByteOrder order = ByteOrder::kNone;
  bool operator==(const DataType&) const = default;
};

DataType DataTypeOf(Type type);
DataType DataTypeOf(Field field);
// What jhash makes: a number in host order.
DataType HashType();

// One type alone stays as it is; of several, the number holds six bits for each
// and every part is padded to 4 bytes.
DataType Concatenated(const std::vector<DataType>& parts);

template <typename T>
std::vector<DataType> DataTypesOf(const std::vector<T>& parts) {
  std::vector<DataType> types;
  for (const T& part : parts) types.push_back(DataTypeOf(part));
  return types;
}

// The types behind a number that the kernel lists; unset when it holds one that
// `Type` does not name.
std::optional<std::vector<Type>> TypesOf(uint32_t id);

}  // namespace edged::nftables
