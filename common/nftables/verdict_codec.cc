#include "common/nftables/verdict_codec.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <optional>

#include "common/status.h"

namespace edged::nftables {
namespace {

constexpr VerdictKind kKinds[] = {VerdictKind::kAccept, VerdictKind::kDrop,
                                  VerdictKind::kReturn, VerdictKind::kJump,
                                  VerdictKind::kGoto};

absl::StatusOr<VerdictKind> KindOf(uint32_t code) {
  const auto* found = std::ranges::find(kKinds, code, VerdictCode);
  if (found == std::end(kKinds)) {
    return InvalidArgument("nf_tables: unknown verdict {}", code);
  }
  return *found;
}

}  // namespace

uint32_t VerdictCode(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kAccept:
      return NF_ACCEPT;
    case VerdictKind::kDrop:
      return NF_DROP;
    case VerdictKind::kReturn:
      return static_cast<uint32_t>(NFT_RETURN);
    case VerdictKind::kJump:
      return static_cast<uint32_t>(NFT_JUMP);
    case VerdictKind::kGoto:
      return static_cast<uint32_t>(NFT_GOTO);
  }
  return NF_DROP;
}

void PutVerdict(uint16_t attribute, const Verdict& verdict,
                netlink::MessageBuilder& message) {
  const size_t data = message.BeginNest(attribute);
  const size_t nest = message.BeginNest(NFTA_DATA_VERDICT);
  message.PutBe32(NFTA_VERDICT_CODE, VerdictCode(verdict.kind));
  if (!verdict.chain.empty()) {
    message.PutString(NFTA_VERDICT_CHAIN, verdict.chain);
  }
  message.EndNest(nest);
  message.EndNest(data);
}

absl::StatusOr<Verdict> ReadVerdict(const netlink::Attribute& data) {
  std::optional<uint32_t> code;
  Verdict verdict;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      data.payload, [&](const netlink::Attribute& nest) -> absl::Status {
        if (nest.type != NFTA_DATA_VERDICT) return absl::OkStatus();
        return netlink::ForEachAttribute(
            nest.payload, [&](const netlink::Attribute& part) -> absl::Status {
              if (part.type == NFTA_VERDICT_CODE) {
                ASSIGN_OR_RETURN(code, part.Be32());
              }
              if (part.type == NFTA_VERDICT_CHAIN) {
                verdict.chain = part.String();
              }
              return absl::OkStatus();
            });
      }));
  if (!code) return InvalidArgument("nf_tables: data without a verdict");
  ASSIGN_OR_RETURN(verdict.kind, KindOf(*code));
  return verdict;
}

}  // namespace edged::nftables
