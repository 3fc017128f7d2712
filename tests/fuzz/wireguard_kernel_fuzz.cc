// A dump of the kernel's WireGuard device, and the messages that would make the
// device that it tells of.

#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>

#include "common/netlink/message.h"
#include "common/status.h"
#include "common/wireguard/kernel_codec.h"
#include "tests/common/wireguard/devices.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/wireguard_fuzz.h"

namespace edged::fuzz {
namespace {

using netlink::MessageBuilder;
using netlink::MessageView;
using wireguard::Device;
using wireguard::KernelDump;

constexpr size_t kLimit = 1024;  // small, so that peers are cut

absl::StatusOr<Device> ReadDump(Input input) {
  KernelDump dump;
  RETURN_IF_ERROR(netlink::ForEachMessage(
      input, [&](const MessageView& message) { return dump.Add(message); }));
  return std::move(dump).Finish();
}

MessageBuilder NewMessage() {
  MessageBuilder message(0x20, 0);
  message.PutHeader(
      genlmsghdr{.cmd = WG_CMD_SET_DEVICE, .version = WG_GENL_VERSION});
  return message;
}

std::string MessagesThatMake(const Device& device) {
  std::string bytes;
  for (MessageBuilder& message :
       EncodeKernelSet(device.name, Making(device), NewMessage, kLimit)) {
    Require(message.size() <= kLimit, "a message stays within its limit");
    bytes += Finished(std::move(message));
  }
  return bytes;
}

// Reading and setting use the same attributes: what would make the device is
// read as that device.
void TryMaking(const Device& device) {
  const std::string bytes = MessagesThatMake(device);
  const auto made =
      ReadDump({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  Require(made.ok(), "what makes a device can be read");
  Require(SetPartOf(*made) == SetPartOf(device),
          "what makes a device is read as that device");
}

// The messages of a set, and what only a dump has.
std::string Dump() {
  MessageBuilder message = NewMessage();
  const size_t peers = message.BeginNest(WGDEVICE_A_PEERS);
  const size_t peer = message.BeginNest(0);
  message.Put(WGPEER_A_PUBLIC_KEY, wireguard::Key(9).bytes());
  message.Put(WGPEER_A_PRESHARED_KEY, wireguard::Key(0).bytes());
  const __kernel_timespec time{1'700'000'000, 5};
  message.Put(WGPEER_A_LAST_HANDSHAKE_TIME,
              {reinterpret_cast<const uint8_t*>(&time), sizeof time});
  message.PutU64(WGPEER_A_RX_BYTES, 5);
  message.PutU64(WGPEER_A_TX_BYTES, 7);
  message.PutU32(WGPEER_A_PROTOCOL_VERSION, 1);
  message.EndNest(peer);
  message.EndNest(peers);
  message.Put(WGDEVICE_A_PUBLIC_KEY, wireguard::Key(8).bytes());
  return MessagesThatMake(wireguard::FullDevice()) +
         Finished(std::move(message));
}

}  // namespace

bool Try(Input input) {
  const auto device = ReadDump(input);
  if (!device.ok()) return false;
  if (PeersAreUnique(*device)) TryMaking(*device);
  return !input.empty();
}

std::vector<std::string> Seeds() {
  return {Dump(), MessagesThatMake(wireguard::FullDevice()),
          MessagesThatMake({.name = "edged0"})};
}

}  // namespace edged::fuzz
