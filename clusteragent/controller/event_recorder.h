#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clusteragent/core/happening.h"
#include "clusteragent/core/objects.h"
#include "clusteragent/core/status_plan.h"
#include "clusteragent/kube/rest_client.h"

namespace edged::agent {

// What is new between the status that an object has (`before`, as the API
// server knows it) and the one it gets. That something is under way is no news.
// Pure.
std::vector<Happening> NewsOf(const nlohmann::json& before,
                              const ObjectStatus& status);

// Writes Events of Kubernetes; those that it cannot write are lost, and what
// comes in floods, too. Belongs to the loop thread.
class EventRecorder {
 public:
  // Borrows the client. `instance`: this replica.
  EventRecorder(kube::RestClient& client, std::string instance);
  ~EventRecorder();

  void Record(const ObjectKey& object, const std::string& uid,
              const Happening& happening);

 private:
  kube::RestClient& client_;
  const std::string instance_;
  std::vector<kube::RestClient::CallId> calls_;
  uint64_t count_ = 0;
};

}  // namespace edged::agent
