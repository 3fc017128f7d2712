#include "clusteragent/commands.h"

#include <sodium.h>

#include <variant>

#include "clusteragent/core/allocator.h"
#include "clusteragent/core/plan_text.h"
#include "clusteragent/core/planner.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/core/validate.h"
#include "clusteragent/source/manifest_dir.h"
#include "clusteragent/source/state_json.h"
#include "clusteragent/state_folder.h"
#include "common/files.h"
#include "common/protocol/token.h"
#include "common/status.h"

namespace edged::agent {
namespace {

Facts FactsWithout(const World& world, const std::string& uplink_name) {
  Facts facts;
  facts.own_uplink = uplink_name;
  UplinkFacts& own = facts.uplinks.emplace_back();
  own.name = uplink_name;
  for (const EdgeNode& node : world.edge_nodes) {
    own.keys.emplace(node.meta.name, PublicKey());
  }
  return facts;
}

std::string RandomId() {
  uint8_t bytes[8];
  randombytes_buf(bytes, sizeof bytes);
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

absl::StatusOr<std::string> PlanCommand(const std::string& manifests,
                                        const std::string& state,
                                        const std::string& uplink_name) {
  RETURN_IF_ERROR(ListFolder(manifests).status());
  const Snapshot snapshot = ManifestDir(manifests).Read();
  Records records;
  if (!state.empty()) {
    const auto text = ReadFile(state + "/records.json");
    if (text.ok()) {
      ASSIGN_OR_RETURN(records, RecordsFromJson(*text));
    }
  }
  const Facts facts = FactsWithout(snapshot.world, uplink_name);
  std::string result;
  for (const std::string& error : snapshot.errors) {
    result += "error: " + error + "\n";
  }
  return result +
         PlanText(MakePlan(snapshot.world,
                           Allocate(records, snapshot.world, facts), facts));
}

std::vector<std::string> ValidateCommand(
    const std::vector<std::string>& files) {
  std::vector<std::string> errors;
  for (const std::string& file : files) {
    const auto text = ReadFile(file);
    if (!text.ok()) {
      errors.emplace_back(Message(text.status()));
      continue;
    }
    const auto objects = ReadManifest(*text, file);
    if (!objects.ok()) {
      errors.emplace_back(Message(objects.status()));
      continue;
    }
    for (const ManifestObject& object : *objects) {
      const auto* binding = std::get_if<PortBinding>(&object.object);
      if (!binding) continue;
      const JudgedObject judged = Judge(*binding);
      const auto add = [&](const Refusal& refusal) {
        errors.push_back(fmt::format("{}: {}: {}", object.where, refusal.reason,
                                     refusal.message));
      };
      if (judged.refused) add(*judged.refused);
      for (const JudgedBinding& one : judged.bindings) {
        if (one.refused()) add(*one.refused());
      }
    }
  }
  return errors;
}

absl::StatusOr<std::string> StatusCommand(const std::string& state, bool json) {
  ASSIGN_OR_RETURN(const auto statuses, StateFolder(state).LoadStatuses());
  if (statuses.empty()) {
    return absl::NotFoundError(fmt::format(
        "{}/status: no status yet; is `clusteragent run` running?", state));
  }
  if (!json) return StatusTable(statuses);
  std::string text;
  for (const ObjectStatus& status : statuses) text += ToJson(status) + "\n";
  return text;
}

absl::StatusOr<std::string> TokenCommand(const std::string& edge,
                                         const std::string& manifests,
                                         const std::string& state,
                                         const std::string& uplink_name,
                                         std::chrono::seconds lifetime) {
  RETURN_IF_ERROR(ListFolder(manifests).status());
  const Snapshot snapshot = ManifestDir(manifests).Read();
  const StateFolder folder(state);
  ASSIGN_OR_RETURN(const ClusterIdentity identity, folder.Identity());
  const Facts facts = FactsWithout(snapshot.world, uplink_name);
  Allocation allocation;
  RETURN_IF_ERROR(folder
                      .UpdateRecords([&](const Records& records) {
                        allocation = Allocate(records, snapshot.world, facts);
                        return allocation.records;
                      })
                      .status());
  const auto record = allocation.records.edges.find(edge);
  if (record == allocation.records.edges.end()) {
    const auto problem = allocation.problems.find(edge);
    if (problem != allocation.problems.end() && !problem->second.empty()) {
      return FailedPrecondition("EdgeNode {}: {}", edge,
                                problem->second[0].message);
    }
    for (const std::string& error : snapshot.errors) {
      return FailedPrecondition("EdgeNode {}: not found; {}", edge, error);
    }
    return absl::NotFoundError(
        fmt::format("EdgeNode {}: no such object in {}", edge, manifests));
  }
  const protocol::Token token{
      .id = RandomId(),
      .cluster_uid = identity.uid,
      .edge = edge,
      .expires = std::chrono::floor<std::chrono::seconds>(
                     std::chrono::system_clock::now()) +
                 lifetime,
      .listen_port = record->second.listen_port,
      .network = record->second.network,
      .edge_key = PrivateKey::Generate(),
      .control_key = identity.control_key.Public()};
  RETURN_IF_ERROR(folder.SaveToken(
      edge, {token.id, token.expires, token.edge_key.Public()}));
  return Encode(token);
}

}  // namespace edged::agent
