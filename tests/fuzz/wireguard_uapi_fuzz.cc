// What whoever listens on a userspace WireGuard's socket answers, to a get and
// to a set.

#include "common/status.h"
#include "common/wireguard/uapi_codec.h"
#include "tests/common/wireguard/devices.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/wireguard_fuzz.h"

namespace edged::fuzz {
namespace {

using wireguard::Device;

// A get's reply in the words of a set. The set's first line is left out, and a
// new peer is named as in a reply.
std::string ReplyOf(const Device& device) {
  const wireguard::SecretText set = EncodeUapiSet(Making(device));
  const std::string_view text(set.data(), set.size());
  const size_t begin = text.find('\n') + 1;
  return std::string(text.substr(begin, text.size() - 1 - begin)) +
         "errno=0\n\n";
}

void TryMaking(const Device& device) {
  const auto made = wireguard::DecodeUapiGetReply(ReplyOf(device), device.name);
  Require(made.ok(), "what makes a device can be read");
  Require(SetPartOf(*made) == SetPartOf(device),
          "what makes a device is read as that device");
}

}  // namespace

bool Try(Input input) {
  const std::string_view text = AsText(input);
  const bool answers_set = wireguard::DecodeUapiSetReply(text).ok();
  const auto device = wireguard::DecodeUapiGetReply(text, "edged0");
  if (!device.ok()) return false;
  Require(answers_set, "what answers a get has an errno of 0");
  if (PeersAreUnique(*device)) TryMaking(*device);
  return true;
}

std::vector<std::string> Seeds() {
  const std::string full = ReplyOf(wireguard::FullDevice());
  return {full, ReplyOf({}),
          "protocol_version=1\n" + full.substr(0, full.size() - 10) +
              "preshared_key=00\nlast_handshake_time_sec=1700000000\n"
              "last_handshake_time_nsec=5\nrx_bytes=5\ntx_bytes=7\n"
              "endpoint=[fe80::1%eth0]:51820\nerrno=0\n\n"};
}

}  // namespace edged::fuzz
