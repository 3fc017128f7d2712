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
  gauge("uplink_applied", "Whether this host is as planned.",
        uplink_.applied() ? 1 : 0);
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
  std::map<std::string, EdgeEnrolment> joined;
  for (const auto& [name, link] : links_) {
    if (!link->registered()) continue;
    joined[name] = link->enrolment();
    const auto told = joined_.find(name);
    if (told == joined_.end() || told->second != joined[name]) {
      board_.NoteObject({Kind::kEdgeNode, "", name});
    }
  }
  joined_ = std::move(joined);
  std::optional<std::set<ObjectKey>> changed = board_.Restate(
      planner_, control_plane_->mistakes().invalid,
      [this](const std::string& edge) -> std::optional<EdgeReport> {
        const auto link = links_.find(edge);
        if (link == links_.end()) return std::nullopt;
        return link->second->Report();
      });
  if (changed) {
    for (const ObjectKey& key : *changed) LogReady(key);
  } else {
    for (const auto& [key, status] : board_.statuses()) LogReady(key);
  }
  Telling telling{
      planner_.plan(),
      board_.statuses(),
      std::move(changed),
      {},
      joined_,
      MakeUplinkStatus(planner_.plan(), board_.reports(),
                       {.applied = uplink_.applied(),
                        .trouble = trouble_,
                        .draining = stopping_,
                        .starting = SteadyClock::now() - began_ < kStarting})};
  if (const UplinkHost* host = uplink_.host()) {
    telling.own.addresses = TellableAddresses(host->local_addresses);
  }
  for (const auto& [name, link] : links_) {
    if (const auto key = link->own_key()) telling.own_keys[name] = *key;
  }
  telling.settled = IsSettled();
  control_plane_->Tell(telling);
}

void Agent::LogReady(const ObjectKey& key) {
  const auto status = board_.statuses().find(key);
  const Condition* condition = status == board_.statuses().end()
                                   ? nullptr
                                   : status->second.Find("Ready");
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
