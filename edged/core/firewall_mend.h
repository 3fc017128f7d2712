#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "edged/core/doctor.h"
#include "edged/core/firewall_trials.h"

// The lines that let our traffic pass the rules of others. Pure.

namespace edged::edge {

// Whose rules these are, by the names that program gives them.
enum class Owner { kUfw, kFirewalld, kDocker, kOther };

Owner OwnerOf(const nftables::AnyTable& table);
std::string_view NameOf(Owner owner);  // " (ufw)"; empty for others

// For whoever manages `table`, of which `base` drops what `purpose` says;
// `ports`: those that are hit, of kForwardIn.
std::vector<std::string> MendLines(const nftables::AnyTable& table,
                                   const nftables::AnyChain& base,
                                   Purpose purpose,
                                   const std::vector<MappedPorts>& ports,
                                   const DoctorFacts& facts);
// Rules in front of all others of the base chain, whoever manages it; docker
// has a chain of its own for forwarding, which it leaves alone.
std::vector<std::string> LinesAtHead(const nftables::AnyTable& table,
                                     const nftables::AnyChain& base,
                                     Purpose purpose,
                                     const std::vector<MappedPorts>& ports,
                                     const DoctorFacts& facts);

}  // namespace edged::edge
