#pragma once

#include <string>

#include "common/nftables/transaction.h"

namespace edged {

// For people: the first commands, and how many there are. Pure.
std::string Summary(const nftables::Transaction& transaction);

}  // namespace edged
