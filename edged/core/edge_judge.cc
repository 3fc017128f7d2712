#include <algorithm>
#include <chrono>
#include <set>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "common/protocol/edge_limits.h"
#include "common/status.h"
#include "edged/core/edge_model.h"
#include "edged/core/record_checks.h"

namespace edged::edge {
namespace {

constexpr auto kMaxMappings = static_cast<int64_t>(protocol::kMostMappings);

}  // namespace

// One judgement: looks at the model as `delta` will leave it, without copying
// what the delta does not touch.
class DeltaJudge {
 public:
  // `delta.mappings` are not looked at: `mappings` stand for them.
  DeltaJudge(const EdgeModel& model, const protocol::EdgeDelta& delta,
             std::span<const protocol::Mapping> mappings, const Limits& limits)
      : model_(model), delta_(delta), mappings_(mappings), limits_(limits) {}

  absl::StatusOr<Judgement> Run() {
    RETURN_IF_ERROR(JudgeSettings());
    RETURN_IF_ERROR(JudgeUplinks());
    RETURN_IF_ERROR(JudgeGroups());
    JudgeMappings();
    RETURN_IF_ERROR(CheckNothingLost());
    return std::move(result_);
  }

 private:
  using Listener = protocol::Listener;
  using Group = protocol::Group;

  absl::Status JudgeSettings();
  absl::Status JudgeUplinks();
  absl::Status JudgeGroups();
  absl::Status CheckTimeouts() const;
  absl::Status CheckGroupAfter(const Group& group) const {
    return CheckGroup(group, *settings_, *uplinks_);
  }
  void JudgeMappings();
  void JudgeMapping(const protocol::Mapping& mapping);
  void Remove(const Listener& listener);
  bool IsOneMore(const Listener& listener) const;
  std::optional<Refusal> RefusalOf(const protocol::Mapping& mapping) const;
  std::optional<Refusal> PortRefusalOf(const Listener& listener) const;
  std::optional<Listener> OverlapOf(const Listener& listener) const;
  absl::Status CheckNothingLost() const;

  // nullptr when there will be none of that name.
  const Group* GroupAfter(const std::string& name) const {
    const auto changed = groups_.find(name);
    if (changed != groups_.end()) return changed->second;
    const auto found = model_.groups().find(name);
    return found == model_.groups().end() ? nullptr : &found->second;
  }

  const EdgeModel& model_;
  const protocol::EdgeDelta& delta_;
  const std::span<const protocol::Mapping> mappings_;
  const Limits& limits_;
  Judgement result_;

  // After the delta:
  const protocol::Settings* settings_ = nullptr;
  std::map<std::string, protocol::Uplink> new_uplinks_;  // if they change
  const std::map<std::string, protocol::Uplink>* uplinks_ = nullptr;
  std::map<std::string, const Group*> groups_;  // changed; nullptr: removed
  ListenerTable removed_;  // of the model's listeners; all have number 1
  ListenerTable taken_;    // upserts that are accepted or change nothing
  int64_t count_ = 0;      // of mappings, as far as they are judged
  std::map<std::string, int64_t> mapping_changes_;  // by group
};

absl::Status DeltaJudge::JudgeSettings() {
  settings_ = &model_.settings();
  if (!delta_.settings || *delta_.settings == model_.settings()) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(CheckSettings(*delta_.settings, limits_));
  settings_ = &*delta_.settings;
  result_.accepted.settings = delta_.settings;
  return absl::OkStatus();
}

absl::Status DeltaJudge::JudgeUplinks() {
  uplinks_ = &model_.uplinks();
  if (delta_.uplinks.empty() && delta_.removed_uplinks.empty()) {
    return absl::OkStatus();
  }
  new_uplinks_ = model_.uplinks();
  uplinks_ = &new_uplinks_;
  for (const auto& name : delta_.removed_uplinks) new_uplinks_.erase(name);
  for (const auto& uplink : delta_.uplinks) new_uplinks_[uplink.name] = uplink;
  RETURN_IF_ERROR(CheckUplinks(new_uplinks_));
  for (const auto& uplink : delta_.uplinks) {
    if (std::ranges::find(limits_.taken_keys, uplink.key) !=
        limits_.taken_keys.end()) {
      return InvalidArgument(
          "uplink {} has key {}, which is this edge's own or the control key",
          uplink.name, uplink.key.Short());
    }
  }

  for (const auto& [name, uplink] : model_.uplinks()) {
    if (!new_uplinks_.contains(name)) {
      result_.accepted.removed_uplinks.push_back(name);
    }
  }
  for (const auto& [name, uplink] : new_uplinks_) {
    const auto before = model_.uplinks().find(name);
    if (before == model_.uplinks().end() || before->second != uplink) {
      result_.accepted.uplinks.push_back(uplink);
    }
  }
  return absl::OkStatus();
}

absl::Status DeltaJudge::JudgeGroups() {
  for (const auto& name : delta_.removed_groups) groups_[name] = nullptr;
  for (const auto& group : delta_.groups) {
    RETURN_IF_ERROR(CheckGroupName(group.name));
    groups_[group.name] = &group;
  }
  size_t count = model_.groups().size();
  for (const auto& [name, group] : groups_) {
    const auto before = model_.groups().find(name);
    const bool exists = before != model_.groups().end();
    if (!group) {
      if (!exists) continue;
      result_.accepted.removed_groups.push_back(name);
      --count;
      continue;
    }
    if (!exists) ++count;
    if (exists && before->second.public_address != group->public_address) {
      return InvalidArgument(
          "group {} moves from {} to {}: that is another group", name,
          before->second.public_address.ToString(),
          group->public_address.ToString());
    }
    if (!exists || before->second != *group) {
      result_.accepted.groups.push_back(*group);
    }
  }
  if (count > protocol::kMostGroups) {
    return InvalidArgument("{} groups: at most {} are possible", count,
                           protocol::kMostGroups);
  }
  RETURN_IF_ERROR(CheckTimeouts());

  const auto& accepted = result_.accepted;
  if (accepted.settings || !accepted.removed_uplinks.empty()) {
    for (const auto& [name, group] : model_.groups()) {
      if (!groups_.contains(name)) RETURN_IF_ERROR(CheckGroupAfter(group));
    }
  }
  for (const auto& [name, group] : groups_) {
    if (group) RETURN_IF_ERROR(CheckGroupAfter(*group));
  }
  return absl::OkStatus();
}

absl::Status DeltaJudge::CheckTimeouts() const {
  const auto& changed = result_.accepted.groups;
  const bool has_any = std::ranges::any_of(
      changed, [](const Group& group) { return !group.timeouts.empty(); });
  if (!has_any) return absl::OkStatus();
  std::set<std::pair<Protocol, std::chrono::seconds>> timeouts;
  const auto add = [&timeouts](const Group& group) {
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      const auto seconds = group.timeouts.Of(protocol);
      if (seconds.count() > 0) timeouts.emplace(protocol, seconds);
    }
  };
  for (const auto& [name, group] : model_.groups()) {
    if (!groups_.contains(name)) add(group);
  }
  for (const auto& [name, group] : groups_) {
    if (group) add(*group);
  }
  if (timeouts.size() <= protocol::kMostTimeouts) return absl::OkStatus();
  return InvalidArgument(
      "groups: {} different timeouts; at most {} are possible", timeouts.size(),
      protocol::kMostTimeouts);
}

