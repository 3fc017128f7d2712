#include "common/nftables/timeout_probe.h"

#include <cerrno>

#include "common/netlink/kernel_error.h"
#include "common/nftables/transaction.h"
#include "common/status.h"

namespace edged::nftables {

absl::StatusOr<std::string> WhyNoTimeouts(Client& client) {
  Transaction trial("edged-probe");
  trial.Add(AddTable{});
  trial.Add(AddTimeout{IdleTimeout(Protocol::kUdp, 1)});
  trial.Add(DeleteTimeout{IdleTimeout(Protocol::kUdp, 1).name});
  trial.Add(DeleteTable{});
  const absl::Status status = client.Apply(trial);
  if (status.ok()) return "";
  const auto refusal = netlink::KernelErrorOf(status);
  const bool lacks =
      refusal && (refusal->error == ENOENT || refusal->error == EOPNOTSUPP);
  if (!lacks) return Annotate(status, "try a ct timeout");
  return "this kernel has no timeouts of single connections "
         "(CONFIG_NF_CONNTRACK_TIMEOUT, module nft_ct)";
}

}  // namespace edged::nftables
