// The part of Edge that puts right what others change.
#include <spdlog/spdlog.h>

#include <utility>

#include "common/status.h"
#include "edged/edge.h"
#include "edged/system/host_network.h"

namespace edged::edge {
namespace {

using SteadyClock = std::chrono::steady_clock;

// All connections and all mappings are looked through once after many repairs.
constexpr auto kFlowsAfterDrift = std::chrono::seconds(1);
constexpr auto kQuiet = std::chrono::seconds(3);

}  // namespace

void Edge::StartWatching() {
  auto watch = KernelWatch::Start(
      loop_, {.nft = nft_.port(), .rtnetlink = rtnetlink_port_},
      {.table =
           [this](const nftables::Event& event) { damage_.table.Add(event); },
       .network =
           [this](const netlink::RouteEvent& event) {
             if (dataplane_.Concerns(model_, event)) damage_.network.Add(event);
           },
       .table_lost = [this] { damage_.table.AddUnknown(); },
       .network_lost = [this] { damage_.network.AddUnknown(); },
       .done = [this] { OnDamage(); }});
  if (!watch.ok()) {
    spdlog::error("others' changes are not seen: {}", Message(watch.status()));
    return;
  }
  watch_ = *std::move(watch);
  nft_.Silence(&watch_->table_events(), [this] {
    damage_.table.AddUnknown();
    OnDamage();
  });
}

void Edge::StopWatching() {
  nft_.Silence(nullptr, nullptr);
  watch_.reset();
  damage_ = Damage();
  loop_.Cancel(std::exchange(repair_timer_, 0));
}

// Repairs in a call of its own: this one may come from the middle of a write.
void Edge::OnDamage() {
  if (damage_.empty() || repair_timer_ != 0) return;
  damage_.since = SteadyClock::now();
  repair_timer_ = loop_.After({}, [this] { Repair(); });
}

void Edge::Repair() {
  const bool was_flooded = pace_.flood() != nullptr;
  const Culprit by = damage_.table.empty() ? damage_.network.report().by()
                                           : damage_.table.report().by();
  const auto wait = pace_.WaitFor(SteadyClock::now(), by);
  if (!was_flooded && pace_.flood()) {
    Tell(*pace_.flood());
    SendReportIfChanged();
  }
  if (wait > wait.zero()) {
    watch_->Pause();
    repair_timer_ = loop_.After(wait, [this] { Repair(); });
    return;
  }
  watch_->Resume();  // what it reads belongs to this repair
  repair_timer_ = 0;
  const Damage damage = std::exchange(damage_, Damage());
  if (adopting_ || unrepaired_) return;  // the next Reconcile() sees it all
  const auto start = SteadyClock::now();
  RepairNow(damage);
  const auto end = SteadyClock::now();
  pace_.Repaired(
      end, end - start,
      damage.table.report().changes() + damage.network.report().changes());
}

void Edge::RepairNow(const Damage& damage) {
  if (!programmed_) {  // whatever was in the way may be gone
    loop_.Cancel(retry_timer_);
    Reconcile();
    return;
  }
  if (!damage.table.empty()) {
    auto written = dataplane_.RepairTable(model_, damage.table);
    if (!written.ok() && !damage.table.whole()) {
      TableDamage whole = damage.table;
      whole.AddUnknown();
      written = dataplane_.RepairTable(model_, whole);
    }
    Conclude({DriftPart::kTable, damage.table.report().What(),
              damage.table.report().by()},
             written, damage.since);
    flows_.Soon(FlowSearch::Everywhere(), kFlowsAfterDrift);
    AuditWhenQuiet();
  }
  if (!damage.network.empty()) {
    const auto written = RepairNetwork();
    Conclude({DriftPart::kNetwork, damage.network.report().What(),
              damage.network.report().by()},
             written, damage.since);
    if (written.ok() && !written->empty()) {
      flows_.Soon(FlowSearch::Everywhere(), kFlowsAfterDrift);
      uplinks_.Greet();
    }
  }
  SendReportIfChanged();
}

absl::StatusOr<std::string> Edge::RepairNetwork() {
  ASSIGN_OR_RETURN(std::string written,
                   dataplane_.RepairNetwork(model_, endpoints_));
  SaveSwitchedSoon();
  TellAstray();
  // The device may be another one, whoever has just made it.
  if (HearUplinks()) uplinks_.Greet();
  return written;
}

// After each ReconcileTunnel().
void Edge::TellAstray() {
  const AstrayNews news = NewsOfAstray(told_astray_, dataplane_.astray(),
                                       model_, dataplane_.facts());
  told_astray_ = dataplane_.astray();
  for (const std::string& text : news.begun) spdlog::warn("{}", text);
  for (const std::string& text : news.over) spdlog::info("{}", text);
}

// Peers have no events, and endpoints roam.
void Edge::CheckTunnel() {
  const auto now = SteadyClock::now();
  if (const auto flood = pace_.TakeEnd(now)) {
    Tell(*flood);
    SendReportIfChanged();
  }
  CheckConntrack();
  const auto device = dataplane_.Tunnel();
  if (!device.ok()) {
    ReconcileSoon();
    return;
  }
  const std::set<std::string> long_dead = uplinks_.LongDead();
  if (std::exchange(long_dead_, long_dead) != long_dead) {
    flows_.Soon(FlowSearch::Unserving());
  }
  if (programmed_ && !adopting_) {
    if (dataplane_.HasHiddenChange(model_)) ReconcileSoon();
    const auto written = dataplane_.RepairTunnel(model_, endpoints_, *device);
    if (!written.ok() || !written->empty()) {
      Conclude(
          {DriftPart::kTunnel, "peers or settings are not as they were left"},
          written, now);
      uplinks_.Greet();
      return;  // the endpoints of what was missing are still to be kept
    }
  }
  KeepPeers(*device);
  if (mtu_changed_) uplinks_.HeedSoon();
}

std::vector<HeardUplink> Edge::HeardUplinks() const {
  const HostFacts& facts = dataplane_.facts();
  std::vector<HeardUplink> heard;
  for (const auto& [name, uplink] : model_.uplinks()) {
    const auto outer = endpoints_.find(uplink.key);
    if (outer == endpoints_.end() ||
        HealthOf(facts.health, name) == Health::kDead) {
      continue;
    }
    heard.push_back(
        {limits_.overlay.UplinkAddress(uplink.block), outer->second});
  }
  return heard;
}

void Edge::CheckConntrack() {
  const std::string before = room_.Warning(overflow_.held());
  room_.Saw(ReadConntrackFill());
  absl::Status held;
  if (room_.is_full()) {
    held = overflow_.Hold(dataplane_.facts(), HeardUplinks());
  } else {
    overflow_.End();
  }
  const std::string now = room_.Warning(overflow_.held());
  if (now == before) return;
  if (now.empty()) {
    spdlog::info("the table of connections has room again");
  } else {
    spdlog::warn("{}", now);
    if (!held.ok()) spdlog::warn("table {}: {}", kOverflowTable, Message(held));
  }
  SendReportIfChanged();
}

// Every mapping, read back. Where they are not what was written, events have
// been missed: the next Reconcile() looks at everything.
absl::StatusOr<protocol::Digest> Edge::Audit() {
  ASSIGN_OR_RETURN(const protocol::Digest audited, dataplane_.Audit(model_));
  if (audited != dataplane_.ProgrammedDigest(model_)) {
    in_doubt_ = true;
    if (!unrepaired_) {
      unrepaired_ =
          Unrepaired{{DriftPart::kTable,
                      "an audit found other mappings than were written",
                      {}},
                     SteadyClock::now()};
    }
    ReconcileSoon();
  }
  return audited;
}

void Edge::AuditNowAndThen() {
  const bool repairs = repair_timer_ != 0 || unrepaired_;
  if (!programmed_ || adopting_ || repairs) return;  // they look themselves
  if (const auto audited = Audit(); !audited.ok()) {
    spdlog::warn("audit: {}", Message(audited.status()));
  }
}

void Edge::AuditWhenQuiet() {
  loop_.Cancel(quiet_timer_);
  quiet_timer_ = loop_.After(kQuiet, [this] {
    quiet_timer_ = 0;
    AuditNowAndThen();
  });
}

void Edge::Conclude(Drift drift, const absl::StatusOr<std::string>& written,
                    SteadyTime since) {
  if (!written.ok()) {
    unrepaired_ = Unrepaired{std::move(drift), since};
    ReconcileSoon();
    return;
  }
  if (written->empty()) return;  // it was not ours, or is right again
  drift.repair = *written;
  drift.took = SteadyClock::now() - since;
  if (!pace_.flood()) Tell(std::move(drift));
}

// A failure is told when it lasts: a program that is just ending, or a device
// that is half removed, is in the way for a moment only.
void Edge::ConcludeUnrepaired(const absl::StatusOr<std::string>& written) {
  if (!unrepaired_) return;
  if (written.ok()) {
    Conclude(std::move(unrepaired_->drift), written, unrepaired_->since);
    unrepaired_.reset();
  } else if (!std::exchange(unrepaired_->told, true)) {
    Drift drift = unrepaired_->drift;
    drift.error = std::string(Message(written.status()));
    drift.took = SteadyClock::now() - unrepaired_->since;
    Tell(std::move(drift));
  }
}

void Edge::Tell(std::variant<Drift, Flood> what) {
  std::visit([](const auto& drift) { spdlog::warn("{}", drift.ToString()); },
             what);
  if (tell_) tell_({std::chrono::system_clock::now(), std::move(what)});
}

}  // namespace edged::edge
