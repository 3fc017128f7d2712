#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/nftables/program.h"
#include "common/nftables/trace.h"
#include "edged/core/trace_table.h"
#include "edged/core/tunnel_way.h"

// What the words of a trace need to know of this host. Pure.

namespace edged::edge {

// This host while a trace runs, and how its things are called.
struct TraceScene {
  TraceTarget target;
  std::string device = "edged0";
  struct Interface {
    std::string name;
    bool forwards = true;
    bool loopback = false;
  };
  bool address_is_local = true;
  std::map<uint32_t, Interface> interfaces;  // by index
  std::map<IpAddress, std::string> uplinks;  // by mapping address
  std::vector<nftables::AnyTable> tables;    // for their rules and hooks
  // Who leads a client's packet for an uplink elsewhere than into the tunnel,
  // by this host's routes as they are now; may be empty.
  std::function<std::optional<OtherWay>(const nftables::TracedPacket& arrived,
                                        const IpAddress& mapping)>
      other_way;

  std::string InterfaceName(uint32_t index) const;
  // Of the chain that the event is of; null, empty: it is not in `tables`.
  const nftables::AnyTable* TableOf(const nftables::TraceEvent& event) const;
  const nftables::AnyRule* RuleOf(const nftables::TraceEvent& event) const;
  std::string HookOf(const nftables::TraceEvent& event) const;  // "input"
  // "table ip nat (docker), chain DOCKER"
  std::string PlaceOf(const nftables::TraceEvent& event) const;
  // The rule that has just translated a packet, in lines; empty: none did.
  std::vector<std::string> TakerOf(const nftables::TraceEvent& event) const;

  // Why what came in by this interface was led nowhere, in lines.
  std::vector<std::string> WhyNotRouted(uint32_t in) const;
  // Why nobody's packet came, in a line.
  std::string WhyNothingArrived() const;
};

}  // namespace edged::edge
