// The part of UplinkKeeper that puts right what others change.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "clusteragent/uplink/uplink_keeper.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Peers have no events: they are right again within a second, but with so many
// tunnels or so slow answers that looking would take more than a tenth of the
// time.
constexpr auto kPeersInterval = std::chrono::milliseconds(500);
constexpr int kPeersShare = 10;
// Others may change routes and links all the time.
constexpr auto kPlanPause = std::chrono::milliseconds(200);
constexpr auto kFlowsAfterDrift = std::chrono::seconds(1);
constexpr char kUnknown[] = "changes that the kernel could not tell";

}  // namespace

void UplinkKeeper::Start() {
  auto watch = KernelWatch::Start(
      loop_,
      {.nft = kernel_.nft->port(),
       .rtnetlink = kernel_.rtnetlink.socket().port()},
      {.table =
           [this](const nftables::Event& event) {
             if (event.table != plan_.table.name) return;
             const Culprit by{event.pid, event.process, event.port};
             if (event.object == nftables::EventObject::kTable) {
               damage_.table.AddWhole(DescribeEvent(event), by);
             } else {
               damage_.table.Add(DescribeEvent(event), by);
             }
           },
       .network =
           [this](const netlink::RouteEvent& event) {
             beside_ = true;
             if (!ConcernsUplink(event, plan_, devices_)) return;
             damage_.network.Add(netlink::DescribeEvent(event),
                                 {.port = event.port});
           },
       .table_lost = [this] { damage_.table.Add(kUnknown, {}); },
       .network_lost =
           [this] {
             beside_ = true;
             damage_.network.Add(kUnknown, {});
           },
       .done = [this] { OnKernelEvents(); }});
  if (watch.ok()) {
    watch_ = *std::move(watch);
  } else {
    spdlog::error("others' changes are not seen: {}", Message(watch.status()));
  }
  loop_.After(kPeersInterval, [this] { CheckPeers(); });
}

// Repairs in a call of its own: this one may come from the middle of a write.
void UplinkKeeper::OnKernelEvents() {
  if (std::exchange(beside_, false) && beside_timer_ == 0) {
    const auto pause = begun_ + kPlanPause - SteadyClock::now();
    beside_timer_ = loop_.After(std::max(pause, pause.zero()), [this] {
      beside_timer_ = 0;
      compare_all_ = true;
      owner_.PlanSoon();
    });
  }
  const uint64_t changes = damage_.table.changes() + damage_.network.changes();
  if (changes == 0 || repair_timer_ != 0) return;
  damage_.since = SteadyClock::now();
  repair_timer_ = loop_.After({}, [this] { Repair(); });
}

void UplinkKeeper::Repair() {
  const bool was_flooded = pace_.flood() != nullptr;
  const auto wait = pace_.WaitFor(
      SteadyClock::now(),
      damage_.table.changes() > 0 ? damage_.table.by() : damage_.network.by());
  if (!was_flooded && pace_.flood()) {
    spdlog::warn("{}", pace_.flood()->ToString());
    Announce(*pace_.flood());
  }
  if (wait > wait.zero()) {
    watch_->Pause();
    repair_timer_ = loop_.After(wait, [this] { Repair(); });
    return;
  }
  watch_->Resume();  // what it reads belongs to this repair
  repair_timer_ = 0;
  const Damage damage = std::exchange(damage_, Damage());
  // What passed meanwhile may have gone anywhere.
  if (damage.table.changes() > 0 && flows_) flows_->Doubt();
  if (!applied_) return;  // the next plan sees it all
  const auto start = SteadyClock::now();
  if (damage.table.changes() > 0) {
    const Uplink::Outcome outcome = uplink_.RepairTable(plan_);
    flows_stand_ = outcome.status.ok();
    Conclude({DriftPart::kTable, damage.table.What(), damage.table.by()},
             outcome, damage.since);
    if (flows_timer_ == 0) {
      flows_timer_ =
          loop_.After(kFlowsAfterDrift, [this] { DeleteStaleFlows(); });
    }
  }
  if (damage.network.changes() > 0) {
    const Uplink::Outcome outcome = uplink_.RepairDevices(plan_);
    TellCarried(outcome);
    Conclude({DriftPart::kNetwork, damage.network.What(), damage.network.by()},
             outcome, damage.since);
  }
  const auto end = SteadyClock::now();
  pace_.Repaired(end, end - start,
                 damage.table.changes() + damage.network.changes());
}

// Of one tunnel after the other, so that no answer that takes its time holds up
// more than itself.
void UplinkKeeper::CheckPeers() {
  const auto begun = SteadyClock::now();
  if (const auto flood = pace_.TakeEnd(begun)) {
    spdlog::warn("{}", flood->ToString());
    Announce(*flood);
  }
  SteadyClock::duration pause = kPeersInterval;
  const auto& devices = plan_.devices;
  if (applied_ && !devices.empty()) {
    if (next_checked_ >= devices.size()) next_checked_ = 0;
    pause /= devices.size();
    Conclude(
        {DriftPart::kTunnel, "peers or keys are not as they were left", {}},
        uplink_.RepairPeers(devices[next_checked_++]), begun);
    pause = std::max(pause, (SteadyClock::now() - begun) * kPeersShare);
  }
  loop_.After(std::chrono::ceil<std::chrono::milliseconds>(pause),
              [this] { CheckPeers(); });
}

void UplinkKeeper::Conclude(Drift drift, const Uplink::Outcome& outcome,
                            SteadyClock::time_point since) {
  if (!outcome.status.ok()) {
    applied_ = false;
    unrepaired_ = Unrepaired{std::move(drift), since};
    owner_.PlanSoon();
    return;
  }
  if (outcome.written.empty()) return;  // it was not ours, or is right again
  drift.repair = outcome.written;
  drift.took = SteadyClock::now() - since;
  if (pace_.flood()) return;
  spdlog::warn("{}", drift.ToString());
  Announce(drift);
}

void UplinkKeeper::Announce(const std::variant<Drift, Flood>& repair) {
  const auto now = SteadyClock::now();
  if (const auto news = news_.Add(repair, now)) {
    owner_.Announce(*news);
  }
  if (news_timer_ != 0 || !news_.due()) return;
  news_timer_ = loop_.After(*news_.due() - now, [this] { AnnounceDue(); });
}

void UplinkKeeper::AnnounceDue() {
  news_timer_ = 0;
  const auto now = SteadyClock::now();
  if (const auto news = news_.Due(now)) {
    owner_.Announce(*news);
  }
  if (!news_.due()) return;  // else the clock was not there yet
  news_timer_ = loop_.After(*news_.due() - now, [this] { AnnounceDue(); });
}

// What a plan has put right before the kernel's word of it was read.
Drift UplinkKeeper::DriftUnderPlan() {
  if (watch_) watch_->CatchUp();
  if (damage_.network.changes() > 0) {
    return {DriftPart::kNetwork, damage_.network.What(), damage_.network.by()};
  }
  if (damage_.table.changes() > 0) {
    return {DriftPart::kTable, damage_.table.What(), damage_.table.by()};
  }
  return {DriftPart::kNetwork, "something is not as it was left", {}};
}

}  // namespace edged::agent
