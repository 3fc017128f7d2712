#include "clusteragent/core/status_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace edged::agent {
namespace {

Condition True(std::string type, std::string reason) {
  return {std::move(type), ConditionStatus::kTrue, std::move(reason), ""};
}

Condition False(std::string type, Refusal why) {
  return {std::move(type), ConditionStatus::kFalse, std::move(why.reason),
          std::move(why.message)};
}

Condition Make(std::string type, std::string reason,
               std::optional<Refusal> against) {
  return against ? False(std::move(type), *std::move(against))
                 : True(std::move(type), std::move(reason));
}

// "; the last trouble was: ..." where there is any.
std::string LastTrouble(const EdgeReport& report) {
  return report.trouble.empty() ? "" : "; last trouble: " + report.trouble;
}

// The mapping of `listener` in a state that may not be there.
const protocol::Mapping* Find(const protocol::EdgeState* state,
                              const protocol::Listener& listener) {
  if (state == nullptr) return nullptr;
  const auto found = std::ranges::lower_bound(state->mappings, listener, {},
                                              &protocol::Mapping::listener);
  if (found == state->mappings.end() || found->listener != listener) {
    return nullptr;
  }
  return &*found;
}

// One run of MakeStatus; the plan and the reports are borrowed.
class StatusMaker {
 public:
  StatusMaker(const Plan& plan, const EdgeReports& reports)
      : plan_(plan), reports_(reports) {}

  ObjectStatus OfEdge(const PlannedEdge& edge) const;
  ObjectStatus OfObject(const PlannedObject& object) const;

 private:
  const EdgeReport& Report(const std::string& edge) const {
    static const EdgeReport kNothing;
    const auto found = reports_.find(edge);
    return found == reports_.end() ? kNothing : found->second;
  }

  // Each gives what speaks against it, or nothing.
  std::optional<Refusal> AgainstEnrolled(const std::string& edge) const;
  std::optional<Refusal> AgainstTunnel(const std::string& edge) const;
  std::optional<Refusal> AgainstEdgeProgrammed(const PlannedEdge& edge) const;
  std::optional<Refusal> AgainstEdgeReady(const PlannedEdge& edge) const;
  std::optional<Refusal> AgainstProgrammed(const Placement& placement) const;
  std::optional<Refusal> AgainstReady(const Placement& placement) const;
  std::optional<Refusal> AgainstAccepted(const PlannedBinding& binding) const;

  // The first of `binding`'s listeners that `against` finds something wrong
  // with, after what the plan refused.
  template <typename Against>
  std::optional<Refusal> First(const PlannedBinding& binding,
                               Against against) const;

  std::map<std::string, std::string> ValuesOf(const EdgePlan& edge) const;

