#include "common/netlink/kernel_error.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/cord.h"
#include "common/status.h"

namespace edged::netlink {
namespace {

constexpr char kPayload[] = "edged.dev/netlink.KernelError";

// What stands before the text in the payload; it never leaves the process.
struct Fixed {
  int32_t error;
  uint32_t offset;
  uint32_t sequence;
};

absl::Status ReadExtendedAck(std::span<const uint8_t> attributes,
                             KernelError& error) {
  std::string missing;
  RETURN_IF_ERROR(ForEachAttribute(
      attributes, [&](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NLMSGERR_ATTR_MSG:
            error.text = attribute.String();
            break;
          case NLMSGERR_ATTR_OFFS: {
            ASSIGN_OR_RETURN(error.offset, attribute.U32());
            break;
          }
          case NLMSGERR_ATTR_MISS_TYPE: {
            ASSIGN_OR_RETURN(const uint32_t type, attribute.U32());
            missing = fmt::format("attribute {} is missing", type);
            break;
          }
        }
        return absl::OkStatus();
      }));
  if (error.text.empty()) error.text = std::move(missing);
  return absl::OkStatus();
}

}  // namespace

std::optional<KernelError> KernelErrorOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return std::nullopt;
  const std::string bytes(*payload);
  Fixed fixed;
  if (bytes.size() < sizeof fixed) return std::nullopt;
  std::memcpy(&fixed, bytes.data(), sizeof fixed);
  return KernelError{fixed.error, bytes.substr(sizeof fixed), fixed.offset,
                     fixed.sequence};
}

absl::Status KernelErrorStatus(const KernelError& error,
                               std::string_view what) {
  absl::Status status = ErrnoStatus(error.error, what);
  if (!error.text.empty()) {
    status = absl::Status(status.code(),
                          fmt::format("{} ({})", Message(status), error.text));
  }
  const Fixed fixed{error.error, error.offset, error.sequence};
  std::string bytes(reinterpret_cast<const char*>(&fixed), sizeof fixed);
  bytes += error.text;
  status.SetPayload(kPayload, absl::Cord(bytes));
  return status;
}

absl::StatusOr<KernelError> ReadAck(const MessageView& message) {
  KernelError error;
  error.sequence = message.sequence;
  ASSIGN_OR_RETURN(const int32_t code, message.HeaderAs<int32_t>());
  // No errno, and what it would be negated to is no int.
  if (code == std::numeric_limits<int32_t>::min()) {
    return InvalidArgument("netlink acknowledgement of error {}", code);
  }
  error.error = code < 0 ? -code : 0;
  size_t attributes = sizeof code;
  if (message.type == NLMSG_ERROR) {
    // The refused request's header follows, and the rest of it when the socket
    // did not ask for capped answers.
    ASSIGN_OR_RETURN(const nlmsgerr refused, message.HeaderAs<nlmsgerr>());
    attributes = sizeof refused;
    if ((message.flags & NLM_F_CAPPED) == 0 && code != 0) {
      attributes +=
          std::max<size_t>(refused.msg.nlmsg_len, NLMSG_HDRLEN) - NLMSG_HDRLEN;
    }
  }
  if ((message.flags & NLM_F_ACK_TLVS) != 0) {
    RETURN_IF_ERROR(
        ReadExtendedAck(message.AttributesAfter(attributes), error));
  }
  return error;
}

}  // namespace edged::netlink