void DeltaJudge::JudgeMappings() {
  count_ = static_cast<int64_t>(model_.mapping_count());
  for (const auto& listener : delta_.removed_mappings) {
    if (model_.FindMapping(listener)) Remove(listener);
  }
  for (const auto& mapping : mappings_) JudgeMapping(mapping);

  auto& accepted = result_.accepted;
  removed_.ForEach([&](const Listener& listener, uint16_t) {
    --mapping_changes_[model_.FindMapping(listener)->name];
    accepted.removed_mappings.push_back(listener);
  });
  for (const auto& mapping : accepted.mappings) {
    ++mapping_changes_[mapping.group];
    const Group* before = model_.FindMapping(mapping.listener);
    if (before) --mapping_changes_[before->name];
  }
}

void DeltaJudge::Remove(const Listener& listener) {
  if (removed_.Find(listener) != 0) return;
  removed_.Set(listener, 1);
  --count_;
}

bool DeltaJudge::IsOneMore(const Listener& listener) const {
  return !model_.FindMapping(listener) || removed_.Find(listener) != 0;
}

void DeltaJudge::JudgeMapping(const protocol::Mapping& mapping) {
  const Listener& listener = mapping.listener;
  const Group* before = model_.FindMapping(listener);
  if (auto refusal = RefusalOf(mapping)) {
    // What is refused is not served, but for the first one of a duplicate.
    const bool is_taken = taken_.Find(listener) != 0;
    if (before && !is_taken) Remove(listener);
    result_.refusals.push_back(*std::move(refusal));
    return;
  }
  if (IsOneMore(listener)) ++count_;
  taken_.Set(listener, 1);
  removed_.Erase(listener);
  if (before && before->name == mapping.group) return;
  result_.accepted.mappings.push_back(mapping);
}

