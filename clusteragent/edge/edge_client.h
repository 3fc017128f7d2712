#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "clusteragent/core/key_replacement.h"
#include "common/drift/drift.h"
#include "common/event_loop.h"
#include "common/net_types.h"
#include "common/protocol/digest.h"
#include "common/protocol/records.h"

// An edge's gRPC API as plain values. Calls and callbacks belong to the loop
// thread; gRPC's own threads only hand values over.

namespace edged::agent {

// The leadership term that this agent speaks for.
struct Epoch {
  std::string cluster_uid;
  uint64_t number = 0;
  bool operator==(const Epoch&) const = default;
};

// A mapping that the edge does not serve.
struct RefusedMapping {
  protocol::Listener listener;
  std::string reason;
  std::string message;
  bool operator==(const RefusedMapping&) const = default;
};

struct UplinkLife {
  std::string name;
  bool alive = false;
  bool draining = false;
  protocol::Digest applied;
};

struct EdgeLifeReport {
  std::vector<UplinkLife> uplinks;
  std::vector<RefusedMapping> not_programmed;
  protocol::Digest digest;
  std::vector<std::string> warnings;
  uint32_t mtu = 0;
};

struct EdgeWelcome {
  protocol::Digest digest;
  std::vector<std::string> reserved_ports;  // "22/tcp"
  std::string version;
  bool knows_access = false;  // groups that do not admit everybody
  EdgeLifeReport report;
  std::optional<EdgeKeyNotice> key;  // unset: of an older edge
};

struct EdgeResult {
  uint64_t version = 0;
  bool ack = false;
  std::string error;
  bool snapshot_needed = false;
  protocol::Digest digest;
  std::vector<RefusedMapping> refused;
  std::chrono::nanoseconds apply_time{};
};

// Who hears what comes out of a Sync stream.
class SyncListener {
 public:
  virtual ~SyncListener() = default;
  virtual void OnWelcome(const EdgeWelcome& welcome) = 0;
  virtual void OnResult(const EdgeResult& result) = 0;
  virtual void OnReport(const EdgeLifeReport& report) = 0;
  virtual void OnKey(const EdgeKeyNotice& notice) = 0;
  // Always last, once. Nothing is called when the stream was destroyed first.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// One open stream; destroying it ends the call.
class SyncStream {
 public:
  virtual ~SyncStream() = default;
  virtual void SendSnapshot(uint64_t version,
                            const protocol::EdgeState& state) = 0;
  virtual void SendDelta(uint64_t base_version, uint64_t version,
                         const protocol::EdgeDelta& delta) = 0;
  virtual void SendKeyStored(const PublicKey& key) = 0;
};

// What others did to an edge, and how it was put right.
struct EdgeEvent {
  std::chrono::system_clock::time_point at;
  std::variant<Drift, Flood> what;
  bool operator==(const EdgeEvent&) const = default;
};

// Who hears what an edge tells of itself.
class EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void OnEvent(const EdgeEvent& event) = 0;
  // Always last, once. Nothing is called when the stream was destroyed first.
  virtual void OnEventsEnd(const absl::Status& status) = 0;
};

// One open stream of events; destroying it ends the call.
class EventStream {
 public:
  virtual ~EventStream() = default;
};

// One edge, dialled at its overlay address. Its streams are destroyed before
// it; when it is, what it was asked for is cancelled and nobody is called any
// more.
class EdgeClient {
 public:
  virtual ~EdgeClient() = default;
  // `done` is called once on the loop thread, also after a time-out of 5 s.
  virtual void Register(const Epoch& epoch, const protocol::Uplink& uplink,
                        const std::string& edge,
                        std::function<void(const absl::Status&)> done) = 0;
  // Says Hello with `digest`. `listener` outlives the stream.
  virtual std::unique_ptr<SyncStream> OpenSync(const Epoch& epoch,
                                               const protocol::Digest& digest,
                                               SyncListener& listener) = 0;
  // First the last `recent` events. `listener` outlives the stream.
  virtual std::unique_ptr<EventStream> OpenEvents(uint32_t recent,
                                                  EventListener& listener) = 0;
};

// `loop` outlives the client.
std::unique_ptr<EdgeClient> DialEdge(EventLoop& loop,
                                     const SocketAddress& address);
// It, or what stands in its place.
using Dial = std::function<std::unique_ptr<EdgeClient>(
    EventLoop& loop, const SocketAddress& address)>;

}  // namespace edged::agent
