#pragma once

#include <string>
#include <string_view>

#include "common/net_types.h"
#include "common/nftables/ruleset.h"

// The names in table `inet edged`.

namespace edged::edge {

inline constexpr char kTable[] = "edged";
inline constexpr char kGroupsMap[] = "groups";      // mark : goto group chain
inline constexpr char kReservedSet[] = "reserved";  // ports never translated
inline constexpr char kServicesSet[] = "services";  // API and heartbeats
inline constexpr char kInsideSet[] = "inside";      // tunnel device and lo
// Interfaces whose forwarding we switched on.
inline constexpr char kSwitchedSet[] = "switched";

// What differs between the two families.
struct FamilyNames {
  Family family;
  const char* ports;    // map: address . protocol . port : mark
  const char* ranges;   // the same for true ranges
  const char* back;     // map: mapping address : public address
  const char* callers;  // set: who may call the API and send heartbeats
  nftables::Type address_type;
  nftables::Field source;
  nftables::Field destination;
};
const FamilyNames& NamesOf(Family family);

// "group-NAME" and back; empty for the name of another chain.
std::string GroupChainName(std::string_view group);
std::string_view GroupOfChain(std::string_view chain);

}  // namespace edged::edge
