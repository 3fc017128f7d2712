#include "common/wireguard/kernel_codec.h"

#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "common/status.h"

namespace edged::wireguard {
namespace {

using netlink::Attribute;
using netlink::ForEachAttribute;
using netlink::MessageBuilder;

// The most that one entry takes, headers and padding included.
constexpr size_t kAllowedIpBytes = 4 + 8 + 20 + 8;
constexpr size_t kPeerBytes = 4 + 36 + 8 + 32 + 8 + 4;

void PutEndpoint(MessageBuilder& message, const SocketAddress& endpoint) {
  const std::span<const uint8_t> address = endpoint.address.bytes();
  const auto put = [&message](const auto& sockaddr) {
    message.Put(WGPEER_A_ENDPOINT,
                {reinterpret_cast<const uint8_t*>(&sockaddr), sizeof sockaddr});
  };
  if (endpoint.address.is_ipv4()) {
    sockaddr_in ipv4{.sin_family = AF_INET, .sin_port = htons(endpoint.port)};
    std::memcpy(&ipv4.sin_addr, address.data(), address.size());
    put(ipv4);
  } else {
    sockaddr_in6 ipv6{.sin6_family = AF_INET6,
                      .sin6_port = htons(endpoint.port)};
    std::memcpy(&ipv6.sin6_addr, address.data(), address.size());
    put(ipv6);
  }
}

void PutAllowedIp(MessageBuilder& message, const IpPrefix& prefix) {
  const size_t nest = message.BeginNest(0);
  message.PutU16(WGALLOWEDIP_A_FAMILY,
                 prefix.family() == Family::kIpv4 ? AF_INET : AF_INET6);
  message.PutAddress(WGALLOWEDIP_A_IPADDR, prefix.address());
  message.PutU8(WGALLOWEDIP_A_CIDR_MASK, static_cast<uint8_t>(prefix.length()));
  message.EndNest(nest);
}

// Fills messages one after the other, each with one list of peers.
class SetWriter {
 public:
  SetWriter(const std::string& name,
            const std::function<MessageBuilder()>& new_message, size_t limit)
      : name_(name), new_message_(new_message), limit_(limit) {}

  void Write(const DeviceChange& change) {
    Begin();
    if (change.private_key) {
      message().Put(WGDEVICE_A_PRIVATE_KEY, change.private_key->bytes());
    }
    if (change.listen_port) {
      message().PutU16(WGDEVICE_A_LISTEN_PORT, *change.listen_port);
    }
    if (change.fwmark) message().PutU32(WGDEVICE_A_FWMARK, *change.fwmark);
    BeginPeers();
    for (const PublicKey& key : change.removed_peers) {
      BeginPeer(key, WGPEER_F_REMOVE_ME);
      EndPeer();
    }
    for (const PeerChange& peer : change.changed_peers) WritePeer(peer);
    EndPeers();
  }

  std::vector<MessageBuilder> Take() && { return std::move(messages_); }

 private:
  MessageBuilder& message() { return messages_.back(); }
  bool HasRoom(size_t bytes) { return message().size() + bytes <= limit_; }

  void Begin() {
    messages_.push_back(new_message_());
    message().PutString(WGDEVICE_A_IFNAME, name_);
  }
  void BeginPeers() { peers_ = message().BeginNest(WGDEVICE_A_PEERS); }
  void EndPeers() { message().EndNest(peers_); }
  void EndPeer() { message().EndNest(peer_); }

  void BeginPeer(const PublicKey& key, uint32_t flags) {
    if (!HasRoom(kPeerBytes)) {
      EndPeers();
      Begin();
      BeginPeers();
    }
    peer_ = message().BeginNest(0);
    message().Put(WGPEER_A_PUBLIC_KEY, key.bytes());
    message().PutU32(WGPEER_A_FLAGS, flags);
  }

  void WritePeer(const PeerChange& change) {
    BeginPeer(change.key,
              (change.is_new ? 0 : WGPEER_F_UPDATE_ONLY) |
                  (change.allowed_ips ? WGPEER_F_REPLACE_ALLOWEDIPS : 0));
    if (change.endpoint) PutEndpoint(message(), *change.endpoint);
    if (change.keepalive_seconds) {
      message().PutU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
                       *change.keepalive_seconds);
    }
    if (change.allowed_ips) WriteAllowedIps(change.key, *change.allowed_ips);
    EndPeer();
  }

