#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/netlink/message.h"
#include "common/wireguard/device.h"
#include "common/wireguard/diff.h"

// The generic netlink messages of the kernel's WireGuard
// (include/uapi/linux/wireguard.h). Pure.

namespace edged::wireguard {

// Asks for the device `name`, in a message for WG_CMD_GET_DEVICE.
void PutKernelGet(netlink::MessageBuilder& message, const std::string& name);

// The messages that make `change` on the device `name`, to be sent in order;
// at least one. `new_message` begins one for WG_CMD_SET_DEVICE. A message that
// would exceed `limit` bytes is continued by the next one, with the same peer
// where that was cut. Preshared keys stay as they are.
std::vector<netlink::MessageBuilder> EncodeKernelSet(
    const std::string& name, const DeviceChange& change,
    const std::function<netlink::MessageBuilder()>& new_message,
    size_t limit = 32 * 1024);

// Puts the messages of one WG_CMD_GET_DEVICE dump together. A peer with many
// allowed ips spans several.
class KernelDump {
 public:
  // InvalidArgument names the attribute that is malformed.
  absl::Status Add(const netlink::MessageView& message);
  // Peers and their allowed ips sorted.
  Device Finish() &&;

 private:
  absl::Status AddPeer(std::span<const uint8_t> attributes);

  Device device_;
};

}  // namespace edged::wireguard
