#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/files.h"
#include "common/nftables/client.h"
#include "common/status.h"
#include "edged/core/nft_names.h"
#include "edged/edge.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/temporary_folder.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/fake_wireguard_client.h"
#include "tests/fakes/slow_disk.h"

// A whole edge on this host's kernel, in a network namespace of its own; only
// WireGuard is a fake.

namespace edged::edge {

using std::chrono::milliseconds;

inline constexpr char kDevice[] = "edged0";

// The real client, which can be told to fail.
class FailingNft final : public nftables::Client {
 public:
  explicit FailingNft(std::unique_ptr<nftables::Client> client)
      : client_(std::move(client)) {}

  absl::Status Apply(const nftables::Transaction& transaction) override {
    if (!failure_.ok()) return std::exchange(failure_, absl::OkStatus());
    ++applied_;
    return client_->Apply(transaction);
  }
  absl::StatusOr<nftables::Listing> List(const std::string& table) override {
    return client_->List(table);
  }
  absl::Status ForEachElement(
      const std::string& table, const nftables::Set& set,
      const std::function<void(const nftables::Element&)>& each) override {
    return client_->ForEachElement(table, set, each);
  }
  absl::StatusOr<std::vector<nftables::Element>> GetElements(
      const std::string& table, const nftables::Set& set,
      const std::vector<nftables::Element>& keys) override {
    return client_->GetElements(table, set, keys);
  }
  absl::StatusOr<uint32_t> Generation() override {
    return client_->Generation();
  }
  uint32_t port() const override { return client_->port(); }

  void FailNext(absl::Status failure) { failure_ = std::move(failure); }
  int applied() const { return applied_; }

 private:
  std::unique_ptr<nftables::Client> client_;
  absl::Status failure_;
  int applied_ = 0;
};

// The real store, on a disk that can be made slow or full.
class StoreOnSlowDisk final : public StateStore {
 public:
  using StateStore::StateStore;

  absl::Status Save(const StoredState& state) const override {
    RETURN_IF_ERROR(disk.Access());
    return StateStore::Save(state);
  }

  mutable SlowDisk disk;
};

class Stream final : public SyncStream {
 public:
  void Send(const Report& report) override { reports.push_back(report); }
  void Send(const KeyNotice& notice) override { notices.push_back(notice); }
  void End(const absl::Status& status) override { ended = status; }

  std::vector<Report> reports;
  std::vector<KeyNotice> notices;
  std::optional<absl::Status> ended;
};

// A VPS with the public address 203.0.113.1 on eth0.
class Host {
 public:
  // nullptr, after it said why, when this cannot be tried here.
  static std::unique_ptr<Host> Make() {
    auto host = std::unique_ptr<Host>(new Host);
    if (!host->space_) return nullptr;
    auto nft = nftables::Client::Open();
    auto rtnetlink = netlink::Rtnetlink::Open();
    auto conntrack = netlink::Conntrack::Open();
    for (const absl::Status& status :
         {nft.status(), rtnetlink.status(), conntrack.status()}) {
      if (status.ok()) continue;
      std::cout << "SKIPPED: " << status << "\n";
      return nullptr;
    }
    if (absl::IsUnimplemented(rtnetlink->CreateLink("eth0", "veth"))) {
      std::cout << "SKIPPED: this kernel has no veth\n";
      return nullptr;
    }
    const auto eth0 = rtnetlink->GetLink("eth0");
    REQUIRE(eth0.status() == absl::OkStatus());
    REQUIRE(rtnetlink->SetLink(eth0->index, true, 0).ok());
    REQUIRE(rtnetlink
                ->AddAddress({.link = eth0->index,
                              .address = Ip("203.0.113.1"),
                              .prefix_length = 24})
                .ok());
    host->nft.emplace(*std::move(nft));
    host->rtnetlink.emplace(*std::move(rtnetlink));
    host->conntrack.emplace(*std::move(conntrack));
    host->wireguard.emplace(*host->rtnetlink);
    auto loop = EventLoop::Create();
    REQUIRE(loop.ok());
    host->loop = *std::move(loop);
    return host;
  }

  // One that outlives every edge of this host, which may end it.
  Stream& NewStream() { return *streams.emplace_back(new Stream); }