  void WriteAllowedIps(const PublicKey& key,
                       const std::vector<IpPrefix>& prefixes) {
    size_t nest = message().BeginNest(WGPEER_A_ALLOWEDIPS);
    for (const IpPrefix& prefix : prefixes) {
      if (!HasRoom(kAllowedIpBytes)) {
        message().EndNest(nest);
        EndPeer();
        // Without the flag that replaces: this adds to what went before.
        BeginPeer(key, WGPEER_F_UPDATE_ONLY);
        nest = message().BeginNest(WGPEER_A_ALLOWEDIPS);
      }
      PutAllowedIp(message(), prefix);
    }
    message().EndNest(nest);
  }

  const std::string& name_;
  const std::function<MessageBuilder()>& new_message_;
  const size_t limit_;
  std::vector<MessageBuilder> messages_;
  size_t peers_ = 0;
  size_t peer_ = 0;
};

// PublicKey or PrivateKey.
template <typename Key>
absl::StatusOr<Key> KeyOf(const Attribute& attribute) {
  if (attribute.payload.size() != kKeySize) {
    return InvalidArgument("WireGuard attribute {}: a key of {} bytes",
                           attribute.type, attribute.payload.size());
  }
  return Key(attribute.payload.first<kKeySize>());
}

// The kernel may append to a struct; it does not shorten one.
template <typename T>
absl::StatusOr<T> Struct(const Attribute& attribute) {
  T value;
  if (attribute.payload.size() < sizeof value) {
    return InvalidArgument("WireGuard attribute {} has {} bytes instead of {}",
                           attribute.type, attribute.payload.size(),
                           sizeof value);
  }
  std::memcpy(&value, attribute.payload.data(), sizeof value);
  return value;
}

template <typename T>
SocketAddress EndpointOf(const T& address, in_port_t network_port) {
  uint8_t bytes[sizeof address];
  std::memcpy(bytes, &address, sizeof bytes);
  return {IpAddress::FromBytes(bytes), ntohs(network_port)};
}

// Port 0 can be set, and is nowhere to send to: no endpoint.
absl::StatusOr<std::optional<SocketAddress>> ReadEndpoint(
    const Attribute& attribute) {
  ASSIGN_OR_RETURN(const auto family, Struct<sa_family_t>(attribute));
  SocketAddress endpoint;
  if (family == AF_INET) {
    ASSIGN_OR_RETURN(const auto ipv4, Struct<sockaddr_in>(attribute));
    endpoint = EndpointOf(ipv4.sin_addr, ipv4.sin_port);
  } else if (family == AF_INET6) {
    ASSIGN_OR_RETURN(const auto ipv6, Struct<sockaddr_in6>(attribute));
    endpoint = EndpointOf(ipv6.sin6_addr, ipv6.sin6_port);
  } else {
    return InvalidArgument("endpoint of address family {}", family);
  }
  if (endpoint.port == 0) return std::nullopt;
  return endpoint;
}

absl::StatusOr<std::chrono::system_clock::time_point> ReadTime(
    const Attribute& attribute) {
  ASSIGN_OR_RETURN(const auto time, Struct<__kernel_timespec>(attribute));
  if (time.tv_sec < 0 || time.tv_sec > std::numeric_limits<uint32_t>::max() ||
      time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) {
    return InvalidArgument("handshake at {} s {} ns", time.tv_sec,
                           time.tv_nsec);
  }
  return std::chrono::system_clock::time_point(
      std::chrono::seconds(time.tv_sec) +
      std::chrono::nanoseconds(time.tv_nsec));
}

absl::StatusOr<IpPrefix> ReadAllowedIp(const Attribute& entry) {
  std::optional<IpAddress> address;
  std::optional<uint8_t> length;
  RETURN_IF_ERROR(ForEachAttribute(
      entry.payload, [&](const Attribute& attribute) -> absl::Status {
        if (attribute.type == WGALLOWEDIP_A_IPADDR) {
          ASSIGN_OR_RETURN(address, attribute.Address());
        } else if (attribute.type == WGALLOWEDIP_A_CIDR_MASK) {
          ASSIGN_OR_RETURN(length, attribute.U8());
        }
        return absl::OkStatus();
      }));
  if (!address || !length || *length > address->bits()) {
    return InvalidArgument("allowed ip without address or valid length");
  }
  return IpPrefix(*address, *length);
}

absl::Status ReadPeerAttribute(const Attribute& attribute, Peer& peer) {
  switch (attribute.type) {
    case WGPEER_A_ENDPOINT: {
      ASSIGN_OR_RETURN(peer.endpoint, ReadEndpoint(attribute));
      break;
    }
    case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: {
      ASSIGN_OR_RETURN(peer.keepalive_seconds, attribute.U16());
      break;
    }
    case WGPEER_A_LAST_HANDSHAKE_TIME: {
      ASSIGN_OR_RETURN(peer.last_handshake, ReadTime(attribute));
      break;
    }
    case WGPEER_A_RX_BYTES: {
      ASSIGN_OR_RETURN(peer.received_bytes, attribute.U64());
      break;
    }
    case WGPEER_A_TX_BYTES: {
      ASSIGN_OR_RETURN(peer.sent_bytes, attribute.U64());
      break;
    }
    case WGPEER_A_ALLOWEDIPS:
      return ForEachAttribute(
          attribute.payload, [&peer](const Attribute& entry) -> absl::Status {
            ASSIGN_OR_RETURN(peer.allowed_ips.emplace_back(),
                             ReadAllowedIp(entry));
            return absl::OkStatus();
          });
  }
  return absl::OkStatus();
}

}  // namespace

