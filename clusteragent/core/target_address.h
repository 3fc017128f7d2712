#pragma once

#include <string_view>

#include "common/net_types.h"

namespace edged::agent {

// Why nothing may be led to an address, whoever asks for it, as what follows
// the address in a sentence: "is a loopback address, ..."; empty: it may be a
// target. Pure.
std::string_view WhyNoTarget(const IpAddress& address);

}  // namespace edged::agent
