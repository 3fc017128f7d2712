#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/nftables/ruleset.h"

// Verdicts as numbers of the kernel (enum nft_verdicts) and as data of
// elements.

namespace edged::nftables {

uint32_t VerdictCode(VerdictKind kind);

// Puts {NFTA_DATA_VERDICT {code, chain}} as `attribute`.
void PutVerdict(uint16_t attribute, const Verdict& verdict,
                netlink::MessageBuilder& message);

// Reads the same. InvalidArgument for a verdict that `Verdict` cannot say.
absl::StatusOr<Verdict> ReadVerdict(const netlink::Attribute& data);

}  // namespace edged::nftables
