#include "common/netlink/ipv6_settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/files.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace edged::netlink {
namespace {

std::string PathOf(const std::string& device) {
  return fmt::format("/proc/sys/net/ipv6/conf/{}/force_forwarding", device);
}

}  // namespace

Ipv6Presence PresenceOfIpv6() {
  const auto text = ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6");
  if (absl::IsNotFound(text.status())) return Ipv6Presence::kNotInKernel;
  return text.ok() && text->starts_with('1') ? Ipv6Presence::kSwitchedOff
                                             : Ipv6Presence::kOn;
}

bool MaySwitchIpv6Forwarding() {
  return faccessat(AT_FDCWD, PathOf("default").c_str(), W_OK, AT_EACCESS) == 0;
}

absl::Status SwitchIpv6Forwarding(const std::string& device, bool on) {
  const UniqueFd fd(open(PathOf(device).c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), on ? "1" : "0", 1) < 0) {
    return FailedPrecondition("net.ipv6.conf.{}.force_forwarding: {}", device,
                              strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace edged::netlink
