#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "common/nftables/ruleset.h"
#include "common/protocol/records.h"

// What table `inet edged` is made of: the names of its sets and chains, which
// people read in `nft list table inet edged`.

namespace edged::edge {

inline constexpr char kTable[] = "edged";

// The names that differ between the two families.
struct FamilyNames {
  Family family;
  nftables::Type address_type;
  nftables::Field source;
  nftables::Field destination;
  const char* ports;     // map: address . protocol . port : mark
  const char* ranges;    // the same for true ranges
  const char* back;      // map: mapping address : public address
  const char* switched;  // set: interfaces whose forwarding we switched on
  uint8_t nfproto;
  nftables::Field icmp_type;
  uint8_t echo_request;
};
const FamilyNames& NamesOf(Family family);

nftables::Set PortsSet(Family family);
nftables::Set RangesSet(Family family);
nftables::Set BackSet(Family family);

// Of our chains that translate. Docker's and iptables' have -100: whoever comes
// first translates.
inline constexpr int kDnatPriority = -110;
// Set: who may call the API and send heartbeats, which is by IPv4.
nftables::Set CallersSet();
nftables::Set SwitchedSet(Family family);
nftables::Set GroupsSet();    // map: mark : goto group chain
nftables::Set ClientsSet();   // map: mark : goto the chain below
nftables::Set ReservedSet();  // protocol . port that is never translated
nftables::Set ServicesSet();  // protocol . port of API and heartbeats

// The chain of a group, and back: empty for the name of another chain.
std::string GroupChainName(std::string_view group);
std::string_view GroupOfChain(std::string_view chain);
// The chain that drops a group's packets to clients that it does not admit, and
// the sets of ranges that hold its prefixes.
std::string ClientsChainName(std::string_view group);
nftables::Set AllowSet(const protocol::Group& group);
nftables::Set DenySet(const protocol::Group& group);

}  // namespace edged::edge
