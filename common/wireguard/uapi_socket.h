#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/wireguard/secret_text.h"

// What is said to a Unix socket of userspace WireGuard.

namespace edged::wireguard {

// OK when a process listens at `path`. NotFound when none does: no such file,
// or one that a dead process left.
absl::Status ProbeUapi(const std::string& path);

// Sends `request` and returns the reply up to and with its blank line. NotFound
// as above; Unavailable when it is not whole within `patience`; OutOfRange
// above 16 MiB.
absl::StatusOr<SecretText> AskUapi(
    const std::string& path, std::string_view request,
    std::chrono::milliseconds patience = std::chrono::seconds(3));

// Ends the wireguard-go that listens at `path`, by removing the file, which it
// watches. Returns when the process is gone, and with it its link and UDP port.
// NotFound as above; Unavailable when it lives on after `patience`.
absl::Status EndUapi(
    const std::string& path,
    std::chrono::milliseconds patience = std::chrono::seconds(3));

}  // namespace edged::wireguard
