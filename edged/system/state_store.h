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
  std::optional<IpPrefix> network;  // of the enrolment that it belongs to
  protocol::EdgeState state;
  std::map<PublicKey, SocketAddress> endpoints;  // where peers were last heard
  // Whose forwarding we switched on: they stay guarded for ever, whatever
  // becomes of our table.
  std::set<std::string> switched_interfaces;
  bool operator==(const StoredState&) const = default;
};

// STATE/state: checksummed, written atomically. Save() may be called by any
// thread, by one at a time.
class StateStore {
 public:
  explicit StateStore(std::string folder)
      : folder_(std::move(folder)), path_(folder_ + "/state") {}
  virtual ~StateStore() = default;
  const std::string& folder() const { return folder_; }

  // An empty state when there is no file. DataLoss when it is damaged, too long
  // or of a newer edged: the file is then kept aside as state.damaged, and
  // named. One that cannot be read
  // (permissions, a failing disk) stays where it is.
  absl::StatusOr<StoredState> Load();
  // What of it is not this edge's must not be overwritten by what is; the name
  // that it has now.
  std::string KeepAside();
  virtual absl::Status Save(const StoredState& state) const;
  absl::Status Remove();

 private:
  std::string folder_;
  std::string path_;
};

}  // namespace edged::edge
