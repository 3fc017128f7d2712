#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/keys.h"
#include "common/net_types.h"
#include "common/protocol/records.h"
#include "edged/core/edge_api.h"

namespace edged::edge {

// What edged keeps over a restart.
struct StoredState {
  std::optional<Epoch> epoch;
  protocol::EdgeState state;
  std::map<PublicKey, SocketAddress> endpoints;  // where peers were last heard
  // Whose forwarding we switched on: they stay guarded for ever, whatever
  // becomes of our table.
  std::set<std::string> switched_interfaces;
  bool operator==(const StoredState&) const = default;
};

// STATE/state: checksummed, written atomically.
class StateStore {
 public:
  explicit StateStore(std::string folder)
      : path_(std::move(folder) + "/state") {}

  // An empty state when there is no file. DataLoss when it is damaged: the file
  // is then kept aside as state.damaged, and named. One that cannot be read
  // (permissions, a failing disk) stays where it is.
  absl::StatusOr<StoredState> Load();
  absl::Status Save(const StoredState& state);
  absl::Status Remove();

 private:
  std::string path_;
};

}  // namespace edged::edge
