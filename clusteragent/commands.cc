#include "clusteragent/commands.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <map>
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
#include "common/utf8.h"

namespace edged::agent {
namespace {

Facts FactsOf(const UplinkHost& host) {
  Facts facts;
  facts.local_addresses = host.local_addresses;
  facts.host_routes = host.routes;
  facts.ipv6 = host.ipv6_trouble;
  return facts;
}

// The records with a network for every EdgeNode. Who has which block is not
// touched: the uplinks are the running agents' to know.
Allocation AllocateNetworks(const Records& records, const World& world,
                            const UplinkHost& host,
                            const std::string& cluster_uid) {
  Facts facts = FactsOf(host);
  facts.cluster_uid = cluster_uid;
  Allocation allocation = Allocate(records, world, facts);
  for (auto& [name, edge] : allocation.records.edges) {
    const auto before = records.edges.find(name);
    if (before != records.edges.end()) edge.blocks = before->second.blocks;
  }
  return allocation;
}

// Why the running agent could not write here now; empty when it could.
std::string DiskTrouble(const std::string& folder) {
  struct statvfs disk {};
  if (statvfs(folder.c_str(), &disk) != 0) return "";
  if ((disk.f_flag & ST_RDONLY) != 0) return "Read-only file system";
  return disk.f_bfree == 0 ? "No space left on device" : "";
}

// A mistake may hide an EdgeNode, which Allocate() would take for gone.
absl::Status CheckNoneHidden(const Records& records, const Snapshot& snapshot) {
  if (snapshot.errors.empty()) return absl::OkStatus();
  for (const auto& [name, record] : records.edges) {
    const bool found = std::ranges::any_of(
        snapshot.world.edge_nodes,
        [&name](const EdgeNode& node) { return node.meta.name == name; });
    if (!found) {
      return FailedPrecondition(
          "EdgeNode {} is not found where it was; mend this first: {}", name,
          snapshot.errors[0]);
    }
  }
  return absl::OkStatus();
}

// What is wrong with a binding, whatever else there is.
void AddMistakes(const ManifestObject& object,
                 std::vector<std::string>& errors) {
  const auto* binding = std::get_if<PortBinding>(&object.object);
  if (!binding) return;
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

}  // namespace

absl::StatusOr<std::string> PlanCommand(const std::string& manifests,
                                        const std::string& state,
                                        const std::string& uplink_name,
                                        const UplinkHost& host) {
  RETURN_IF_ERROR(ListFolder(manifests).status());
  const Snapshot snapshot = ManifestDir(manifests).Read();
  Records records;
  if (!state.empty()) {
    ASSIGN_OR_RETURN(records, StateFolder(state).LoadRecords());
  }
  Facts facts = FactsOf(host);
  facts.own_uplink = uplink_name;
  UplinkFacts& own = facts.uplinks.emplace_back();
  own.name = uplink_name;
  own.addresses = TellableAddresses(host.local_addresses);
  for (const EdgeNode& node : snapshot.world.edge_nodes) {
    own.keys.emplace(node.meta.name, PublicKey());
  }
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
  std::map<ObjectKey, std::string> first;  // where each object stands
  for (const std::string& file : files) {
    const auto text = ReadFileOrPipe(file);
    if (!text.ok()) {
      errors.push_back(Escaped(Message(text.status())));
      continue;
    }
    const auto documents = ReadDocuments(*text, Escaped(file));
    if (!documents.ok()) {
      errors.emplace_back(Message(documents.status()));
      continue;
    }
    for (const auto& document : *documents) {
      if (document.ok()) {
        const ObjectKey key = KeyOf(document->object);
        const auto [at, is_new] = first.try_emplace(key, document->where);
        if (!is_new) {
          errors.push_back(fmt::format("{}: {} stands at {} already",
                                       document->where, key.ToString(),
                                       at->second));
        }
        AddMistakes(*document, errors);
      } else {
        errors.emplace_back(Message(document.status()));
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
  std::string text;
  if (!json) {
    text = StatusTable(statuses);
    for (const std::string& error : StateFolder(state).LoadErrors()) {
      text += "error: " + Escaped(error) + "\n";
    }
    if (const std::string trouble = DiskTrouble(state); !trouble.empty()) {
      text += fmt::format(
          "error: StateNotDurable: {}: {}; this may be an old status\n", state,
          trouble);
    }
    return text;
  }
  for (const ObjectStatus& status : statuses) text += ToJson(status) + "\n";
  return text;
}

absl::StatusOr<std::string> TokenCommand(const std::string& edge,
                                         const std::string& manifests,
                                         const std::string& state,
                                         const UplinkHost& host,
                                         std::chrono::seconds lifetime) {
  RETURN_IF_ERROR(ListFolder(manifests).status());
  const Snapshot snapshot = ManifestDir(manifests).Read();
  const StateFolder folder(state);
  ASSIGN_OR_RETURN(const ClusterIdentity identity, folder.Identity());
  Allocation allocation;
  absl::Status hidden;
  RETURN_IF_ERROR(folder
                      .UpdateRecords([&](const Records& records) {
                        hidden = CheckNoneHidden(records, snapshot);
                        if (!hidden.ok()) return records;
                        allocation = AllocateNetworks(records, snapshot.world,
                                                      host, identity.uid);
                        return allocation.records;
                      })
                      .status());
  RETURN_IF_ERROR(hidden);
  const auto record = allocation.records.edges.find(edge);
  if (record == allocation.records.edges.end()) {
    const auto problem = allocation.problems.find(edge);
    if (problem != allocation.problems.end() && !problem->second.empty()) {
      return FailedPrecondition("{}", problem->second[0].message);
    }
    if (!snapshot.errors.empty()) {
      return FailedPrecondition("EdgeNode {}: not found; {}", edge,
                                snapshot.errors[0]);
    }
    return absl::NotFoundError(
        fmt::format("EdgeNode {}: no such object in {}", edge, manifests));
  }
  ASSIGN_OR_RETURN(
      const protocol::Token token,
      protocol::IssueToken({.cluster_uid = identity.uid,
                            .edge = edge,
                            .listen_port = record->second.listen_port,
                            .network = record->second.network,
                            .control_key = identity.control_key.Public()},
                           lifetime));
  RETURN_IF_ERROR(folder.SaveToken(
      edge, {token.id, token.expires, token.edge_key.Public()}));
  return Encode(token);
}

}  // namespace edged::agent
