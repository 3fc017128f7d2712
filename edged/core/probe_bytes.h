#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/nftables/program.h"
#include "edged/core/rule_walk.h"

// The bytes of a probe, as far as they are decided, and what comparisons with
// them give. Pure.

namespace edged::edge {

// Whether a condition holds: only of some sources (an ordinary packet has none
// of them), perhaps, or yes.
enum class Truth { kNo, kSome, kPerhaps, kYes };

Truth Not(Truth truth);

// One byte: any, one that no rule names, or decided.
struct Byte {
  enum Kind : uint8_t { kUnknown, kOrdinary, kKnown };
  Kind kind = kUnknown;
  uint8_t value = 0;
};
using Value = std::vector<Byte>;

Value Known(std::span<const uint8_t> bytes);
Value Filled(Byte::Kind kind, size_t size);

// 40 and 20 bytes.
Value NetworkHeader(const Probe& probe);
Value TransportHeader(const Probe& probe);
// By the kernel's numbers of what is loaded.
Value MetaValue(const Probe& probe, uint32_t key);
Value CtValue(const Probe& probe, uint32_t key);
Value FibValue(const Probe& probe, const nftables::LoadFib& load);

Truth Equals(const Value& value, const nftables::Bytes& wanted);
// first <= value <= last, as numbers in network order.
Truth Within(const Value& value, const nftables::Bytes& first,
             const nftables::Bytes& last);
Truth Matches(const nftables::AnySet& set, const nftables::Element& element,
              const Value& key);

}  // namespace edged::edge
