#include "common/wireguard/kernel_codec.h"

#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <netinet/in.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <string>

#include "common/status.h"
#include "tests/common/wireguard/devices.h"

namespace edged::wireguard {
namespace {

using netlink::Attribute;
using netlink::ForEachAttribute;
using netlink::MessageBuilder;
using netlink::MessageView;

MessageBuilder NewMessage(uint8_t command) {
  MessageBuilder message(0x20, 0);
  message.PutHeader(genlmsghdr{.cmd = command, .version = WG_GENL_VERSION});
  return message;
}

std::vector<MessageBuilder> Encode(const DeviceChange& change,
                                   size_t limit = 32 * 1024) {
  return EncodeKernelSet(
      "edged0", change, [] { return NewMessage(WG_CMD_SET_DEVICE); }, limit);
}

// Calls `each` with the attributes of a message.
void Read(MessageBuilder& message,
          const std::function<absl::Status(const MessageView&)>& each) {
  const auto bytes = message.Finish();
  REQUIRE(bytes.ok());
  REQUIRE(netlink::ForEachMessage(*bytes, each).ok());
}

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string PeerText(const Attribute& peer) {
  std::string text;
  const absl::Status status =
      ForEachAttribute(peer.payload, [&](const Attribute& attribute) {
        switch (attribute.type) {
          case WGPEER_A_PUBLIC_KEY:
            text += "  peer " + Hex(attribute.payload.first(1));
            break;
          case WGPEER_A_FLAGS:
            text += fmt::format(" flags {}", attribute.U32().value());
            break;
          case WGPEER_A_ENDPOINT:
            text += " endpoint " + Hex(attribute.payload);
            break;
          case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
            text += fmt::format(" keepalive {}", attribute.U16().value());
            break;
          case WGPEER_A_ALLOWEDIPS:
            text += " ips";
            return ForEachAttribute(
                attribute.payload, [&](const Attribute& entry) {
                  text += " ";
                  return ForEachAttribute(
                      entry.payload, [&](const Attribute& a) {
                        text += fmt::format("{}:{},", a.type, Hex(a.payload));
                        return absl::OkStatus();
                      });
                });
          default:
            text += fmt::format(" attribute {}", attribute.type);
        }
        return absl::OkStatus();
      });
  CHECK(status.ok());
  return text + "\n";
}

// A WG_CMD_SET_DEVICE message as text, a line per peer.
std::string Text(MessageBuilder& message) {
  std::string text;
  Read(message, [&text](const MessageView& view) {
    return ForEachAttribute(
        view.AttributesAfter(GENL_HDRLEN), [&](const Attribute& attribute) {
          if (attribute.type == WGDEVICE_A_PEERS) {
            text += "\n";
            return ForEachAttribute(attribute.payload,
                                    [&](const Attribute& peer) {
                                      text += PeerText(peer);
                                      return absl::OkStatus();
                                    });
          }
          text += fmt::format("{}={} ", attribute.type, Hex(attribute.payload));
          return absl::OkStatus();
        });
  });
  return text;
}

// Carries out set messages as the kernel does, for allowed ips alone.
std::map<PublicKey, std::vector<IpPrefix>> Outcome(
    std::vector<MessageBuilder>& messages) {
  std::map<PublicKey, std::vector<IpPrefix>> peers;
  for (MessageBuilder& message : messages) {
    KernelDump part;
    Read(message, [&](const MessageView& view) { return part.Add(view); });
    for (const Peer& peer : std::move(part).Finish().peers) {
      auto& prefixes = peers[peer.key];
      prefixes.insert(prefixes.end(), peer.allowed_ips.begin(),
                      peer.allowed_ips.end());
    }
  }
  return peers;
}

Peer PeerWithMany(uint8_t key, int count) {
  Peer peer{.key = Key(key), .keepalive_seconds = 25};
  for (int i = 0; i < count; ++i) {
    peer.allowed_ips.push_back(
        IpPrefix(IpAddress::FromIpv4(uint32_t{key} << 24).Plus(i, 4), 28));
  }
  return peer;
}

template <typename T>
std::span<const uint8_t> BytesOf(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

void PutEndpoint(MessageBuilder& message, const SocketAddress& endpoint) {
  if (endpoint.address.is_ipv4()) {
    sockaddr_in address{.sin_family = AF_INET,
                        .sin_port = htons(endpoint.port)};
    std::memcpy(&address.sin_addr, endpoint.address.bytes().data(), 4);
    message.Put(WGPEER_A_ENDPOINT, BytesOf(address));
  } else {
    sockaddr_in6 address{.sin6_family = AF_INET6,
                         .sin6_port = htons(endpoint.port)};
    std::memcpy(&address.sin6_addr, endpoint.address.bytes().data(), 16);
    message.Put(WGPEER_A_ENDPOINT, BytesOf(address));
  }
}

void PutAllowedIp(MessageBuilder& message, const IpPrefix& prefix) {
  const size_t nest = message.BeginNest(0);
  message.PutU8(WGALLOWEDIP_A_CIDR_MASK, prefix.length());
  message.PutU16(WGALLOWEDIP_A_FAMILY,
                 prefix.address().is_ipv4() ? AF_INET : AF_INET6);
  message.PutAddress(WGALLOWEDIP_A_IPADDR, prefix.address());
  message.EndNest(nest);
}

// As the kernel does: with what we do not read, too.
void PutPeer(MessageBuilder& message, const Peer& peer) {
  const size_t nest = message.BeginNest(0);
  message.Put(WGPEER_A_PUBLIC_KEY, peer.key.bytes());
  message.Put(WGPEER_A_PRESHARED_KEY, Secret(9).bytes());
  const auto since = peer.last_handshake.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const __kernel_timespec time{
      .tv_sec = seconds.count(),
      .tv_nsec = std::chrono::nanoseconds(since - seconds).count()};
  message.Put(WGPEER_A_LAST_HANDSHAKE_TIME, BytesOf(time));
  message.PutU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
                 peer.keepalive_seconds);
  message.PutU64(WGPEER_A_TX_BYTES, peer.sent_bytes);
  message.PutU64(WGPEER_A_RX_BYTES, peer.received_bytes);
  message.PutU32(WGPEER_A_PROTOCOL_VERSION, 1);
  if (peer.endpoint) PutEndpoint(message, *peer.endpoint);
  const size_t ips = message.BeginNest(WGPEER_A_ALLOWEDIPS);
  for (const IpPrefix& prefix : peer.allowed_ips) PutAllowedIp(message, prefix);
  message.EndNest(ips);
  message.EndNest(nest);
}

// A message of a dump, with these peers; the first one has the device's own
// attributes.
MessageBuilder DumpMessage(const Device& device, std::span<const Peer> peers,
                           bool first) {
  MessageBuilder message = NewMessage(WG_CMD_GET_DEVICE);
  message.PutU32(WGDEVICE_A_IFINDEX, 7);
  message.PutString(WGDEVICE_A_IFNAME, device.name);
  if (first) {
    message.Put(WGDEVICE_A_PRIVATE_KEY, device.private_key.bytes());
    message.Put(WGDEVICE_A_PUBLIC_KEY, device.public_key.bytes());
    message.PutU16(WGDEVICE_A_LISTEN_PORT, device.listen_port);
    message.PutU32(WGDEVICE_A_FWMARK, device.fwmark);
  }
  const size_t list = message.BeginNest(WGDEVICE_A_PEERS);
  for (const Peer& peer : peers) PutPeer(message, peer);
  message.EndNest(list);
  return message;
}

TEST_CASE("kernel_codec: writes a new device", "[kernel_codec]") {
  auto messages = Encode(Diff({}, FullDevice()));
  REQUIRE(messages.size() == 1);
  const std::string secret = Hex(Secret(0x40).bytes());
  CHECK(Text(messages[0]) ==
        "2=65646765643000 3=" + secret +
            " 6=6cca 7=ed000000 \n"
            "  peer 01 flags 2 endpoint 02000400c00002070000000000000000 "
            "keepalive 25 ips 1:0200,2:0ac80010,3:1c, "
            "1:0a00,2:fd000000000000000000000000000010,3:7c,\n"
            "  peer 02 flags 2 endpoint 0a00ca6d00000000"
            "20010db8000000000000000000000001"
            "00000000 keepalive 0 ips 1:0200,2:00000000,3:00, "
            "1:0a00,2:00000000000000000000000000000000,3:00,\n"
            "  peer 03 flags 2 keepalive 0 ips\n");
}

TEST_CASE("kernel_codec: a change touches only what it names",
          "[kernel_codec]") {
  auto nothing = Encode({});
  REQUIRE(nothing.size() == 1);
  CHECK(Text(nothing[0]) == "2=65646765643000 \n");
  auto messages =
      Encode({.removed_peers = {Key(1)},
              .changed_peers = {{.key = Key(2), .keepalive_seconds = 25},
                                {.key = Key(3), .allowed_ips = Prefixes({})}}});
  REQUIRE(messages.size() == 1);
  CHECK(Text(messages[0]) ==
        "2=65646765643000 \n"
        "  peer 01 flags 1\n"
        "  peer 02 flags 4 keepalive 25\n"
        "  peer 03 flags 6 ips\n");
}

TEST_CASE("kernel_codec: goes on with the same peer in the next message",
          "[kernel_codec]") {
  Device wanted{.name = "edged0", .listen_port = 51820};
  wanted.peers = {PeerWithMany(1, 2), PeerWithMany(2, 5)};
  auto messages = Encode(Diff({}, wanted), 300);
  REQUIRE(messages.size() == 2);
  CHECK(Text(messages[0]) ==
        "2=65646765643000 6=6cca \n"
        "  peer 01 flags 2 keepalive 25 ips 1:0200,2:01000000,3:1c, "
        "1:0200,2:01000010,3:1c,\n"
        "  peer 02 flags 2 keepalive 25 ips 1:0200,2:02000000,3:1c, "
        "1:0200,2:02000010,3:1c,\n");
  CHECK(Text(messages[1]) ==
        "2=65646765643000 \n"
        "  peer 02 flags 4 ips 1:0200,2:02000020,3:1c, "
        "1:0200,2:02000030,3:1c, 1:0200,2:02000040,3:1c,\n");
}

TEST_CASE("kernel_codec: no limit loses a prefix or exceeds itself",
          "[kernel_codec]") {
  Device wanted{.name = "edged0", .private_key = Secret(0x40)};
  for (uint8_t key = 1; key <= 5; ++key) {
    wanted.peers.push_back(PeerWithMany(key, 9 * key));
  }
  wanted.peers.push_back({.key = Key(6), .allowed_ips = Prefixes({"::/0"})});
  const DeviceChange change = Diff({}, wanted);
  for (size_t limit = 280; limit < 3000; limit += 4) {
    INFO(limit);
    auto messages = Encode(change, limit);
    for (MessageBuilder& message : messages) CHECK(message.size() <= limit);
    const auto outcome = Outcome(messages);
    for (const Peer& peer : wanted.peers) {
      CHECK(outcome.at(peer.key) == peer.allowed_ips);
    }
  }
}

TEST_CASE("kernel_codec: reads every field of a device", "[kernel_codec]") {
  Device device = FullDevice();
  std::swap(device.peers[0], device.peers[2]);
  MessageBuilder message = DumpMessage(device, device.peers, true);
  KernelDump dump;
  Read(message, [&dump](const MessageView& view) { return dump.Add(view); });
  CHECK(std::move(dump).Finish() == FullDevice());
}

TEST_CASE("kernel_codec: puts a peer together that spans three messages",
          "[kernel_codec]") {
  const Peer whole = PeerWithMany(2, 9);
  Device wanted = FullDevice();
  wanted.peers = {PeerWithMany(1, 3), whole, PeerWithMany(3, 1)};
  KernelDump dump;
  const auto add = [&](std::vector<Peer> peers, bool first) {
    MessageBuilder message = DumpMessage(wanted, peers, first);
    Read(message, [&dump](const MessageView& view) { return dump.Add(view); });
  };
  const auto part = [&whole](int begin, int end) {
    Peer peer = whole;
    peer.allowed_ips = {whole.allowed_ips.begin() + begin,
                        whole.allowed_ips.begin() + end};
    return peer;
  };
  add({wanted.peers[0], part(0, 4)}, true);
  add({part(4, 8)}, false);
  add({part(8, 9), wanted.peers[2]}, false);
  CHECK(std::move(dump).Finish() == wanted);
}

TEST_CASE("kernel_codec: a message cut at any byte is refused or read short",
          "[kernel_codec]") {
  const Device device = FullDevice();
  MessageBuilder message = DumpMessage(device, device.peers, true);
  const auto bytes = message.Finish();
  REQUIRE(bytes.ok());
  size_t refused = 0;
  for (size_t size = 0; size < bytes->size() - NLMSG_HDRLEN; ++size) {
    // A copy of exactly that size: reading past it is an error to a sanitizer.
    const std::vector<uint8_t> cut(bytes->begin() + NLMSG_HDRLEN,
                                   bytes->begin() + NLMSG_HDRLEN + size);
    KernelDump dump;
    if (!dump.Add({.payload = cut}).ok()) {
      ++refused;
    } else {
      // Cut between two attributes of the device.
      CHECK(std::move(dump).Finish().peers.empty());
    }
  }
  CHECK(refused > bytes->size() / 2);
}

TEST_CASE("kernel_codec: any changed byte is refused or read",
          "[kernel_codec]") {
  const Device device = FullDevice();
  MessageBuilder message = DumpMessage(device, device.peers, true);
  const auto bytes = message.Finish();
  REQUIRE(bytes.ok());
  for (size_t i = NLMSG_HDRLEN; i < bytes->size(); ++i) {
    for (const uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::vector<uint8_t> changed(bytes->begin() + NLMSG_HDRLEN, bytes->end());
      changed[i - NLMSG_HDRLEN] = value;
      KernelDump dump;
      if (dump.Add({.payload = changed}).ok()) {
        CHECK(std::move(dump).Finish().peers.size() <= 3);
      }
    }
  }
}

TEST_CASE("kernel_codec: an error names the peer", "[kernel_codec]") {
  MessageBuilder message = NewMessage(WG_CMD_GET_DEVICE);
  const size_t peers = message.BeginNest(WGDEVICE_A_PEERS);
  const size_t peer = message.BeginNest(0);
  message.Put(WGPEER_A_PUBLIC_KEY, Key(1).bytes());
  const uint8_t endpoint[] = {1, 0, 0, 0};
  message.Put(WGPEER_A_ENDPOINT, endpoint);
  message.EndNest(peer);
  message.EndNest(peers);
  const auto bytes = message.Finish();
  REQUIRE(bytes.ok());
  KernelDump dump;
  const absl::Status status =
      dump.Add({.payload = bytes->subspan(NLMSG_HDRLEN)});
  CHECK(Message(status) == "peer AQEBAQEB: endpoint of address family 1");
}

}  // namespace
}  // namespace edged::wireguard
