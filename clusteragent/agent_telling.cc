// The part of Agent that says what came of it all.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "clusteragent/agent.h"

namespace edged::agent {

using SteadyClock = std::chrono::steady_clock;

// In the format of Prometheus.
std::string Agent::Metrics() const {
  size_t up = 0;
  for (const auto& [name, link] : links_) up += link->Report().tunnel_up;
  size_t mappings = 0;
  for (const EdgePlan& edge : planner_.plan().edges) {
    mappings += edge.mappings.size();
  }
  size_t ready = 0;
  for (const auto& [object, text] : told_ready_) {
    ready += text.starts_with("Ready=True");
  }
  std::string page;
  const auto gauge = [&page](std::string_view name, std::string_view help,
                             size_t value) {
    page += fmt::format(
        "# HELP clusteragent_{0} {1}\n# TYPE clusteragent_{0} gauge\n"
        "clusteragent_{0} {2}\n",
        name, help, value);
  };
  gauge("leader", "Whether this replica leads.", epoch_ ? 1 : 0);
  gauge("edges", "Edges that are served.", planner_.plan().edges.size());
  gauge("tunnels_up", "Edges whose tunnel is up from here.", up);
  gauge("mappings", "Listeners that are wanted on all edges.", mappings);
  gauge("objects", "Objects that have a status.", told_ready_.size());
  gauge("objects_ready", "Those that are Ready.", ready);
  gauge("uplink_applied", "Whether this host is as planned.", applied_ ? 1 : 0);
  return page;
}

void Agent::TellErrors() {
  const std::vector<std::string>& errors = control_plane_->mistakes().errors;
  for (const std::string& error : errors) {
    if (std::ranges::find(told_errors_, error) == told_errors_.end()) {
      spdlog::error("{}", error);
    }
  }
  told_errors_ = errors;
}

void Agent::TellSoon() {
  if (tell_timer_ != 0) return;
  tell_timer_ = loop_->After(kTellDelay, [this] { Tell(); });
}

bool Agent::IsSettled() const {
  if (SteadyClock::now() - term_began_ >= kSettling) return true;
  return std::ranges::none_of(links_, [](const auto& entry) {
    const EdgeLink& link = *entry.second;
    return link.registered() &&
           (!link.syncer() || !link.syncer()->progress().answered);
  });
}

void Agent::Tell() {
  tell_timer_ = 0;
  if (!control_plane_->ready()) return;
  std::optional<std::set<ObjectKey>> changed = Restate();
  if (changed) {
    for (const ObjectKey& key : *changed) LogReady(key);
  } else {
    std::erase_if(told_ready_, [this](const auto& entry) {
      return !statuses_.contains(entry.first);
    });
    for (const auto& [key, status] : statuses_) LogReady(key);
  }
  Telling telling{
      planner_.plan(),
      statuses_,
      std::move(changed),
      {},
      {},
      MakeUplinkStatus(planner_.plan(), reports_,
                       {.applied = applied_,
                        .trouble = trouble_,
                        .draining = stopping_,
                        .starting = SteadyClock::now() - began_ < kStarting})};
  for (const auto& [name, link] : links_) {
    telling.own_keys[name] = link->own_key();
    if (link->registered()) telling.joined[name] = link->enrolment();
  }
  telling.settled = IsSettled();
  control_plane_->Tell(telling);
}

std::optional<std::set<ObjectKey>> Agent::Restate() {
  const auto& invalid = control_plane_->mistakes().invalid;
  for (const auto& [key, why] : invalid) told_invalid_.insert(key);
  std::set<ObjectKey> keys = std::exchange(restate_objects_, {});
  keys.insert(told_invalid_.begin(), told_invalid_.end());
  std::erase_if(told_invalid_,
                [&](const ObjectKey& key) { return !invalid.contains(key); });
  const std::set<std::string> edges = std::exchange(restate_edges_, {});
  if (std::exchange(restate_all_, false)) {
    reports_.clear();
    for (const auto& [name, link] : links_) reports_[name] = link->Report();
    statuses_ = MakeStatus(planner_.plan(), reports_);
    for (const auto& [key, why] : invalid) {
      TellInvalid(key, why.generation, why.message, statuses_);
    }
    return std::nullopt;
  }
  for (const std::string& edge : edges) {
    const auto link = links_.find(edge);
    if (link == links_.end()) {
      reports_.erase(edge);
    } else {
      EdgeReport report = link->second->Report();
      if (std::exchange(reports_[edge], report) == report) continue;
    }
    keys.merge(planner_.ObjectsOf(edge));
  }
  for (const ObjectKey& key : keys) RestateObject(key);
  return keys;
}

void Agent::RestateObject(const ObjectKey& key) {
  if (auto status = MakeStatusOf(key, planner_.plan(), reports_)) {
    statuses_.insert_or_assign(key, *std::move(status));
  } else {
    statuses_.erase(key);
  }
  const auto& invalid = control_plane_->mistakes().invalid;
  if (const auto why = invalid.find(key); why != invalid.end()) {
    TellInvalid(key, why->second.generation, why->second.message, statuses_);
  }
}

void Agent::LogReady(const ObjectKey& key) {
  const auto status = statuses_.find(key);
  const Condition* condition =
      status == statuses_.end() ? nullptr : status->second.Find("Ready");
  if (condition == nullptr) {
    told_ready_.erase(key);
    return;
  }
  std::string text = fmt::format("Ready={} {} {}", ToString(condition->status),
                                 condition->reason, condition->message);
  std::string& told = told_ready_[key];
  // Who does not lead does not know.
  if (epoch_ && told != text) spdlog::info("{}: {}", key.ToString(), text);
  told = std::move(text);
}

}  // namespace edged::agent