void PutKernelGet(MessageBuilder& message, const std::string& name) {
  message.PutString(WGDEVICE_A_IFNAME, name);
}

std::vector<MessageBuilder> EncodeKernelSet(
    const std::string& name, const DeviceChange& change,
    const std::function<MessageBuilder()>& new_message, size_t limit) {
  SetWriter writer(name, new_message, limit);
  writer.Write(change);
  return std::move(writer).Take();
}

absl::Status KernelDump::AddPeer(std::span<const uint8_t> attributes) {
  std::optional<PublicKey> key;
  RETURN_IF_ERROR(ForEachAttribute(
      attributes, [&key](const Attribute& attribute) -> absl::Status {
        if (attribute.type == WGPEER_A_PUBLIC_KEY) {
          ASSIGN_OR_RETURN(key, KeyOf<PublicKey>(attribute));
        }
        return absl::OkStatus();
      }));
  if (!key) return InvalidArgument("WireGuard peer without a public key");
  // The peer that the last message ended with goes on in this one.
  if (device_.peers.empty() || device_.peers.back().key != *key) {
    device_.peers.push_back({.key = *key});
  }
  Peer& peer = device_.peers.back();
  return Annotate(ForEachAttribute(attributes,
                                   [&peer](const Attribute& attribute) {
                                     return ReadPeerAttribute(attribute, peer);
                                   }),
                  fmt::format("peer {}", key->Short()));
}

absl::Status KernelDump::Add(const netlink::MessageView& message) {
  return ForEachAttribute(
      message.AttributesAfter(GENL_HDRLEN),
      [this](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case WGDEVICE_A_IFNAME:
            device_.name = attribute.String();
            break;
          case WGDEVICE_A_PRIVATE_KEY: {
            ASSIGN_OR_RETURN(device_.private_key, KeyOf<PrivateKey>(attribute));
            break;
          }
          case WGDEVICE_A_PUBLIC_KEY: {
            ASSIGN_OR_RETURN(device_.public_key, KeyOf<PublicKey>(attribute));
            break;
          }
          case WGDEVICE_A_LISTEN_PORT: {
            ASSIGN_OR_RETURN(device_.listen_port, attribute.U16());
            break;
          }
          case WGDEVICE_A_FWMARK: {
            ASSIGN_OR_RETURN(device_.fwmark, attribute.U32());
            break;
          }
          case WGDEVICE_A_PEERS:
            return ForEachAttribute(attribute.payload,
                                    [this](const Attribute& peer) {
                                      return AddPeer(peer.payload);
                                    });
        }
        return absl::OkStatus();
      });
}

Device KernelDump::Finish() && {
  std::ranges::sort(device_.peers, {}, &Peer::key);
  for (Peer& peer : device_.peers) std::ranges::sort(peer.allowed_ips);
  return std::move(device_);
}

}  // namespace edged::wireguard
