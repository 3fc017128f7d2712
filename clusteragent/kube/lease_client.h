#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "clusteragent/kube/last_trouble.h"
#include "clusteragent/kube/leader_election.h"
#include "clusteragent/kube/rest_client.h"
#include "common/event_loop.h"

namespace edged::kube {

// A term of leadership, as edges know it: an edge obeys one cluster in its
// highest term.
struct Term {
  std::string cluster_uid;  // of namespace kube-system
  int64_t number = 0;
  bool operator==(const Term&) const = default;
};

// Attempts that end in time for the next ones.
RestSettings LeaseRestSettings();

// Leads, or waits to, by a Lease object: leader_election.h on a RestClient,
// which should have LeaseRestSettings(). Judges by a clock that goes on while
// the machine sleeps. Borrows loop and client.
class LeaseClient {
 public:
  struct Settings {
    std::string name_space;
    std::string name = "clusteragent";
    std::string identity;  // of this process alone
    LeaderElection::Timing timing;
    bool alone = false;  // see LeaderElection: written once, for each term
  };
  // `changed`: we lead in this term, or do not any more. `trouble`: why the
  // lease cannot be kept, once for each word; OK when it can again. `restored`:
  // the lease has an older version than before, so the cluster came back from a
  // backup; a watch from before may wait without a word until versions are
  // where they were. None may destroy the client.
  struct Told {
    std::function<void(const std::optional<Term>&)> changed;
    std::function<void(const absl::Status&)> trouble;
    std::function<void()> restored;
  };

  LeaseClient(EventLoop& loop, RestClient& client, Settings settings,
              Told told);
  LeaseClient(const LeaseClient&) = delete;
  ~LeaseClient();

  void Start();
  // For the end: another replica may lead at once. `done` when the API server
  // has it, or could not be told; we do not lead any more when this returns.
  void Release(std::function<void()> done);
  // See LeaderElection; the next renewal begins the new term.
  void Exceed(int64_t term);

  const std::optional<Term>& term() const { return term_; }
  // "edged/clusteragent"
  std::string LeaseName() const {
    return lease_.name_space + "/" + lease_.name;
  }
  // Who holds the lease as far as is known; empty: nobody.
  const std::string& holder() const { return election_.holder(); }

 private:
  void FindCluster();
  void Look();
  void Take(absl::StatusOr<nlohmann::json> object);
  void Write(std::optional<nlohmann::json> object, LeaseRecord record);
  void NoteVersion(const nlohmann::json& object);
  void LookIn(LeaderElection::Duration pause);
  // Tells when we began or ceased to lead, and looks again when a term ends
  // without a renewal.
  void Judge();
  void TellTrouble(const absl::Status& status);

  EventLoop& loop_;
  RestClient& client_;
  const Settings settings_;
  const Told told_;
  const ObjectRef lease_;
  LeaderElection election_;
  std::string cluster_uid_;
  std::optional<nlohmann::json> object_;  // as it was last read or written
  std::string version_;                   // of the last one
  std::optional<Term> term_;
  RestClient::CallId call_ = 0;
  EventLoop::TimerId look_timer_ = 0;
  EventLoop::TimerId lapse_timer_ = 0;
  LastTrouble trouble_;
};

}  // namespace edged::kube
