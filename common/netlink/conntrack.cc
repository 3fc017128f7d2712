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

absl::Status Conntrack::Dump(MessageBuilder request,
                             const std::function<void(const Flow&)>& each) {
  return socket_.Dump(
      request, "list connections", [] {},
      [&each](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(const auto flow, ReadFlow(answer));
        if (flow.has_value()) each(*flow);
        return absl::OkStatus();
      });
}

absl::Status Conntrack::ForEachFlow(
    Family family, const std::function<void(const Flow&)>& each) {
  return Dump(FlowsRequest(family), each);
}

absl::Status Conntrack::ForEachFlow(
    const FlowFilter& filter, const std::function<void(const Flow&)>& each) {
  // The kernel may tell of more: it does not know the filter, or not all of it.
  return Dump(FlowsRequest(filter), [&](const Flow& flow) {
    if (filter.Matches(flow)) each(flow);
  });
}

absl::StatusOr<int> Conntrack::Delete(const std::vector<Flow>& flows) {
  int deleted = 0;
  for (const Flow& flow : flows) {
    MessageBuilder request = DeleteFlowRequest(flow);
    const SocketAddress from{flow.original.source, flow.original.source_port};
    const SocketAddress to{flow.original.destination,
                           flow.original.destination_port};
    const absl::Status status = socket_.Transact(
        request, fmt::format("delete connection {} -> {}, protocol {}",
                             from.ToString(), to.ToString(), flow.protocol));
    if (absl::IsNotFound(status)) continue;
    RETURN_IF_ERROR(status);
    ++deleted;
  }
  return deleted;
}

bool FlowFilter::Matches(const Flow& flow) const {
  const FlowTuple& tuple =
      end == End::kOriginalSource || end == End::kOriginalDestination
          ? flow.original
          : flow.reply;
  const bool source = end == End::kOriginalSource || end == End::kReplySource;
  if ((source ? tuple.source : tuple.destination) != address) return false;
  if (protocol == 0) return true;
  if (flow.protocol != protocol) return false;
  return port == 0 ||
         (source ? tuple.source_port : tuple.destination_port) == port;
}

std::string FlowFilter::ToString() const {
  static constexpr std::string_view kEnds[] = {
      "original source", "original destination", "reply source",
      "reply destination"};
  const std::string_view what =
      protocol == 0 ? "any" : edged::ToString(static_cast<Protocol>(protocol));
  return fmt::format("{} {} {}", what, kEnds[static_cast<int>(end)],
                     port == 0 || protocol == 0
                         ? address.ToString()
                         : SocketAddress{address, port}.ToString());
}

}  // namespace edged::netlink
