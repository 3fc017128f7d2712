#pragma once

#include <cstdint>
#include <string_view>

#include "common/nftables/ruleset.h"

// Tables to print, load, compare and walk through.

namespace edged::nftables {

IpAddress Address(std::string_view text);
Bytes AddressBytes(std::string_view text);
// The key of a listener: address . protocol . port.
Bytes Listener(std::string_view address, Protocol protocol, uint16_t port);

// What an edge with one uplink and four mappings does.
Table EdgeTable();
// What an uplink of two edges does.
Table UplinkTable();
// Every statement, field, type and form once, without sense.
Table EverythingTable();

}  // namespace edged::nftables