  std::unique_ptr<Edge> NewEdge(const std::string& owner = "x") {
    Join join{.token_id = "0123456789abcdef",
              .cluster_uid = owner,
              .edge = "paris",
              .listen_port = 51820,
              .network = Net("10.200.0.0/22"),
              .control_key = Key(99)};
    std::array<uint8_t, kKeySize> key{};
    key.fill(0x40);
    join.private_key = PrivateKey(key);
    auto edge = std::make_unique<Edge>(
        *loop, KernelClients{*nft, *wireguard, *rtnetlink, *conntrack}, store,
        Edge::Options{
            join,
            {{Protocol::kTcp, 22}},
            [] {},
            [this](const EdgeEvent& event) { told.push_back(event); }});
    edge->Start();
    return edge;
  }

  // Lets timers and descriptors have their turn.
  void Run(milliseconds time) {
    loop->After(time, [this] { loop->Stop(); });
    loop->Run();
  }

  nftables::Listing Table() {
    auto listing = nft->List(kTable);
    REQUIRE(listing.status() == absl::OkStatus());
    listing->generation = 0;
    return *std::move(listing);
  }

  size_t PeerCount() { return wireguard->Get(kDevice)->peers.size(); }

 private:
  Host() : store(folder.path()) {}

  netlink::OwnNamespace space_;

 public:
  TemporaryFolder folder;
  StoreOnSlowDisk store;
  std::optional<FailingNft> nft;
  std::optional<netlink::Rtnetlink> rtnetlink;
  std::optional<netlink::Conntrack> conntrack;
  std::optional<wireguard::FakeClient> wireguard;
  std::unique_ptr<EventLoop> loop;
  std::vector<EdgeEvent> told;
  std::vector<std::unique_ptr<Stream>> streams;
};

inline protocol::EdgeState Wanted(
    const std::vector<protocol::Listener>& listeners) {
  protocol::EdgeState state = SampleState();
  state.settings.public_addresses.resize(1);
  state.groups.resize(1);
  for (const auto& listener : listeners) {
    state.mappings.push_back({listener, "g1"});
  }
  return state;
}

inline SnapshotCall Snapshot(uint64_t version,
                             const std::vector<protocol::Listener>& listeners) {
  return {version, Wanted(listeners)};
}

inline DeltaCall Upsert(uint64_t base, uint64_t version,
                        const protocol::Listener& listener) {
  DeltaCall call{.base_version = base, .version = version};
  call.delta.mappings = {{listener, "g1"}};
  return call;
}

// "ACK", or "NACK CODE: words", with what was refused alone.
inline std::string WordsOf(const SyncResult& result) {
  std::string text = "ACK";
  if (!result.status.ok()) {
    text = "NACK " + absl::StatusCodeToString(result.status.code()) + ": " +
           std::string(Message(result.status));
  }
  if (result.snapshot_needed) text += "; send a snapshot";
  for (const Refusal& refusal : result.refused) {
    text += "; " + refusal.reason + " " + refusal.listener.ToString();
  }
  return text;
}

inline std::string ListenersOf(const Edge& edge) {
  const auto mappings = edge.Mappings();
  REQUIRE(mappings.status() == absl::OkStatus());
  std::string text;
  for (const MappingStatus& mapping : *mappings) {
    text += mapping.mapping.listener.ToString() + "; ";
  }
  return text;
}

inline EdgeStatus StatusOf(const Edge& edge) {
  EdgeStatus status;
  edge.FillStatus(status);
  return status;
}

// An edge with a stream that has acknowledged a snapshot of tcp/80.
struct Synced {
  explicit Synced(Host& host) : edge(host.NewEdge()) {
    const auto welcome = edge->Open({.epoch = {"x", 1}}, stream);
    REQUIRE(welcome.status() == absl::OkStatus());
    const SyncResult result = edge->Change(stream, Snapshot(1, {Tcp(80)}));
    REQUIRE(WordsOf(result) == "ACK");
    REQUIRE(ListenersOf(*edge) == "203.0.113.1 tcp/80; ");
  }
  Stream stream;
  std::unique_ptr<Edge> edge;
};

}  // namespace edged::edge
