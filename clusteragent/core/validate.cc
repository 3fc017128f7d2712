#include "clusteragent/core/validate.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "clusteragent/core/binding_judge.h"
#include "clusteragent/core/port_claims.h"

namespace edged::agent {
namespace {

std::optional<Refusal> JudgeWhole(const PortBinding& object) {
  if (object.kind == Kind::kService) return std::nullopt;
  const std::string name = object.Key().ToString();
  if (object.edge_node && object.edge_node_selector) {
    return Refusal{reason::kInvalidEdgeNodeRef,
                   name +
                       ": spec: has both edgeNodeRef and edgeNodeSelector; "
                       "one of them says which edges"};
  }
  if (!object.edge_node && !object.edge_node_selector) {
    return Refusal{reason::kInvalidEdgeNodeRef,
                   name +
                       ": spec: has neither edgeNodeRef nor "
                       "edgeNodeSelector"};
  }
  if (object.edge_node && object.edge_node->empty()) {
    return Refusal{reason::kInvalidEdgeNodeRef,
                   name + ": spec.edgeNodeRef.name: is empty"};
  }
  if (object.bindings.empty()) {
    return Refusal{reason::kNoBindings, name + ": spec.bindings: is empty"};
  }
  return std::nullopt;
}

std::string PathOf(const PortBinding& object, size_t index) {
  return fmt::format("{}: spec.bindings[{}]", object.Key().ToString(), index);
}

// Of two bindings with one name the later one is refused whatever it says: its
// status could not be told from the other's.
void RefuseDuplicateNames(const PortBinding& object,
                          std::vector<JudgedBinding>& bindings) {
  std::map<std::string, size_t> first;
  for (JudgedBinding& binding : bindings) {
    const auto [at, is_new] = first.try_emplace(binding.name, binding.index);
    if (is_new || binding.name.empty()) continue;
    binding.verdict = Refusal{
        reason::kDuplicateName,
        fmt::format("{}.name: \"{}\" is the name of spec.bindings[{}] already",
                    PathOf(object, binding.index), binding.name, at->second)};
  }
}

// Bindings that name the same public address in the same way. What "*" and the
// first address come to is known only beside an edge: the planner settles that.
void RefuseRepeatedListeners(const PortBinding& object,
                             std::vector<JudgedBinding>& bindings) {
  std::map<std::pair<PublicIpChoice, Protocol>, PortClaims> claims;
  for (JudgedBinding& binding : bindings) {
    const ValidBinding* valid = binding.valid();
    if (valid == nullptr) continue;
    PortClaims& ports = claims[{valid->public_ip, valid->protocol}];
    const auto owner = ports.OwnerOf(valid->ports);
    if (!owner) {
      ports.Claim(valid->ports, binding.index);
      continue;
    }
    binding.verdict = Refusal{
        reason::kListenerConflict,
        fmt::format("{}: \"{}\" listens on {}/{}, which \"{}\" "
                    "(spec.bindings[{}]) of the same object has",
                    PathOf(object, binding.index), binding.name,
                    edged::ToString(valid->protocol), valid->ports.ToString(),
                    bindings[*owner].name, *owner)};
  }
}

}  // namespace

JudgedObject Judge(const PortBinding& object) {
  JudgedObject judged{.refused = JudgeWhole(object)};
  for (size_t i = 0; i < object.bindings.size(); ++i) {
    const Binding& binding = object.bindings[i];
    judged.bindings.push_back(
        {.index = i,
         .name = binding.name,
         .verdict = BindingJudge(binding, PathOf(object, i)).Judge()});
  }
  RefuseDuplicateNames(object, judged.bindings);
  RefuseRepeatedListeners(object, judged.bindings);
  return judged;
}

}  // namespace edged::agent
