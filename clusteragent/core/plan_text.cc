#include "clusteragent/core/plan_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <vector>

#include "clusteragent/core/text_table.h"
#include "common/protocol/overlay.h"

namespace edged::agent {
namespace {

constexpr std::string_view kIndent = "  ";

std::string SettingsText(const EdgePlan& edge) {
  const protocol::Settings& settings = edge.wanted.settings;
  std::vector<std::vector<std::string>> rows = {
      {"dial", fmt::format("{} port {}", edge.address, edge.listen_port)},
      {"network", edge.network.ToString()},
      {"network6", settings.network6 ? settings.network6->ToString() : "none"},
      {"tunnel",
       fmt::format("mtu {}, keepalive {} s",
                   edge.mtu == 0 ? "auto" : fmt::format("{}", edge.mtu),
                   edge.keepalive_seconds)},
      {"heartbeat", fmt::format("every {} ms, dead after {} missed",
                                settings.heartbeat_interval.count(),
                                settings.unhealthy_threshold)}};
  for (const protocol::PublicAddress& ip : settings.public_addresses) {
    rows.push_back(
        {"public",
         fmt::format(
             "{} (index {}{}{})", ip.address.ToString(), ip.index,
             ip.interface.empty() ? "" : " on " + ip.interface,
             ip.nic_address ? ", there " + ip.nic_address->ToString() : "")});
  }
  const auto overlay = protocol::Overlay::Create(edge.network);
  for (const protocol::Uplink& uplink : edge.wanted.uplinks) {
    rows.push_back(
        {"uplink",
         fmt::format(
             "{} ({}, key {})", uplink.name,
             overlay.ok() ? overlay->BlockPrefix(uplink.block).ToString() : "-",
             uplink.key.is_zero() ? "not known here" : uplink.key.Short())});
  }
  for (const protocol::Group& group : edge.wanted.groups) {
    rows.push_back({"group", fmt::format("{}: {} to [{}]", group.name,
                                         group.public_address.ToString(),
                                         fmt::join(group.uplinks, ", "))});
  }
  return AlignColumns(rows, kIndent);
}

constexpr size_t kShownEndpoints = 3;

// "10.0.0.5:80", "10.0.0.5, same port", "shop/web:http (10.1.0.1:80 by client)"
std::string TargetText(const PlannedMapping& planned) {
  const auto& endpoints = planned.backend.endpoints;
  const bool single = planned.mapping.listener.ports.is_single();
  std::string text;
  for (size_t i = 0; i < std::min(endpoints.size(), kShownEndpoints); ++i) {
    text += fmt::format(
        "{}{}", i == 0 ? "" : " ",
        single ? endpoints[i].ToString() : endpoints[i].address.ToString());
  }
  if (endpoints.size() > kShownEndpoints) {
    text += fmt::format(" and {} more", endpoints.size() - kShownEndpoints);
  }
  if (endpoints.empty()) text = "no endpoint";
  if (!single && !endpoints.empty()) text += ", same port";
  if (planned.backend.client_ip_affinity) text += ", by client";
  if (planned.service.empty()) return text;
  return fmt::format("{} ({})", planned.service, text);
}

std::string MappingsText(const EdgePlan& edge) {
  std::vector<std::vector<std::string>> rows;
  for (const PlannedMapping& planned : edge.mappings) {
    rows.push_back(
        {"map", planned.mapping.listener.ToString(), "to", TargetText(planned),
         planned.client_ip == ClientIp::kPreserve ? "Preserve" : "Masquerade",
         planned.binding.ToString()});
  }
  return AlignColumns(rows, kIndent);
}

// Every refusal once: a wrong object has the same one for each binding.
std::vector<std::string> Refusals(const Plan& plan) {
  std::vector<std::string> lines;
  std::set<std::string> seen;
  const auto add = [&](const Refusal& refusal) {
    std::string line = fmt::format("{}: {}", refusal.reason, refusal.message);
    if (seen.insert(line).second) lines.push_back(std::move(line));
  };
  for (const PlannedEdge& edge : plan.edge_nodes) {
    for (const Refusal& problem : edge.problems) add(problem);
  }
  for (const PlannedObject& object : plan.port_bindings) {
    if (object.refused) add(*object.refused);
    for (const PlannedBinding& binding : object.bindings) {
      if (binding.refused) add(*binding.refused);
      for (const Placement& placement : binding.placements) {
        if (placement.refused) add(*placement.refused);
      }
    }
  }
  return lines;
}

}  // namespace

std::string PlanText(const Plan& plan) {
  std::string text;
  for (const EdgePlan& edge : plan.edges) {
    text += fmt::format("EdgeNode {}\n{}{}", edge.edge, SettingsText(edge),
                        MappingsText(edge));
  }
  const std::vector<std::string> refusals = Refusals(plan);
  if (!refusals.empty()) text += "Refused\n";
  for (const std::string& line : refusals) {
    text += fmt::format("{}{}\n", kIndent, line);
  }
  if (text.empty()) text = "no EdgeNode and no PortBinding\n";
  return text;
}

}  // namespace edged::agent
