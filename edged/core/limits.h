#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "common/keys.h"
#include "common/net_types.h"
#include "common/protocol/overlay.h"

namespace edged::edge {

// A port of this host that no mapping may take (edged.yaml's reservedPorts).
struct ReservedPort {
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
  auto operator<=>(const ReservedPort&) const = default;
};

// What this host sets bounds to, fixed from its enrolment and edged.yaml.
struct Limits {
  protocol::Overlay overlay;
  uint16_t listen_port = protocol::kDefaultListenPort;  // WireGuard, UDP
  std::vector<ReservedPort> reserved;
  // The edge's own key and the control key: no uplink may have them.
  std::vector<PublicKey> taken_keys;
  // Why this kernel keeps no timeouts of single groups; empty: it does.
  std::string no_timeouts = {};
};

}  // namespace edged::edge
