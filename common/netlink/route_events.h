#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/netlink/rtnetlink.h"
#include "common/netlink/rtnetlink_codec.h"
#include "common/netlink/socket.h"

// What happens to links, addresses, routes, rules and settings of this
// network namespace, as the kernel tells it (rtnetlink multicast groups).

namespace edged::netlink {

// One object that appeared, changed or went.
struct RouteEvent {
  bool removed = false;
  uint32_t port = 0;  // the netlink socket that caused it; 0: the kernel
  std::variant<Link, Address, Route, PolicyRule, Netconf> object;
};

// "link edged0 (5)", "removed: route 10.200.0.0/22 table 254 protocol 237".
std::string DescribeEvent(const RouteEvent& event);

// Unset for messages that change nothing we could observe: local, broadcast and
// cached routes.
absl::StatusOr<std::optional<RouteEvent>> ReadRouteEvent(
    const MessageView& message);

class RouteEvents {
 public:
  static absl::StatusOr<RouteEvents> Open();

  int fd() const { return socket_.fd(); }  // readable when there are events

  // Hands over what is waiting, and returns at once. Unavailable (KernelError
  // ENOBUFS inside) when the kernel dropped events: observe everything.
  absl::Status Read(const std::function<void(const RouteEvent&)>& consume);

 private:
  explicit RouteEvents(Socket socket);

  Socket socket_;
};

}  // namespace edged::netlink