  const Plan& plan_;
  const EdgeReports& reports_;
};

std::optional<Refusal> StatusMaker::AgainstEnrolled(
    const std::string& edge) const {
  const EdgeReport& report = Report(edge);
  if (report.enrolled) return std::nullopt;
  if (!report.trouble.empty()) {
    return Refusal{
        reason::kNotEnrolled,
        fmt::format("EdgeNode {}: not enrolled: {}", edge, report.trouble)};
  }
  return Refusal{reason::kNotEnrolled,
                 fmt::format("EdgeNode {}: not enrolled; `clusteragent token "
                             "{}` gives the token for `edged join`",
                             edge, edge)};
}

std::optional<Refusal> StatusMaker::AgainstTunnel(
    const std::string& edge) const {
  if (auto refusal = AgainstEnrolled(edge)) return refusal;
  const EdgeReport& report = Report(edge);
  if (report.tunnel_up) return std::nullopt;
  return Refusal{reason::kTunnelDown,
                 fmt::format("EdgeNode {}: the tunnel is down{}", edge,
                             LastTrouble(report))};
}

std::optional<Refusal> StatusMaker::AgainstEdgeProgrammed(
    const PlannedEdge& edge) const {
  const std::string& name = edge.key.name;
  const EdgePlan* plan = plan_.Edge(name);
  if (plan == nullptr) {
    if (!edge.problems.empty()) return edge.problems.front();
    return Refusal{reason::kEdgeNodeNotReady,
                   fmt::format("EdgeNode {}: cannot be served", name)};
  }
  const EdgeReport& report = Report(name);
  // Of one in deletion it is asked whether it is cleared, not whether it will.
  const bool may_wait = report.settling && !edge.deleting;
  if (report.answered == nullptr ||
      (!may_wait && *report.answered != plan->wanted)) {
    return Refusal{reason::kNotProgrammed,
                   fmt::format("EdgeNode {}: has not confirmed the wanted "
                               "state yet{}",
                               name, LastTrouble(report))};
  }
  if (!report.refused.empty()) {
    const auto& [listener, why] = *report.refused.begin();
    return Refusal{
        reason::kRefusedByEdge,
        fmt::format("EdgeNode {}: refuses {} of {} mappings; {}: {}", name,
                    report.refused.size(), plan->mappings.size(),
                    listener.ToString(), why)};
  }
  return std::nullopt;
}

std::optional<Refusal> StatusMaker::AgainstEdgeReady(
    const PlannedEdge& edge) const {
  const std::string& name = edge.key.name;
  if (!edge.problems.empty()) return edge.problems.front();
  if (auto refusal = AgainstTunnel(name)) return refusal;
  if (auto refusal = AgainstEdgeProgrammed(edge)) return refusal;
  const EdgeReport& report = Report(name);
  if (report.carried != nullptr &&
      (report.settling || *report.carried == plan_.Edge(name)->wanted)) {
    return std::nullopt;
  }
  return Refusal{reason::kNotCarried,
                 fmt::format("EdgeNode {}: no uplink carries the wanted state "
                             "yet",
                             name)};
}

std::optional<Refusal> StatusMaker::AgainstProgrammed(
    const Placement& placement) const {
  const EdgeReport& report = Report(placement.edge);
  const auto refused = report.refused.find(placement.listener);
  if (refused != report.refused.end()) {
    return Refusal{reason::kRefusedByEdge,
                   fmt::format("{}: EdgeNode {} refuses it: {}",
                               placement.listener.ToString(), placement.edge,
                               refused->second)};
  }
  const EdgePlan* plan = plan_.Edge(placement.edge);
  const protocol::Mapping* wanted =
      Find(plan == nullptr ? nullptr : &plan->wanted, placement.listener);
  const protocol::Mapping* answered =
      Find(report.answered.get(), placement.listener);
  if (wanted != nullptr && answered != nullptr && *wanted == *answered) {
    return std::nullopt;
  }
  return Refusal{reason::kNotProgrammed,
                 fmt::format("{}: EdgeNode {} has not confirmed it yet{}",
                             placement.listener.ToString(), placement.edge,
                             LastTrouble(report))};
}

std::optional<Refusal> StatusMaker::AgainstReady(
    const Placement& placement) const {
  if (auto refusal = AgainstTunnel(placement.edge)) return refusal;
  if (auto refusal = AgainstProgrammed(placement)) return refusal;
  const EdgeReport& report = Report(placement.edge);
  if (Find(report.carried.get(), placement.listener) != nullptr) {
    return std::nullopt;
  }
  return Refusal{reason::kNotCarried,
                 fmt::format("{}: no uplink of EdgeNode {} "
                             "carries it yet",
                             placement.listener.ToString(), placement.edge)};
}

std::optional<Refusal> StatusMaker::AgainstAccepted(
    const PlannedBinding& binding) const {
  if (binding.refused) return binding.refused;
  for (const Placement& placement : binding.placements) {
    if (placement.refused) return placement.refused;
  }
  return std::nullopt;
}

template <typename Against>
std::optional<Refusal> StatusMaker::First(const PlannedBinding& binding,
                                          Against against) const {
  if (auto refusal = AgainstAccepted(binding)) return refusal;
  for (const Placement& placement : binding.placements) {
    if (auto refusal = (this->*against)(placement)) return refusal;
  }
  return std::nullopt;
}

std::map<std::string, std::string> StatusMaker::ValuesOf(
    const EdgePlan& edge) const {
  std::map<std::string, std::string> values = {
      {"address", edge.address},
      {"listenPort", fmt::format("{}", edge.listen_port)},
      {"network", edge.network.ToString()},
      {"network6", edge.wanted.settings.network6
                       ? edge.wanted.settings.network6->ToString()
                       : "none"},
      {"mtu", edge.mtu == 0 ? "auto" : fmt::format("{}", edge.mtu)},
      {"persistentKeepalive", fmt::format("{}", edge.keepalive_seconds)},
  };
  for (const auto& ip : edge.wanted.settings.public_addresses) {
    values[fmt::format("publicIPs[{}].index", ip.address.ToString())] =
        fmt::format("{}", ip.index);
  }
  for (const auto& [name, value] : Report(edge.edge).values) {
    values[name] = value;
  }
  return values;
}

ObjectStatus StatusMaker::OfEdge(const PlannedEdge& edge) const {
  const std::string& name = edge.key.name;
  ObjectStatus status{.object = edge.key,
                      .observed_generation = edge.generation};
  status.conditions = {
      Make("Enrolled", "Enrolled", AgainstEnrolled(name)),
      Make("TunnelUp", "TunnelUp", AgainstTunnel(name)),
      Make("Programmed", "Programmed", AgainstEdgeProgrammed(edge)),
      Make("Ready", "Ready", AgainstEdgeReady(edge)),
  };
  Condition& enrolled = status.conditions.front();
  if (enrolled.status == ConditionStatus::kTrue) {
    enrolled.message = Report(name).file_trouble;
  }
  if (const EdgePlan* plan = plan_.Edge(name)) status.values = ValuesOf(*plan);
  return status;
}

ObjectStatus StatusMaker::OfObject(const PlannedObject& object) const {
  ObjectStatus status{.object = object.key,
                      .observed_generation = object.generation};
  // What speaks against the object: its own mistake, or the first of its
  // bindings that something speaks against, with how many there are.
  struct Tally {
    std::optional<Refusal> first;
    size_t count = 0;
    void Note(const std::optional<Refusal>& refusal) {
      if (!refusal) return;
      if (count++ == 0) first = refusal;
    }
  };
  Tally accepted, programmed, ready;
  for (const PlannedBinding& binding : object.bindings) {
    accepted.Note(AgainstAccepted(binding));
    programmed.Note(First(binding, &StatusMaker::AgainstProgrammed));
    const auto refusal = First(binding, &StatusMaker::AgainstReady);
    ready.Note(refusal);
    BindingStatus& result = status.bindings.emplace_back();
    result.name = binding.name;
    for (const Placement& placement : binding.placements) {
      result.listeners.push_back(
          fmt::format("{} {}", placement.edge, placement.listener.ToString()));
    }
    result.ready = Make("Ready", "Serving", refusal);
  }
  const auto condition = [&object](const char* type, const Tally& tally) {
    if (object.refused) return False(type, *object.refused);
    if (tally.count == 0) return True(type, type);
    return False(type,
                 {tally.first->reason,
                  fmt::format("{} of {} bindings: {}", tally.count,
                              object.bindings.size(), tally.first->message)});
  };
  status.conditions = {condition("Accepted", accepted),
                       condition("Programmed", programmed),
                       condition("Ready", ready)};
  return status;
}

}  // namespace

