#include "common/protocol/digest.h"

#include <sodium.h>

#include <algorithm>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

using Hash = std::array<uint8_t, crypto_hash_sha256_BYTES>;

// Long enough for a mapping or a group of a few uplinks without growing.
constexpr size_t kUsualSize = 256;

Hash HashOf(const ByteWriter& record) {
  Hash hash;
  const auto bytes = record.view();
  crypto_hash_sha256(hash.data(), bytes.data(), bytes.size());
  return hash;
}

Hash HashOf(const Settings& settings) {
  ByteWriter record(kUsualSize);
  record.Number8('S');
  record.Number32(static_cast<uint32_t>(settings.public_addresses.size()));
  for (const PublicAddress& address : settings.public_addresses) {
    record.Address(address.address);
    record.String(address.interface);
    record.Number8(address.nic_address.has_value() ? 1 : 0);
    if (address.nic_address) record.Address(*address.nic_address);
    record.Number32(address.index);
  }
  record.Number32(settings.mtu);
  record.Number64(static_cast<uint64_t>(settings.heartbeat_interval.count()));
  record.Number32(settings.unhealthy_threshold);
  if (settings.network6) {
    record.Address(settings.network6->address());
    record.Number8(static_cast<uint8_t>(settings.network6->length()));
  }
  return HashOf(record);
}

Hash HashOf(const Uplink& uplink) {
  ByteWriter record(kUsualSize);
  record.Number8('U');
  record.String(uplink.name);
  record.Raw(uplink.key.bytes());
  record.Number32(uplink.block);
  return HashOf(record);
}

void AddPrefixes(const std::vector<IpPrefix>& prefixes, ByteWriter& record) {
  record.Number32(static_cast<uint32_t>(prefixes.size()));
  for (const IpPrefix& prefix : prefixes) {
    record.Address(prefix.address());
    record.Number8(static_cast<uint8_t>(prefix.length()));
  }
}

Hash HashOf(const Group& group) {
  ByteWriter record(kUsualSize);
  record.Number8('G');
  record.String(group.name);
  record.Address(group.public_address);
  record.Number8(static_cast<uint8_t>(group.affinity));
  record.Number32(static_cast<uint32_t>(group.uplinks.size()));
  for (const std::string& uplink : group.uplinks) record.String(uplink);
  if (!group.timeouts.empty()) {
    record.Number32(static_cast<uint32_t>(group.timeouts.tcp_idle.count()));
    record.Number32(static_cast<uint32_t>(group.timeouts.udp_session.count()));
  }
  if (!group.access.empty()) {
    record.Number8('A');
    AddPrefixes(group.access.allow, record);
    AddPrefixes(group.access.deny, record);
  }
  return HashOf(record);
}

Hash HashOf(const Mapping& mapping) {
  ByteWriter record(kUsualSize);
  record.Number8('M');
  record.Address(mapping.listener.public_address);
  record.Number8(static_cast<uint8_t>(mapping.listener.protocol));
  record.Number16(mapping.listener.ports.first);
  record.Number16(mapping.listener.ports.last);
  record.String(mapping.group);
  return HashOf(record);
}

}  // namespace

void Digest::Add(const Settings& settings) { AddHash(HashOf(settings)); }
void Digest::Add(const Uplink& uplink) { AddHash(HashOf(uplink)); }
void Digest::Add(const Group& group) { AddHash(HashOf(group)); }
void Digest::Add(const Mapping& mapping) { AddHash(HashOf(mapping)); }
void Digest::Remove(const Settings& settings) { RemoveHash(HashOf(settings)); }
void Digest::Remove(const Uplink& uplink) { RemoveHash(HashOf(uplink)); }
void Digest::Remove(const Group& group) { RemoveHash(HashOf(group)); }
void Digest::Remove(const Mapping& mapping) { RemoveHash(HashOf(mapping)); }

absl::StatusOr<Digest> Digest::FromBytes(std::string_view bytes) {
  Digest digest;
  if (bytes.size() != digest.sum_.size()) {
    return InvalidArgument("a digest has {} bytes, not {}", digest.sum_.size(),
                           bytes.size());
  }
  std::ranges::copy(AsBytes(bytes), digest.sum_.begin());
  return digest;
}

std::string Digest::ToString() const {
  std::string text;
  for (const uint8_t byte : sum_) text += fmt::format("{:02x}", byte);
  return text;
}

std::string Digest::Short() const { return ToString().substr(0, 8); }

void Digest::AddHash(const std::array<uint8_t, 32>& hash) {
  int carry = 0;
  for (size_t i = sum_.size(); i-- > 0;) {
    carry += sum_[i] + hash[i];
    sum_[i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
}

void Digest::RemoveHash(const std::array<uint8_t, 32>& hash) {
  int borrow = 0;
  for (size_t i = sum_.size(); i-- > 0;) {
    const int difference = sum_[i] - hash[i] - borrow;
    sum_[i] = static_cast<uint8_t>(difference);
    borrow = difference < 0 ? 1 : 0;
  }
}

Digest DigestOf(const EdgeState& state) {
  Digest digest;
  digest.Add(state.settings);
  for (const Uplink& uplink : state.uplinks) digest.Add(uplink);
  for (const Group& group : state.groups) digest.Add(group);
  for (const Mapping& mapping : state.mappings) digest.Add(mapping);
  return digest;
}

}  // namespace edged::protocol
