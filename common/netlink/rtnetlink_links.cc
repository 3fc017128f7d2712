#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>

#include "common/netlink/rtnetlink.h"
#include "common/netlink/rtnetlink_codec.h"
#include "common/status.h"

// The part of Rtnetlink that is about links.

namespace edged::netlink {
namespace {

MessageBuilder LinkMessage(uint16_t type, uint16_t flags,
                           const ifinfomsg& header) {
  MessageBuilder message(type, flags);
  message.PutHeader(header);
  return message;
}

absl::Status CheckName(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return InvalidArgument("link \"{}\": a name has 1 to {} characters", name,
                           IFNAMSIZ - 1);
  }
  return absl::OkStatus();
}

// Asks for one link; `request` tells which.
absl::StatusOr<Link> RequestLink(Socket& socket, MessageBuilder& request,
                                 std::string_view what) {
  request.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::optional<Link> link;
  RETURN_IF_ERROR(socket.Request(
      request, what, [&link](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(link, ReadLink(answer));
        return absl::OkStatus();
      }));
  if (!link.has_value()) return Internal("{}: no answer", what);
  return *std::move(link);
}

}  // namespace

absl::Status Rtnetlink::OnLink(int index, absl::Status status) {
  if (status.ok() || index == 0) return status;
  MessageBuilder request =
      LinkMessage(RTM_GETLINK, 0, ifinfomsg{.ifi_index = index});
  const auto link = RequestLink(socket_, request, "link");
  return Annotate(status, link.ok() ? fmt::format("link {}", link->name)
                                    : fmt::format("link {}", index));
}

absl::StatusOr<std::vector<Link>> Rtnetlink::ListLinks() {
  MessageBuilder request = LinkMessage(RTM_GETLINK, 0, {});
  request.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::vector<Link> links;
  RETURN_IF_ERROR(socket_.Dump(
      request, "list links", [&links] { links.clear(); },
      [&links](const MessageView& answer) -> absl::Status {
        ASSIGN_OR_RETURN(std::optional<Link> link, ReadLink(answer));
        if (link.has_value()) links.push_back(*std::move(link));
        return absl::OkStatus();
      }));
  return links;
}

absl::StatusOr<Link> Rtnetlink::GetLink(const std::string& name) {
  RETURN_IF_ERROR(CheckName(name));
  MessageBuilder request = LinkMessage(RTM_GETLINK, 0, {});
  request.PutString(IFLA_IFNAME, name);
  return RequestLink(socket_, request, fmt::format("link {}", name));
}

absl::Status Rtnetlink::CreateLink(const std::string& name,
                                   const std::string& kind) {
  RETURN_IF_ERROR(CheckName(name));
  MessageBuilder message =
      LinkMessage(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, {});
  message.PutString(IFLA_IFNAME, name);
  const size_t info = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, kind);
  message.EndNest(info);
  const absl::Status status = socket_.Transact(
      message, fmt::format("create link {} of kind {}", name, kind));
  if (!absl::IsAlreadyExists(status)) return status;
  ASSIGN_OR_RETURN(const Link link, GetLink(name));
  if (link.kind == kind) return absl::OkStatus();
  return Annotate(status,
                  fmt::format("there is one of kind \"{}\"", link.kind));
}

absl::Status Rtnetlink::DeleteLink(const std::string& name) {
  RETURN_IF_ERROR(CheckName(name));
  MessageBuilder message = LinkMessage(RTM_DELLINK, 0, {});
  message.PutString(IFLA_IFNAME, name);
  const absl::Status status =
      socket_.Transact(message, fmt::format("delete link {}", name));
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status Rtnetlink::SetLink(int index, bool up, uint32_t mtu) {
  MessageBuilder message = LinkMessage(
      RTM_SETLINK, 0,
      ifinfomsg{.ifi_index = index,
                .ifi_flags = up ? static_cast<unsigned>(IFF_UP) : 0u,
                .ifi_change = IFF_UP});
  std::string what = up ? "set up" : "set down";
  if (mtu != 0) {
    message.PutU32(IFLA_MTU, mtu);
    what += fmt::format(", mtu {}", mtu);
  }
  return OnLink(index, socket_.Transact(message, what));
}

absl::Status Rtnetlink::SetIpv4Conf(int index, const Ipv4Conf& conf) {
  MessageBuilder message =
      LinkMessage(RTM_SETLINK, 0, ifinfomsg{.ifi_index = index});
  const size_t families = message.BeginNest(IFLA_AF_SPEC);
  const size_t inet = message.BeginNest(AF_INET);
  const size_t values = message.BeginNest(IFLA_INET_CONF);
  message.PutU32(IPV4_DEVCONF_FORWARDING, conf.forwarding ? 1 : 0);
  message.PutU32(IPV4_DEVCONF_RP_FILTER, static_cast<uint32_t>(conf.rp_filter));
  message.EndNest(values);
  message.EndNest(inet);
  message.EndNest(families);
  const std::string what = fmt::format("set forwarding {}, rp_filter {}",
                                       conf.forwarding ? 1 : 0, conf.rp_filter);
  return OnLink(index, socket_.Transact(message, what));
}

}  // namespace edged::netlink
