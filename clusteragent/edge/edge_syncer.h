#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/edge/edge_client.h"
#include "clusteragent/edge/servable.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "common/protocol/records.h"

namespace edged::agent {

// Keeps one edge at the wanted state: opens the stream, sends a snapshot or the
// difference to what the edge last accepted, one version at a time, and begins
// anew with a backoff after every failure. Belongs to the loop thread.
class EdgeSyncer final : public SyncListener {
 public:
  using State = protocol::SharedState;

  // What is known of the edge.
  struct Progress {
    bool connected = false;  // Welcome was received on this stream
    std::string trouble;     // the last failure until all is well again
    State answered;          // the state of the last ACK
    std::map<protocol::Listener, std::string> refused;  // of `answered`
    std::vector<std::string> reserved_ports;            // "22/tcp"
    std::string edge_version;
    EdgeLifeReport report;
  };

  // All are borrowed and outlive this object. `changed` is called after every
  // change of progress().
  EdgeSyncer(EventLoop& loop, EdgeClient& client, Epoch epoch, std::string edge,
             std::function<void()> changed);
  ~EdgeSyncer() override;

  // Called with what the edge says about its key, and how to answer it.
  void OnKeys(std::function<void(const EdgeKeyNotice&)> notice) {
    key_notice_ = std::move(notice);
  }
  void SayKeyStored(const PublicKey& key);

  // Opens the stream at the first call.
  void Want(State state);
  const Progress& progress() const { return progress_; }

  void OnWelcome(const EdgeWelcome& welcome) override;
  void OnResult(const EdgeResult& result) override;
  void OnReport(const EdgeLifeReport& report) override;
  void OnKey(const EdgeKeyNotice& notice) override;
  void OnEnd(const absl::Status& status) override;

 private:
  struct InFlight {
    uint64_t version;
    State state;
    bool is_snapshot;
  };

  void Open();
  void RetryLater();
  void SendWhatDiffers();
  void ExpectAnswer();
  void TakeReport(const EdgeLifeReport& report);
  void TakeAnswer(const State& state, std::vector<RefusedMapping> refused);
  void Refuse(const std::vector<RefusedMapping>& refusals);
  protocol::Digest DigestOfProgrammed() const;
  void CheckDigest(const protocol::Digest& digest);

  EventLoop& loop_;
  EdgeClient& client_;
  const Epoch epoch_;
  const std::string edge_;
  const std::function<void()> changed_;
  std::function<void(const EdgeKeyNotice&)> key_notice_;

  State wanted_;
  Servable servable_;  // by this edge
  // `progress_.answered` without what the edge refused: its model. Null until
  // there is one.
  State accepted_;
  std::vector<RefusedMapping> refused_by_result_;  // or withheld from it
  std::unique_ptr<SyncStream> stream_;
  std::optional<InFlight> in_flight_;
  uint64_t sent_version_ = 0;      // of this stream
  uint64_t answered_version_ = 0;  // likewise; 0: the state of its Welcome
  bool snapshot_needed_ = true;
  EventLoop::TimerId retry_ = 0;
  EventLoop::TimerId answer_ = 0;
  EventLoop::TimerId settled_ = 0;  // the stream has held: forget old failures
  Backoff backoff_;
  Progress progress_;
};

}  // namespace edged::agent
