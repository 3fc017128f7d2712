#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "common/net_types.h"

namespace edged::agent {

// Who holds which ports of one address and protocol: ranges that never overlap.
class PortClaims {
 public:
  // Who holds the lowest of `ports` that is held at all.
  std::optional<size_t> OwnerOf(const PortRange& ports) const;
  // `ports` must be free.
  void Claim(const PortRange& ports, size_t owner);

 private:
  struct Claimed {
    uint16_t last;
    size_t owner;
  };
  std::map<uint16_t, Claimed> by_first_;
};

}  // namespace edged::agent
