#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/wireguard/device.h"
#include "common/wireguard/diff.h"
#include "common/wireguard/secret_text.h"

// The text protocol of userspace WireGuard
// (https://www.wireguard.com/xplatform/, "Configuration Protocol"): lines
// KEY=VALUE, keys in hex, a blank line at the end, errno=N in every reply.
// Pure.

namespace edged::wireguard {

inline constexpr std::string_view kUapiGet = "get=1\n\n";

// The request that makes `change`. It never mentions preshared keys, so those
// that somebody set stay.
SecretText EncodeUapiSet(const DeviceChange& change);

// What the reply to a set says. Errors are ErrnoStatus of the other side's
// errno; InvalidArgument when the reply is not one. A refused set may have been
// carried out up to the refused line.
absl::Status DecodeUapiSetReply(std::string_view reply);

// The device that the reply to a get describes, by name `name`. Lines of
// unknown keys are passed over. InvalidArgument names the line, or says that
// the reply is cut off.
absl::StatusOr<Device> DecodeUapiGetReply(std::string_view reply,
                                          std::string name);

}  // namespace edged::wireguard
