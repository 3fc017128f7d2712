#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/core/allocator.h"
#include "clusteragent/core/enrolment.h"
#include "clusteragent/core/key_replacement.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/core/uplink_plan.h"
#include "common/files.h"
#include "common/keys.h"

// The agent's memory where there is no Kubernetes: one folder, owned by one
// agent. `clusteragent token` may write beside a running agent; whatever both
// write is guarded by a lock of its own.
//   cluster.yaml       cluster UID and control key
//   epoch              leadership term, raised at each start
//   records.json       networks, blocks, indexes, numbers
//   tokens/EDGE.yaml   the token last given out for an edge
//   keys/EDGE.yaml     this uplink's key for an edge, who has registered it,
//   and
//                      the keys that the edge may have
//   devices            names of the devices that this agent made
//   switched-links     links that it switched to forwarding: "eth0", and for
//                      IPv6 "eth0 ipv6"
//   errors             what is wrong with the manifests
//   status/...         what is said about every object

namespace edged::agent {

// This uplink's key for an edge, and by which keys it knows the edge.
struct UplinkKey {
  PrivateKey own;
  PublicKey registered_with;  // the token's edge key; zero: not registered yet
  KnownEdgeKeys edge;
  bool operator==(const UplinkKey&) const = default;
};

class StateFolder {
 public:
  explicit StateFolder(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  // Held by a running agent. FailedPrecondition names the process that has it.
  absl::StatusOr<FileLock> LockForAgent() const;

  absl::StatusOr<ClusterIdentity> Identity() const;  // made at first use
  // 0 before the first. FailedPrecondition when its file is damaged: a term
  // that began at 1 again would be refused by every edge.
  absl::StatusOr<uint64_t> LastEpoch() const;
  absl::Status SetEpoch(uint64_t epoch) const;

  // Touches nothing; empty where there are none yet. DataLoss names a damaged
  // file.
  absl::StatusOr<Records> LoadRecords() const;
  // Reads, changes and writes under a lock; returns what was written. A damaged
  // file is kept aside as "records.json.damaged", or with a number behind, is
  // logged, and counts as empty.
  absl::StatusOr<Records> UpdateRecords(
      const std::function<Records(const Records&)>& change) const;

  // Nothing when no token was given out for the edge.
  absl::StatusOr<std::optional<IssuedToken>> LoadToken(
      const std::string& edge) const;
  absl::Status SaveToken(const std::string& edge,
                         const IssuedToken& token) const;
  // Or made. DataLoss names a damaged file.
  absl::StatusOr<UplinkKey> LoadKey(const std::string& edge) const;
  absl::Status SaveKey(const std::string& edge, const UplinkKey& key) const;
  // The same in the place of a damaged one, which is kept aside as
  // UpdateRecords() does; its new name.
  absl::StatusOr<std::string> MendKey(const std::string& edge,
                                      const UplinkKey& key) const;

  std::vector<std::string> LoadDevices() const;
  absl::Status SaveDevices(const std::vector<std::string>& devices) const;

  // Links whose forwarding this agent switched on.
  std::set<SwitchedLink> LoadSwitchedLinks() const;
  absl::Status SaveSwitchedLinks(const std::set<SwitchedLink>& links) const;

  // Writes what changed and removes what is not in `statuses`. This, the two
  // for single objects and SaveErrors() may be called by any thread, by one at
  // a time.
  absl::Status SaveStatuses(const std::vector<ObjectStatus>& statuses) const;
  absl::Status SaveStatus(const ObjectStatus& status) const;
  absl::Status RemoveStatus(const ObjectKey& object) const;
  absl::StatusOr<std::vector<ObjectStatus>> LoadStatuses() const;

  // What is wrong with the manifests, a sentence each; written when changed.
  absl::Status SaveErrors(const std::vector<std::string>& errors) const;
  std::vector<std::string> LoadErrors() const;

 private:
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  absl::StatusOr<FileLock> LockRecords() const;

  std::string path_;
};

}  // namespace edged::agent
