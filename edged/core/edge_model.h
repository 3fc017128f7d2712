#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/protocol/digest.h"
#include "common/protocol/records.h"
#include "edged/core/limits.h"
#include "edged/core/listener_table.h"

namespace edged::edge {

// nullptr when `settings` do not name `address`.
const protocol::PublicAddress* FindPublicAddress(
    const protocol::Settings& settings, const IpAddress& address);

// One mapping that is not served, and why.
struct Refusal {
  protocol::Listener listener;
  // ReservedPort, TunnelPort, InvalidPort, UnknownGroup, WrongGroup,
  // UnknownPublicAddress, WrongFamily, OverlappingRange, DuplicateListener,
  // TimeoutsNotAvailable.
  std::string reason;
  std::string message;  // a sentence that names the listener and the other side
  bool operator==(const Refusal&) const = default;
};

// What may be applied of a delta. `accepted` holds only what really changes:
// records that are there already and removals of what is not are left out.
struct Judgement {
  protocol::EdgeDelta accepted;
  std::vector<Refusal> refusals;  // in the order of the delta
};

// What this edge should be, indexed for changes: judging and committing a
// delta costs in proportion to the delta. Single-threaded, no I/O.
class EdgeModel {
 public:
  EdgeModel() { digest_.Add(settings_); }
  EdgeModel(const EdgeModel& other);  // reads it whole
  EdgeModel(EdgeModel&&) = default;
  EdgeModel& operator=(EdgeModel&&) = default;

  // Judges `delta` against this model: removals first, then upserts in order.
  // A mapping is refused alone; one that was served under a refused listener
  // is then removed, so that the result is always what was asked for minus the
  // refusals. InvalidArgument when the delta as a whole makes no sense: a block
  // outside 1 to 63 or used twice, a group with an unknown uplink, a public
  // address's index used twice or beyond the overlay, a group or a public
  // address removed while it is mapped, a group that changes its address.
  absl::StatusOr<Judgement> Judge(const protocol::EdgeDelta& delta,
                                  const Limits& limits) const;
  // The same for a whole state: the difference from this model to `state`.
  absl::StatusOr<Judgement> JudgeSnapshot(const protocol::EdgeState& state,
                                          const Limits& limits) const;
  // Takes over what a judgement of this very model accepted.
  void Commit(const protocol::EdgeDelta& accepted);

  const protocol::Settings& settings() const { return settings_; }
  const std::map<std::string, protocol::Uplink>& uplinks() const {
    return uplinks_;
  }
  const std::map<std::string, protocol::Group>& groups() const {
    return groups_;
  }
  // nullptr when the settings do not name it.
  const protocol::PublicAddress* FindPublicAddress(
      const IpAddress& address) const;

  size_t mapping_count() const { return listeners_.size(); }
  // The group of exactly this listener; nullptr when it is not mapped.
  const protocol::Group* FindMapping(const protocol::Listener& listener) const;
  // The group of the mapping, single or range, that holds this port.
  const protocol::Group* FindMappingAt(const IpAddress& public_address,
                                       Protocol protocol, uint16_t port) const;
  // Sorted by listener.
  void ForEachMapping(
      const std::function<void(const protocol::Listener&,
                               const protocol::Group&)>& each) const;

  // Of everything; kept up by Commit().
  const protocol::Digest& digest() const { return digest_; }
  protocol::EdgeState ToState() const;

 private:
  friend class DeltaJudge;  // edge_judge.cc

  // Group numbers: what a listener carries instead of its group's name.
  struct NumberedGroup {
    const protocol::Group* group = nullptr;  // into groups_; null: free
    uint32_t mappings = 0;
  };

  void SetUplink(const protocol::Uplink& uplink);
  void RemoveUplink(const std::string& name);
  void SetGroup(const protocol::Group& group);
  void RemoveGroup(const std::string& name);
  void AddMapping(const protocol::Mapping& mapping);
  void RemoveMapping(const protocol::Listener& listener);
  uint32_t MappingsOf(const std::string& group) const;

  protocol::Settings settings_;
  std::map<std::string, protocol::Uplink> uplinks_;
  std::map<std::string, protocol::Group> groups_;
  std::map<std::string, uint16_t> numbers_;  // by group name
  std::vector<NumberedGroup> numbered_{1};   // by number; 0 means none
  std::vector<uint16_t> free_numbers_;
  ListenerTable listeners_;
  protocol::Digest digest_;
};

}  // namespace edged::edge
