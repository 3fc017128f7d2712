#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/net_types.h"
#include "common/protocol/digest.h"
#include "common/protocol/records.h"
#include "edged/core/edge_event.h"
#include "edged/core/edge_model.h"
#include "edged/core/key_replacement.h"

// What the edge offers to whoever speaks with it, as plain values: the gRPC
// service calls it, the daemon is it. Everything here belongs to the loop
// thread.

namespace edged::edge {

using WallTime = std::chrono::system_clock::time_point;

// The leadership term of one cluster.
struct Epoch {
  std::string cluster_uid;
  uint64_t number = 0;
  bool operator==(const Epoch&) const = default;
};

struct RegisterCall {
  Epoch epoch;
  protocol::Uplink uplink;
  std::string edge;
};

struct Hello {
  Epoch epoch;
  protocol::Digest digest;
  std::string version;
};

struct SnapshotCall {
  uint64_t version = 0;
  protocol::EdgeState state;
};

struct DeltaCall {
  uint64_t base_version = 0;
  uint64_t version = 0;
  protocol::EdgeDelta delta;
};

using ChangeCall = std::variant<SnapshotCall, DeltaCall>;

struct UplinkLife {
  std::string name;
  bool alive = false;
  bool draining = false;
  protocol::Digest applied;
  std::optional<WallTime> last_handshake;
  // The handshake's time is left out: it alone is no reason for a report.
  bool SameAs(const UplinkLife& other) const {
    return name == other.name && alive == other.alive &&
           draining == other.draining && applied == other.applied;
  }
};

struct ResolvedAddress {
  IpAddress address;
  std::optional<IpAddress> nic_address;
  std::string interface;
  std::string error;  // why it is not resolved
  bool operator==(const ResolvedAddress&) const = default;
};

struct Report {
  std::vector<UplinkLife> uplinks;
  std::vector<Refusal> not_programmed;
  protocol::Digest digest;
  std::vector<std::string> warnings;
  uint32_t mtu = 0;
  std::vector<ResolvedAddress> addresses;
};

// Where the edge is with its key, and which key that is about.
struct KeyNotice {
  OwnKeys::Phase phase = OwnKeys::Phase::kInUse;
  PublicKey key;
  PublicKey in_use;  // until then
  bool operator==(const KeyNotice&) const = default;
};

struct Welcome {
  protocol::Digest digest;
  std::vector<std::string> reserved_ports;  // "22/tcp"
  Report report;
  KeyNotice key;
};

// The answer to one version.
struct SyncResult {
  uint64_t version = 0;
  absl::Status status;  // not OK: a NACK
  bool snapshot_needed = false;
  protocol::Digest digest;
  std::vector<Refusal> refused;
  std::chrono::nanoseconds apply_time{};
};

// A replacement of the edge's key that is under way.
struct Rotation {
  PublicKey key;
  PublicKey next;
  bool agent_connected = false;
};

struct UplinkStatus {
  protocol::Uplink uplink;
  IpAddress address;
  std::optional<SocketAddress> endpoint;
  UplinkLife life;
  std::optional<WallTime> last_heartbeat;
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
  uint32_t mtu = 0;  // of packets to and from it
};

struct EdgeStatus {
  WallTime started;
  bool enrolled = false;
  bool contacted = false;
  std::string cluster_uid;
  std::string edge;
  std::string device;
  std::string backend;
  PublicKey public_key;
  PublicKey next_public_key;  // zero: none
  bool key_of_token = false;
  uint16_t listen_port = 0;
  std::optional<IpPrefix> network;
  std::optional<IpPrefix> network6;  // unset: no IPv6 is carried
  std::optional<IpAddress> address;
  uint32_t mtu = 0;
  std::vector<UplinkStatus> uplinks;
  std::vector<ResolvedAddress> addresses;
  std::vector<protocol::Group> groups;
  uint64_t mapping_count = 0;
  std::optional<Epoch> epoch;
  protocol::Digest digest;
  uint64_t applied_version = 0;
  std::optional<WallTime> applied_at;
  std::chrono::nanoseconds apply_time{};
  std::vector<Refusal> refused;
  std::vector<std::string> warnings;
  std::vector<EdgeEvent> recent_events;  // oldest first
};

struct MappingStatus {
  protocol::Mapping mapping;
  IpAddress nic_address;
  uint64_t connections = 0;
};

// Where a Sync stream's answers go. Calls are made on the loop thread.
class SyncStream {
 public:
  virtual ~SyncStream() = default;
  virtual void Send(const Report& report) = 0;
  virtual void Send(const KeyNotice& notice) = 0;
  // The stream is over; nothing is sent to it any more.
  virtual void End(const absl::Status& status) = 0;
};

class EdgeApi {
 public:
  virtual ~EdgeApi() = default;
  virtual absl::Status Register(const RegisterCall& call) = 0;
  // Takes over from the stream before. `stream` is borrowed until End() or
  // Close().
  virtual absl::StatusOr<Welcome> Open(const Hello& hello,
                                       SyncStream& stream) = 0;
  virtual SyncResult Change(SyncStream& stream, ChangeCall call) = 0;
  // The agent has written this key down.
  virtual void KeyStored(SyncStream& stream, const PublicKey& key) = 0;
  virtual void Close(SyncStream& stream) = 0;
  // Begins to replace the edge's key, or tells of the replacement under way.
  virtual absl::StatusOr<Rotation> RotateKey() = 0;
  virtual EdgeStatus Status() = 0;
  // Sorted by listener.
  virtual absl::StatusOr<std::vector<MappingStatus>> Mappings() = 0;
  // First at most `recent` events of before, then each as it happens. `stream`
  // is borrowed until Unwatch(). ResourceExhausted when too many watch.
  virtual absl::Status Watch(EventStream& stream, size_t recent) = 0;
  virtual void Unwatch(EventStream& stream) = 0;
};

}  // namespace edged::edge
