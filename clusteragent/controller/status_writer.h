#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "clusteragent/kube/last_trouble.h"
#include "clusteragent/kube/resource.h"
#include "clusteragent/kube/rest_client.h"
#include "common/event_loop.h"

namespace edged::agent {

// Keeps parts of objects at what is wanted, by merge patches of what differs:
// nothing is sent where nothing does. One request for an object at a time; what
// comes meanwhile waits and the newest counts. What fails is tried again every
// few seconds. Belongs to the loop thread.
class StatusWriter {
 public:
  // The part of an object that is written: where it stands, and what of it is
  // ours.
  struct Part {
    std::string field;  // "status", "metadata"
    // Of what stands in `field`.
    std::function<nlohmann::json(const nlohmann::json& value)> ours;
    // Others write there, too: only what is still as it was known is written.
    bool guarded = false;
  };
  // Why this object cannot be written, once for each word; OK when it could
  // again.
  using Trouble =
      std::function<void(const kube::ObjectRef&, const absl::Status&)>;

  // Borrows loop and client.
  StatusWriter(EventLoop& loop, kube::RestClient& client, Trouble trouble);
  ~StatusWriter();

  // What the API server has: `value` in `version`, or what was written later.
  nlohmann::json Known(const kube::ObjectRef& object, const Part& part,
                       const nlohmann::json& value,
                       const std::string& version) const;
  // `value` and `version` as for Known().
  void Want(const kube::ObjectRef& object, const Part& part,
            const nlohmann::json& value, const std::string& version,
            nlohmann::json wanted);
  // What is not wanted between the two is not wanted any more.
  void BeginRound() { ++round_; }
  void EndRound();
  // Nothing is wanted any more, what is under way is given up.
  void Clear();
  // What no rule grants of what is wanted: "patch portbindings/status". Each
  // once.
  std::set<std::string> MissingVerbs() const;

 private:
  using Key = std::pair<std::string, std::string>;  // path, field
  struct Slot {
    kube::ObjectRef object;
    Part part;
    nlohmann::json known;
    std::string version;  // of `known`
    std::optional<nlohmann::json> wanted;
    // What was written last, and what the server made of it: where its schema
    // is another, it is not asked for the same again.
    nlohmann::json sent;
    nlohmann::json answered;
    kube::RestClient::CallId call = 0;
    bool failed = false;  // waits for the next try
    kube::LastTrouble trouble;
    std::string missing_verb;  // that is why it failed
    uint64_t round = 0;        // in which it was wanted last
  };

  static Key KeyOf(const kube::ObjectRef& object, const Part& part) {
    return {object.Path(), part.field};
  }
  void Write(const Key& key, Slot& slot);
  void OnWritten(const Key& key, const absl::StatusOr<nlohmann::json>& object);
  void TryAgain();

  EventLoop& loop_;
  kube::RestClient& client_;
  const Trouble trouble_;
  std::map<Key, Slot> slots_;
  uint64_t round_ = 0;
  EventLoop::TimerId again_timer_ = 0;
};

}  // namespace edged::agent
