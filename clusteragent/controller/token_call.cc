#include "clusteragent/controller/token_call.h"

#include <memory>
#include <optional>
#include <utility>

#include "clusteragent/controller/control_key.h"
#include "clusteragent/kube/json_reading.h"
#include "clusteragent/source/memory_json.h"
#include "common/protocol/token.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Text;
using nlohmann::json;

// Calls that wait for their answers, on a loop of their own.
class Caller {
 public:
  static absl::StatusOr<std::unique_ptr<Caller>> Create(
      const kube::ClientConfig& config) {
    auto caller = std::make_unique<Caller>();
    ASSIGN_OR_RETURN(caller->loop_, EventLoop::Create());
    ASSIGN_OR_RETURN(caller->client_,
                     kube::RestClient::Create(*caller->loop_, config));
    return caller;
  }

  absl::StatusOr<json> Get(const kube::ObjectRef& object) {
    client_->Get(object, Taker());
    return Wait();
  }
  absl::StatusOr<json> Patch(const kube::ObjectRef& object, const json& patch) {
    client_->MergePatch(object, patch, Taker());
    return Wait();
  }

 private:
  kube::RestClient::Done Taker() {
    return [this](absl::StatusOr<json> answer) {
      answer_ = std::move(answer);
      loop_->Stop();
    };
  }
  absl::StatusOr<json> Wait() {
    loop_->Run();
    return *std::exchange(answer_, std::nullopt);
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<kube::RestClient> client_;
  std::optional<absl::StatusOr<json>> answer_;
};

absl::StatusOr<PrivateKey> ControlKey(Caller& caller,
                                      const std::string& name_space) {
  const auto object =
      caller.Get({kube::kSecrets, name_space, kControlSecret, ""});
  if (absl::IsNotFound(object.status())) {
    return FailedPrecondition(
        "{}; the agent makes it when it starts: is it running, and is this its "
        "--namespace?",
        Message(object.status()));
  }
  RETURN_IF_ERROR(object.status());
  return ReadControlKey(*object);
}

}  // namespace

absl::StatusOr<std::string> IssueKubeToken(const KubeOptions& options,
                                           const std::string& edge,
                                           std::chrono::seconds lifetime) {
  ASSIGN_OR_RETURN(const auto caller, Caller::Create(options.config));
  ASSIGN_OR_RETURN(const json node,
                   caller->Get({kube::kEdgeNodes, "", edge, ""}));
  const EdgeMemory memory = ReadMemory(Field(node, "status"));
  if (!memory.record) {
    return FailedPrecondition(
        "EdgeNode {}: no network was given to it yet; is an agent running, and "
        "what do its conditions say?",
        edge);
  }
  ASSIGN_OR_RETURN(
      const json system,
      caller->Get({kube::kNamespaces, "", kube::kSystemNamespace, ""}));
  ASSIGN_OR_RETURN(const PrivateKey control_key,
                   ControlKey(*caller, options.name_space));
  ASSIGN_OR_RETURN(const protocol::Token token,
                   protocol::IssueToken(
                       {.cluster_uid = Text(Field(system, "metadata", "uid")),
                        .edge = edge,
                        .listen_port = memory.record->listen_port,
                        .network = memory.record->network,
                        .control_key = control_key.Public()},
                       lifetime));
  RETURN_IF_ERROR(
      caller
          ->Patch({kube::kEdgeNodes, "", edge, "status"},
                  {{"status",
                    {{"token", TokenJson({token.id, token.expires,
                                          token.edge_key.Public()})}}}})
          .status());
  return Encode(token);
}

}  // namespace edged::agent
