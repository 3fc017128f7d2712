#include "common/netlink/genetlink.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "common/status.h"

namespace edged::netlink {
namespace {

absl::StatusOr<uint16_t> ResolveFamily(Socket& socket,
                                       const std::string& name) {
  MessageBuilder request(GENL_ID_CTRL, 0);
  request.PutHeader(genlmsghdr{.cmd = CTRL_CMD_GETFAMILY, .version = 1});
  request.PutString(CTRL_ATTR_FAMILY_NAME, name);
  const std::string what = fmt::format("generic netlink family {}", name);
  uint16_t id = 0;
  RETURN_IF_ERROR(socket.Request(
      request, what, [&id](const MessageView& answer) -> absl::Status {
        return ForEachAttribute(
            answer.AttributesAfter(GENL_HDRLEN),
            [&id](const Attribute& attribute) -> absl::Status {
              if (attribute.type == CTRL_ATTR_FAMILY_ID) {
                ASSIGN_OR_RETURN(id, attribute.U16());
              }
              return absl::OkStatus();
            });
      }));
  if (id == 0) return Internal("{}: the kernel named no id", what);
  return id;
}

}  // namespace

GenericFamily::GenericFamily(Socket socket, uint16_t id, uint8_t version)
    : socket_(std::move(socket)), id_(id), version_(version) {}

absl::StatusOr<GenericFamily> GenericFamily::Open(const std::string& name,
                                                  uint8_t version) {
  ASSIGN_OR_RETURN(Socket socket, Socket::Open(NETLINK_GENERIC));
  ASSIGN_OR_RETURN(const uint16_t id, ResolveFamily(socket, name));
  return GenericFamily(std::move(socket), id, version);
}

MessageBuilder GenericFamily::Request(uint8_t command, uint16_t flags) const {
  MessageBuilder message(id_, flags);
  message.PutHeader(genlmsghdr{.cmd = command, .version = version_});
  return message;
}

}  // namespace edged::netlink