std::optional<Refusal> DeltaJudge::RefusalOf(
    const protocol::Mapping& mapping) const {
  const Listener& listener = mapping.listener;
  const auto refuse = [&](std::string reason, std::string why) {
    return Refusal{listener, std::move(reason),
                   fmt::format("{} {}", listener.ToString(), why)};
  };
  if (auto refusal = PortRefusalOf(listener)) return refusal;
  if (!FindPublicAddress(*settings_, listener.public_address)) {
    return refuse("UnknownPublicAddress",
                  "is on an address that this edge does not have");
  }
  if (!listener.public_address.is_ipv4() && !settings_->network6) {
    return refuse("WrongFamily",
                  fmt::format("cannot be carried by overlay network {}: "
                              "families are not translated",
                              limits_.overlay.network().ToString()));
  }
  const Group* group = GroupAfter(mapping.group);
  if (!group) {
    return refuse("UnknownGroup", fmt::format("points to group {}, which does "
                                              "not exist",
                                              mapping.group));
  }
  if (group->public_address != listener.public_address) {
    return refuse("WrongGroup",
                  fmt::format("points to group {}, which is of {}", group->name,
                              group->public_address.ToString()));
  }
  if (group->timeouts.Of(listener.protocol).count() != 0 &&
      !limits_.no_timeouts.empty()) {
    return refuse(
        "TimeoutsNotAvailable",
        fmt::format("has a timeout of its own, and {}", limits_.no_timeouts));
  }
  if (taken_.Find(listener) != 0) {
    return refuse("DuplicateListener", "is mapped twice");
  }
  if (const auto other = OverlapOf(listener)) {
    return refuse(
        "OverlappingRange",
        fmt::format("overlaps {}, which is mapped", other->ToString()));
  }
  if (count_ >= kMaxMappings && IsOneMore(listener)) {
    return refuse(
        "TooManyMappings",
        fmt::format("is one too many: an edge has at most {}", kMaxMappings));
  }
  return std::nullopt;
}

std::optional<Refusal> DeltaJudge::PortRefusalOf(
    const Listener& listener) const {
  const auto refuse = [&](std::string reason, std::string why) {
    return Refusal{listener, std::move(reason),
                   fmt::format("{} {}", listener.ToString(), why)};
  };
  const PortRange& ports = listener.ports;
  if (ports.first == 0 || ports.last < ports.first) {
    return refuse("InvalidPort", "is not a port or range of 1 to 65535");
  }
  if (listener.protocol == Protocol::kUdp &&
      ports.Contains(limits_.listen_port)) {
    return refuse("TunnelPort", fmt::format("takes port {}/udp, which carries "
                                            "the tunnel (WireGuard)",
                                            limits_.listen_port));
  }
  for (const ReservedPort& reserved : limits_.reserved) {
    if (reserved.protocol == listener.protocol &&
        ports.Contains(reserved.port)) {
      return refuse("ReservedPort",
                    fmt::format("takes port {}/{}, which is reserved on this "
                                "edge (reservedPorts)",
                                reserved.port, ToString(reserved.protocol)));
    }
  }
  return std::nullopt;
}

// The first other listener that will be there and shares a port.
std::optional<protocol::Listener> DeltaJudge::OverlapOf(
    const Listener& listener) const {
  Listener other = listener;
  if (const auto entry = taken_.FirstOverlap(listener)) {
    other.ports = entry->ports;
    return other;
  }
  Listener rest = listener;
  while (const auto entry = model_.listeners_.FirstOverlap(rest)) {
    other.ports = entry->ports;
    if (other != listener && removed_.Find(other) == 0) return other;
    if (entry->ports.last >= listener.ports.last) break;
    rest.ports.first = entry->ports.last + 1;
  }
  return std::nullopt;
}

// What goes away is not mapped any more.
absl::Status DeltaJudge::CheckNothingLost() const {
  for (const auto& name : result_.accepted.removed_groups) {
    const auto change = mapping_changes_.find(name);
    const int64_t left =
        model_.MappingsOf(name) +
        (change == mapping_changes_.end() ? 0 : change->second);
    if (left > 0) {
      return InvalidArgument("group {} is removed while {} mappings use it",
                             name, left);
    }
  }
  if (!result_.accepted.settings) return absl::OkStatus();
  for (const auto& address : model_.settings().public_addresses) {
    if (FindPublicAddress(*settings_, address.address)) continue;
    const size_t left = model_.listeners_.CountOn(address.address) -
                        removed_.CountOn(address.address);
    if (left > 0) {
      return InvalidArgument(
          "public address {} is removed while {} mappings listen on it",
          address.address.ToString(), left);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Judgement> EdgeModel::Judge(const protocol::EdgeDelta& delta,
                                           const Limits& limits) const {
  return DeltaJudge(*this, delta, delta.mappings, limits).Run();
}

absl::StatusOr<Judgement> EdgeModel::JudgeSnapshot(
    const protocol::EdgeState& state, const Limits& limits) const {
  protocol::EdgeDelta delta{.settings = state.settings,
                            .uplinks = state.uplinks,
                            .groups = state.groups};
  for (const auto& [name, uplink] : uplinks_) {
    delta.removed_uplinks.push_back(name);  // upserts come after removals
  }
  for (const auto& [name, group] : groups_)
    delta.removed_groups.push_back(name);

  ListenerTable wanted;
  for (const auto& mapping : state.mappings) {
    const PortRange& ports = mapping.listener.ports;
    if (ports.first != 0 && ports.first <= ports.last) {
      wanted.Set(mapping.listener, 1);
    }
  }
  ForEachMapping([&](const protocol::Listener& listener, const auto&) {
    if (wanted.Find(listener) == 0) delta.removed_mappings.push_back(listener);
  });
  return DeltaJudge(*this, delta, state.mappings, limits).Run();
}

}  // namespace edged::edge
