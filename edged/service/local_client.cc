#include "edged/service/local_client.h"

#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <thread>

#include "common/status.h"
#include "edged/service/local_call.h"
#include "edged/service/status_text.h"

namespace edged::edge {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(50);

}  // namespace

absl::StatusOr<std::string> StateAsJson(const std::string& socket) {
  ASSIGN_OR_RETURN(const v1::GetStateResponse state,
                   LocalCall(socket).GetState());
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  const auto status =
      google::protobuf::util::MessageToJsonString(state, &json, options);
  if (!status.ok()) return Internal("state as json: {}", status.ToString());
  return json;
}

absl::StatusOr<std::string> StateAsTable(const std::string& socket) {
  ASSIGN_OR_RETURN(const v1::GetStateResponse state,
                   LocalCall(socket).GetState());
  return StatusText(state, std::chrono::system_clock::now());
}

absl::StatusOr<std::string> RotateKey(const std::string& socket,
                                      std::chrono::seconds patience) {
  LocalCall call(socket);
  ASSIGN_OR_RETURN(const v1::RotateKeyResponse rotation, call.RotateKey());
  if (!rotation.agent_connected()) {
    return fmt::format("no agent is connected; key {} follows {} when one is\n",
                       rotation.next_public_key(), rotation.public_key());
  }
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < deadline) {
    ASSIGN_OR_RETURN(const v1::GetStateResponse state, call.GetState());
    const v1::Tunnel& tunnel = state.tunnel();
    if (tunnel.next_public_key().empty()) {
      if (tunnel.public_key() == rotation.next_public_key()) {
        return fmt::format("key {} is in use instead of {}\n",
                           tunnel.public_key(), rotation.public_key());
      }
      return Unavailable(
          "nobody has shaken hands by key {}: {} is in use again",
          rotation.next_public_key(), tunnel.public_key());
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  return Unavailable("key {} is not in use after {} s; `edged status` tells",
                     rotation.next_public_key(), patience.count());
}

}  // namespace edged::edge