std::string_view ToString(ConditionStatus status) {
  switch (status) {
    case ConditionStatus::kTrue:
      return "True";
    case ConditionStatus::kFalse:
      return "False";
    case ConditionStatus::kUnknown:
      break;
  }
  return "Unknown";
}

const Condition* ObjectStatus::Find(std::string_view type) const {
  const auto found = std::ranges::find(conditions, type, &Condition::type);
  return found == conditions.end() ? nullptr : &*found;
}

ObjectStatuses MakeStatus(const Plan& plan, const EdgeReports& reports) {
  const StatusMaker maker(plan, reports);
  ObjectStatuses statuses;
  for (const PlannedEdge& edge : plan.edge_nodes) {
    statuses[edge.key] = maker.OfEdge(edge);
  }
  for (const PlannedObject& object : plan.port_bindings) {
    statuses[object.key] = maker.OfObject(object);
  }
  return statuses;
}

std::vector<ObjectStatus> Listed(const ObjectStatuses& statuses) {
  std::vector<ObjectStatus> list;
  list.reserve(statuses.size());
  for (const auto& [key, status] : statuses) list.push_back(status);
  return list;
}

std::optional<ObjectStatus> MakeStatusOf(const ObjectKey& object,
                                         const Plan& plan,
                                         const EdgeReports& reports) {
  const StatusMaker maker(plan, reports);
  if (object.kind == Kind::kEdgeNode) {
    const PlannedEdge* edge = plan.EdgeNode(object);
    if (edge == nullptr) return std::nullopt;
    return maker.OfEdge(*edge);
  }
  const PlannedObject* planned = plan.Object(object);
  if (planned == nullptr) return std::nullopt;
  return maker.OfObject(*planned);
}

void TellInvalid(const ObjectKey& object, const InvalidObject& why,
                 ObjectStatuses& statuses) {
  ObjectStatus& status = statuses[object];
  status.object = object;
  status.observed_generation = why.generation;
  const auto refuse = [&](const char* type) {
    const auto condition =
        std::ranges::find(status.conditions, type, &Condition::type);
    const Condition invalid = False(type, {reason::kInvalid, why.message});
    if (condition == status.conditions.end()) {
      status.conditions.push_back(invalid);
    } else {
      *condition = invalid;
    }
  };
  if (object.kind != Kind::kEdgeNode) refuse("Accepted");
  refuse("Ready");
}

}  // namespace edged::agent
