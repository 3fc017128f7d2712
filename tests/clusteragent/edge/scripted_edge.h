#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clusteragent/edge/edge_client.h"
#include "common/protocol/digested_state.h"

namespace edged::agent {

// An edge that answers as the test tells it and writes down what it hears:
//   open, hello 80 443
//   1: snapshot 80 443
//   2: of 1, +81 -80
//   close
// States are known by the TCP ports that they map.
class ScriptedEdge final : public EdgeClient {
 public:
  using State = protocol::SharedState;

  // A state that maps the ports of "80 443"; "" maps none.
  State Make(const std::string& ports);
  static protocol::Listener ListenerOf(uint16_t port);

  // What was heard since the last call, one line each.
  std::string Heard();
  // The listener of the stream that is open; null: none is.
  SyncListener* stream() const { return stream_; }
  // How many streams were opened so far.
  int opened() const { return opened_; }

  // Whether it knows access rules.
  bool knows_access = true;
  // What Register ends with.
  absl::Status register_answer;

  // Answers of the open stream. States are named by their ports.
  void Welcome(const std::string& programmed,
               const EdgeLifeReport& report = {});
  void Ack(uint64_t version, const std::string& programmed,
           std::vector<RefusedMapping> refused = {});
  void Nack(uint64_t version, const std::string& error, bool snapshot_needed);
  void End(const absl::Status& status);

  void Register(const Epoch& epoch, const protocol::Uplink& uplink,
                const std::string& edge,
                std::function<void(const absl::Status&)> done) override;
  std::unique_ptr<SyncStream> OpenSync(const Epoch& epoch,
                                       const protocol::Digest& digest,
                                       SyncListener& listener) override;
  // Nothing ever happens to it.
  std::unique_ptr<EventStream> OpenEvents(uint32_t, EventListener&) override {
    return std::make_unique<EventStream>();
  }

 private:
  class Stream;

  protocol::Digest DigestOfPorts(const std::string& ports);

  std::map<protocol::Digest, std::string> names_;
  std::string heard_;
  SyncListener* stream_ = nullptr;
  int opened_ = 0;
};

}  // namespace edged::agent
