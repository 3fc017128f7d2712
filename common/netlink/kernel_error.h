#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/message.h"

namespace edged::netlink {

// What the kernel said about a refused request. It travels inside the status.
struct KernelError {
  int error = 0;          // a positive errno
  std::string text;       // the extended ack's message, often empty
  uint32_t offset = 0;    // of the offending attribute in the request; 0: none
  uint32_t sequence = 0;  // of the refused message: which one of a batch it was
  bool operator==(const KernelError&) const = default;
};

// The kernel's error inside a status returned by this folder, if there is one.
std::optional<KernelError> KernelErrorOf(const absl::Status& status);

// "WHAT: strerror (extended ack text)", with the KernelError attached.
absl::Status KernelErrorStatus(const KernelError& error, std::string_view what);

// What an acknowledgement says (message type NLMSG_ERROR or NLMSG_DONE): its
// error is 0 when the request went well. InvalidArgument when it is malformed.
absl::StatusOr<KernelError> ReadAck(const MessageView& message);

}  // namespace edged::netlink
