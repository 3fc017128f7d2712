#include "common/netlink/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include "common/netlink/conntrack_codec.h"
#include "common/status.h"

namespace edged::netlink {

Conntrack::Conntrack(Socket socket) : socket_(std::move(socket)) {}

absl::StatusOr<Conntrack> Conntrack::Open() {
  ASSIGN_OR_RETURN(Socket socket, Socket::Open(NETLINK_NETFILTER));
  // Any request loads the module; without it nfnetlink says EINVAL.
  MessageBuilder probe(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS, 0);
  probe.PutHeader(nfgenmsg{});
  const absl::Status status = socket.Transact(probe, "conntrack");
  if (absl::IsInvalidArgument(status)) {
    return FailedPrecondition(
        "conntrack: this kernel does not list its connections (module "
        "nf_conntrack_netlink)");
  }
  RETURN_IF_ERROR(status);
  return Conntrack(std::move(socket));
}

absl::Status Conntrack::ForEachFlow(
    Family family, const std::function<void(const Flow&)>& each) {
  MessageBuilder request = FlowsRequest(family);
  return socket_.Dump(
      request, "list connections", [] {},
      [&each](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(const auto flow, ReadFlow(answer));
        if (flow.has_value()) each(*flow);
        return absl::OkStatus();
      });
}

absl::Status Conntrack::Delete(const Flow& flow) {
  MessageBuilder request = DeleteFlowRequest(flow);
  const SocketAddress from{flow.original.source, flow.original.source_port};
  const SocketAddress to{flow.original.destination,
                         flow.original.destination_port};
  const absl::Status status = socket_.Transact(
      request, fmt::format("delete connection {} -> {}, protocol {}",
                           from.ToString(), to.ToString(), flow.protocol));
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace edged::netlink
