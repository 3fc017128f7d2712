#include "tests/clusteragent/edge/scripted_edge.h"

#include <fmt/format.h>

#include <sstream>
#include <utility>

namespace edged::agent {
namespace {

std::string PortsOf(const std::vector<protocol::Mapping>& mappings) {
  std::string text;
  for (const protocol::Mapping& mapping : mappings) {
    text += fmt::format(" {}", mapping.listener.ports.ToString());
  }
  return text.empty() ? " nothing" : text;
}

}  // namespace

class ScriptedEdge::Stream final : public SyncStream {
 public:
  Stream(ScriptedEdge& edge, SyncListener& listener)
      : edge_(edge), listener_(&listener) {}
  ~Stream() override {
    edge_.heard_ += "close\n";
    if (edge_.stream_ == listener_) edge_.stream_ = nullptr;
  }

  void SendSnapshot(uint64_t version,
                    const protocol::EdgeState& state) override {
    edge_.heard_ +=
        fmt::format("{}: snapshot{}\n", version, PortsOf(state.mappings));
  }
  void SendDelta(uint64_t base_version, uint64_t version,
                 const protocol::EdgeDelta& delta) override {
    edge_.heard_ += fmt::format("{}: of {},", version, base_version);
    for (const auto& mapping : delta.mappings) {
      edge_.heard_ += " +" + mapping.listener.ports.ToString();
    }
    for (const auto& listener : delta.removed_mappings) {
      edge_.heard_ += " -" + listener.ports.ToString();
    }
    edge_.heard_ += "\n";
  }
  void SendKeyStored(const PublicKey& key) override {
    edge_.heard_ += fmt::format("key {} stored\n", key.Short());
  }

 private:
  ScriptedEdge& edge_;
  SyncListener* listener_;
};

ScriptedEdge::State ScriptedEdge::Make(const std::string& ports) {
  protocol::EdgeState state;
  std::istringstream words(ports);
  uint16_t port = 0;
  while (words >> port) state.mappings.push_back({ListenerOf(port), "g"});
  auto made = std::make_shared<const protocol::DigestedState>(std::move(state));
  names_[made->digest()] = ports;
  return made;
}

protocol::Listener ScriptedEdge::ListenerOf(uint16_t port) {
  return {IpAddress::FromIpv4(0xcb007101), Protocol::kTcp, {port, port}};
}

protocol::Digest ScriptedEdge::DigestOfPorts(const std::string& ports) {
  return Make(ports)->digest();
}

std::string ScriptedEdge::Heard() { return std::exchange(heard_, ""); }

void ScriptedEdge::Welcome(const std::string& programmed,
                           const EdgeLifeReport& report) {
  stream_->OnWelcome({.digest = DigestOfPorts(programmed),
                      .reserved_ports = {"22/tcp"},
                      .version = "1.2.3",
                      .knows_access = knows_access,
                      .report = report});
}

void ScriptedEdge::Ack(uint64_t version, const std::string& programmed,
                       std::vector<RefusedMapping> refused) {
  stream_->OnResult({.version = version,
                     .ack = true,
                     .digest = DigestOfPorts(programmed),
                     .refused = std::move(refused)});
}

void ScriptedEdge::Nack(uint64_t version, const std::string& error,
                        bool snapshot_needed) {
  stream_->OnResult({.version = version,
                     .ack = false,
                     .error = error,
                     .snapshot_needed = snapshot_needed});
}

void ScriptedEdge::End(const absl::Status& status) { stream_->OnEnd(status); }

void ScriptedEdge::Register(const Epoch&, const protocol::Uplink& uplink,
                            const std::string& edge,
                            std::function<void(const absl::Status&)> done) {
  heard_ += fmt::format("register {} as {}\n", uplink.name, edge);
  done(register_answer);
}

std::unique_ptr<SyncStream> ScriptedEdge::OpenSync(
    const Epoch& epoch, const protocol::Digest& digest,
    SyncListener& listener) {
  const auto name = names_.find(digest);
  const std::string ports =
      name == names_.end() ? "unknown " + digest.Short() : name->second;
  heard_ += fmt::format("open, epoch {}, hello {}\n", epoch.number,
                        ports.empty() ? "nothing" : ports);
  ++opened_;
  stream_ = &listener;
  return std::make_unique<Stream>(*this, listener);
}

}  // namespace edged::agent
