#include "edged/core/health_policy.h"

#include <algorithm>

namespace edged::edge {
namespace {

// How much longer an uplink may be silent when its groups have nobody else.
constexpr int kLastResortFactor = 3;

}  // namespace

void HealthPolicy::Update(const EdgeModel& model, Time now, bool grace) {
  const Duration interval = model.settings().heartbeat_interval;
  if (interval != interval_) last_tick_.reset();  // the timer changes, too
  interval_ = interval;
  threshold_ = model.settings().unhealthy_threshold;
  std::map<std::string, Uplink> kept;
  for (const auto& [name, wanted] : model.uplinks()) {
    const auto known = uplinks_.find(name);
    if (known != uplinks_.end() && known->second.key == wanted.key) {
      kept.emplace(name, std::move(known->second));
      continue;
    }
    Uplink uplink{.key = wanted.key};
    if (grace) {
      uplink.heard = true;
      uplink.by_grace = true;
      uplink.ready = true;
      uplink.last_life = now;
    }
    kept.emplace(name, std::move(uplink));
  }
  uplinks_ = std::move(kept);
}

void HealthPolicy::ExtendGrace(Time now) {
  for (auto& [name, uplink] : uplinks_) {
    if (uplink.by_grace) uplink.last_life = now;
  }
}

bool HealthPolicy::HasGrace() const {
  return std::ranges::any_of(
      uplinks_, [](const auto& entry) { return entry.second.by_grace; });
}

void HealthPolicy::OnHeartbeat(const std::string& name,
                               const protocol::Heartbeat& heartbeat, Time now) {
  const auto found = uplinks_.find(name);
  if (found == uplinks_.end()) return;
  Uplink& uplink = found->second;
  if (!heartbeat.ready && (uplink.ready || !uplink.heard)) {
    uplink.unready_at = now;
  }
  uplink.heard = true;
  uplink.by_grace = false;
  uplink.ready = heartbeat.ready;
  uplink.draining = heartbeat.draining;
  uplink.last_life = now;
  uplink.heartbeat = heartbeat;
}

void HealthPolicy::OnReceivedBytes(const std::string& name, uint64_t total,
                                   Time now) {
  const auto found = uplinks_.find(name);
  if (found == uplinks_.end()) return;
  Uplink& uplink = found->second;
  // A smaller number is a peer that was made anew, no sign of life.
  const bool fresh = uplink.received_bytes && total > *uplink.received_bytes;
  uplink.received_bytes = total;
  if (fresh && uplink.heard) uplink.last_life = now;
}

void HealthPolicy::Tick(Time now) {
  if (last_tick_) {
    const Duration lateness = now - *last_tick_ - tick_interval();
    if (lateness > interval_ / 2) {
      for (auto& [name, uplink] : uplinks_) {
        uplink.last_life = std::min(uplink.last_life + lateness, now);
      }
    }
  }
  last_tick_ = now;
}

HealthPolicy::Duration HealthPolicy::PatienceWith(const Uplink& uplink) const {
  const Duration missed = interval_ * threshold_;
  return uplink.draining ? missed : missed * kLastResortFactor;
}

Health HealthPolicy::Judge(const Uplink& uplink, Time now) const {
  if (!uplink.heard) return Health::kDead;
  const Duration silence = now - uplink.last_life;
  if (silence > PatienceWith(uplink)) return Health::kDead;
  if (uplink.draining) return Health::kDraining;
  if (!uplink.ready) return Health::kDead;
  return silence > interval_ * threshold_ ? Health::kSuspect : Health::kAlive;
}

UplinkHealth HealthPolicy::Evaluate(Time now) const {
  UplinkHealth health;
  for (const auto& [name, uplink] : uplinks_) health[name] = Judge(uplink, now);
  return health;
}

std::optional<HealthPolicy::Duration> HealthPolicy::DeadFor(
    const std::string& name, Time now) const {
  const auto found = uplinks_.find(name);
  if (found == uplinks_.end()) return std::nullopt;
  const Uplink& uplink = found->second;
  if (!uplink.heard || Judge(uplink, now) != Health::kDead) return std::nullopt;
  Time since = uplink.last_life + PatienceWith(uplink);
  if (!uplink.ready && !uplink.draining) {
    since = std::min(since, uplink.unready_at);
  }
  return now - since;
}

const protocol::Heartbeat* HealthPolicy::LastHeartbeat(
    const std::string& name) const {
  const auto found = uplinks_.find(name);
  if (found == uplinks_.end() || !found->second.heartbeat) return nullptr;
  return &*found->second.heartbeat;
}

}  // namespace edged::edge
