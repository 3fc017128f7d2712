#pragma once

#include <string>

#include "common/nftables/program.h"

namespace edged::nftables {

// A rule in nft's words, for people: `iifname "eth0" tcp dport 22 drop`. What
// it cannot say stands in angle brackets, so it is no input for nft. `table`
// has the rule's sets. Pure.
std::string ProgramText(const Program& program, const AnyTable& table);

// Whether a rule with this program refuses packets with an answer.
bool Refuses(const Program& program);

}  // namespace edged::nftables
