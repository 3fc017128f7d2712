#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/planner.h"
#include "common/protocol/records.h"

// Plan and reports of the edges become what is said about every object. Pure.

namespace edged::agent {

enum class ConditionStatus : uint8_t { kUnknown, kFalse, kTrue };
std::string_view ToString(ConditionStatus status);  // "True", ...

struct Condition {
  std::string type;  // "Ready"
  ConditionStatus status = ConditionStatus::kUnknown;
  std::string reason;
  std::string message;
  bool operator==(const Condition&) const = default;
};

// What is known of one edge's life now. States are equal when they are one.
struct EdgeReport {
  bool enrolled = false;
  bool tunnel_up = false;
  std::string trouble;  // the last error towards this edge, for people
  // A file of this uplink's own that cannot be read; it goes on without.
  std::string file_trouble;
  // The state that the edge last answered with an ACK or a partial refusal, and
  // what it refused of it; null: none in this run.
  std::shared_ptr<const protocol::EdgeState> answered;
  std::map<protocol::Listener, std::string> refused;
  // The state that an uplink carries and whose digest its heartbeat has told.
  std::shared_ptr<const protocol::EdgeState> carried;
  // What is wanted was another a moment ago (settling.h): that the edge does
  // not have it yet says nothing against the edge.
  bool settling = false;
  // Facts for the EdgeNode's status, for example "backend": "userspace".
  std::map<std::string, std::string> values;
  bool operator==(const EdgeReport&) const = default;
};
using EdgeReports = std::map<std::string, EdgeReport>;  // by EdgeNode name

struct BindingStatus {
  std::string name;
  std::vector<std::string> listeners;  // "vps 203.0.113.1 tcp/443"
  Condition ready;
  bool operator==(const BindingStatus&) const = default;
};

struct ObjectStatus {
  ObjectKey object;
  int64_t observed_generation = 0;
  std::vector<Condition> conditions;
  std::vector<BindingStatus> bindings;        // PortBinding only
  std::map<std::string, std::string> values;  // EdgeNode only: "network", ...

  const Condition* Find(std::string_view type) const;
  bool operator==(const ObjectStatus&) const = default;
};

using ObjectStatuses = std::map<ObjectKey, ObjectStatus>;

// EdgeNodes have Enrolled, TunnelUp, Programmed, Ready; PortBindings and
// exposed Services have Accepted, Programmed, Ready. A binding is Ready when
// every listener of it is programmed by its edge and carried by an uplink; an
// object when all of its bindings are. An EdgeNode stays what it is while a
// change is under way, unless it is in deletion.
ObjectStatuses MakeStatus(const Plan& plan, const EdgeReports& reports);
std::vector<ObjectStatus> Listed(const ObjectStatuses& statuses);  // by key

// Of one object; unset: the plan does not have it.
std::optional<ObjectStatus> MakeStatusOf(const ObjectKey& object,
                                         const Plan& plan,
                                         const EdgeReports& reports);

// An object that cannot be read as it is now.
struct InvalidObject {
  int64_t generation = 0;
  std::string message;  // names object, field and value
  bool operator==(const InvalidObject&) const = default;
};

// It is neither accepted nor ready; what was last read of it may have a status
// already.
void TellInvalid(const ObjectKey& object, const InvalidObject& why,
                 ObjectStatuses& statuses);

// The table that `clusteragent status` prints; lines end with '\n'.
std::string StatusTable(const std::vector<ObjectStatus>& statuses);

}  // namespace edged::agent
