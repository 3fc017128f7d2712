// Plays the agent towards one edge: opens Sync on its Unix socket, obeys lines
// on standard input and answers each with a line of JSON.
//   snapshot COUNT   the whole state with COUNT single ports, half of them UDP
//   changes PAIRS    adds one more mapping and removes it again, PAIRS times
// Times are in ms: "total" from before the (first) message is written to when
// the answer is read, "apply" what the edge says that it took.
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "clusteragent/edge/edge_proto.h"
#include "common/protocol/records.h"
#include "edged/v1/edge.grpc.pb.h"

namespace edged::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;
using Requests = std::vector<v1::SyncRequest>;

constexpr int kGroups = 16;
constexpr uint16_t kFirstPort = 1024;
// The mapping that comes and goes, above all others.
constexpr uint16_t kChangedPort = 60'000;
constexpr uint16_t kChangedPorts = 5'000;

struct Time {
  double total = 0;
  double apply = 0;
};

std::string GroupName(size_t number) { return fmt::format("g{:02}", number); }

// u1 and u2 serve all groups, u3 the first alone.
std::vector<protocol::Uplink> Uplinks() {
  std::vector<protocol::Uplink> uplinks;
  for (const uint8_t block : {1, 2, 3}) {
    std::array<uint8_t, kKeySize> key;
    key.fill(block);
    uplinks.push_back({fmt::format("u{}", block), PublicKey(key), block});
  }
  return uplinks;
}

protocol::EdgeState State(const IpAddress& address, size_t mappings) {
  protocol::EdgeState state{.uplinks = Uplinks()};
  state.settings.public_addresses = {{.address = address, .index = 1}};
  for (size_t i = 0; i < kGroups; ++i) {
    protocol::Group& group = state.groups.emplace_back();
    group = {GroupName(i), address, protocol::Affinity::kNone, {"u1", "u2"}};
    if (i == 0) group.uplinks.push_back("u3");
  }
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    for (size_t i = 0; i < mappings / 2; ++i) {
      const auto port = static_cast<uint16_t>(kFirstPort + i);
      state.mappings.push_back(
          {{address, protocol, {port, port}}, GroupName(i % kGroups)});
    }
  }
  return state;
}

// One Sync stream.
class Agent {
 public:
  Agent(const std::string& socket, const std::string& cluster)
      : stub_(v1::EdgeService::NewStub(grpc::CreateChannel(
            "unix:" + socket, grpc::InsecureChannelCredentials()))),
        stream_(stub_->Sync(&context_)) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const agent::Epoch epoch{cluster, static_cast<uint64_t>(now.count())};
    Write(agent::HelloRequest(epoch, {}));
    if (!Read().has_welcome()) throw std::runtime_error("no welcome");
  }

  Time Snapshot(const protocol::EdgeState& state) {
    ++version_;
    return Send(agent::SnapshotRequests(version_, state));
  }

  Time Change(const protocol::EdgeDelta& delta) {
    const uint64_t base = version_++;
    return Send({agent::DeltaRequest(base, version_, delta)});
  }

 private:
  void Write(const v1::SyncRequest& request) {
    if (!stream_->Write(request)) throw std::runtime_error("the stream ended");
  }

  v1::SyncResponse Read() {
    v1::SyncResponse response;
    if (!stream_->Read(&response)) {
      throw std::runtime_error(stream_->Finish().error_message());
    }
    return response;
  }

  Time Send(const Requests& requests) {
    const auto start = Clock::now();
    for (const auto& request : requests) Write(request);
    v1::SyncResponse response;
    do {
      response = Read();
    } while (!response.has_result() || response.result().version() != version_);
    const Milliseconds total = Clock::now() - start;
    const v1::Result& result = response.result();
    if (!result.ack() || result.refused_size() > 0) {
      throw std::runtime_error(fmt::format(
          "version {} was not taken: {}", version_,
          result.ack() ? result.refused(0).message() : result.error()));
    }
    const auto& apply = result.apply_time();
    return {total.count(), static_cast<double>(apply.seconds()) * 1e3 +
                               static_cast<double>(apply.nanos()) / 1e6};
  }

  std::unique_ptr<v1::EdgeService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SyncRequest, v1::SyncResponse>>
      stream_;
  uint64_t version_ = 0;
};

std::vector<Time> Changes(Agent& agent, const IpAddress& address, size_t pairs,
                          size_t& changed) {
  std::vector<Time> times;
  for (size_t i = 0; i < pairs; ++i, ++changed) {
    const auto port =
        static_cast<uint16_t>(kChangedPort + changed % kChangedPorts);
    const protocol::Listener listener{address, Protocol::kTcp, {port, port}};
    times.push_back(
        agent.Change({.mappings = {{listener, GroupName(changed % kGroups)}}}));
    times.push_back(agent.Change({.removed_mappings = {listener}}));
  }
  return times;
}

void Print(const std::vector<Time>& times) {
  std::vector<double> total;
  std::vector<double> apply;
  for (const Time& time : times) {
    total.push_back(time.total);
    apply.push_back(time.apply);
  }
  fmt::print("{{\"total\": [{:.4f}], \"apply\": [{:.4f}]}}\n",
             fmt::join(total, ", "), fmt::join(apply, ", "));
  std::fflush(stdout);
}

void Obey(const std::string& socket, const std::string& cluster,
          const IpAddress& address) {
  Agent agent(socket, cluster);
  size_t changed = 0;
  std::string verb;
  size_t count = 0;
  while (std::cin >> verb >> count) {
    if (verb == "snapshot") {
      Print({agent.Snapshot(State(address, count))});
    } else if (verb == "changes") {
      Print(Changes(agent, address, count, changed));
    } else {
      throw std::runtime_error("no command " + verb);
    }
  }
}

}  // namespace
}  // namespace edged::bench

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: bench_agent SOCKET CLUSTER PUBLIC_ADDRESS\n");
    return 2;
  }
  try {
    edged::bench::Obey(argv[1], argv[2],
                       edged::IpAddress::Parse(argv[3]).value());
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_agent: {}\n", error.what());
    return 1;
  }
}
