#include "common/wireguard/device.h"

#include <net/if.h>

#include <algorithm>

#include "common/status.h"

namespace edged::wireguard {

absl::Status CheckDeviceName(std::string_view name) {
  // dev_valid_name() in net/core/dev.c, and printable.
  const bool valid = !name.empty() && name.size() < IFNAMSIZ && name != "." &&
                     name != ".." && std::ranges::all_of(name, [](char c) {
                       return c > ' ' && c < 0x7f && c != '/' && c != ':';
                     });
  if (valid) return absl::OkStatus();
  return InvalidArgument("\"{}\" is not a name for a network device", name);
}

}  // namespace edged::wireguard
