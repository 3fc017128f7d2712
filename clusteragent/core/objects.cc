#include "clusteragent/core/objects.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

namespace edged::agent {

std::string_view ToString(Kind kind) {
  switch (kind) {
    case Kind::kEdgeNode:
      return "EdgeNode";
    case Kind::kPortBinding:
      return "PortBinding";
    case Kind::kService:
      return "Service";
  }
  return "";
}

std::string ObjectKey::ToString() const {
  return name_space.empty()
             ? fmt::format("{} {}", agent::ToString(kind), name)
             : fmt::format("{} {}/{}", agent::ToString(kind), name_space, name);
}

bool IsOlder(const ObjectMeta& a, const ObjectMeta& b) {
  if (a.created != b.created) {
    if (!a.created || !b.created) return a.created.has_value();
    return *a.created < *b.created;
  }
  return std::tie(a.name_space, a.name) < std::tie(b.name_space, b.name);
}

bool Selector::Matches(const Labels& labels) const {
  return std::ranges::all_of(match_labels, [&labels](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

std::string Selector::ToString() const {
  std::vector<std::string> parts;
  for (const auto& [name, value] : match_labels) {
    parts.push_back(fmt::format("{}={}", name, value));
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

bool EdgeNode::Allows(const std::string& name_space) const {
  return allowed_namespaces.empty() ||
         std::ranges::find(allowed_namespaces, name_space) !=
             allowed_namespaces.end();
}

bool PortBinding::Selects(const EdgeNode& node) const {
  if (edge_node) return *edge_node == node.meta.name;
  if (edge_node_selector) return edge_node_selector->Matches(node.meta.labels);
  return std::ranges::find(edge_nodes, node.meta.name) != edge_nodes.end();
}

std::vector<PublicIp> EdgeNode::PublicIps() const {
  if (!public_ips.empty()) return public_ips;
  const auto dialled = IpAddress::Parse(address);
  if (!dialled.ok()) return {};
  return {PublicIp{.address = *dialled}};
}

}  // namespace edged::agent
