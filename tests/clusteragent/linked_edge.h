#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/edge_link.h"
#include "tests/clusteragent/edge/scripted_edge.h"
#include "tests/common/temporary_folder.h"
#include "tests/fakes/fake_nftables_client.h"
#include "tests/fakes/fake_wireguard_client.h"
#include "tests/fakes/virtual_loop.h"

// An EdgeLink with all that is around it played by a test.

namespace edged::agent {

inline constexpr char kDevice[] = "eu-link-test";

inline PublicKey Fresh() { return PrivateKey::Generate().Public(); }

// A control plane that says what a test tells it, and keeps what it hears.
class ScriptedPlane final : public ControlPlane {
 public:
  absl::Status Start(std::function<void()>, std::function<void()>) override {
    return absl::OkStatus();
  }
  bool ready() const override { return true; }
  const ClusterIdentity& identity() const override { return identity_; }
  ObjectStore& objects() override { return objects_; }
  const Mistakes& mistakes() const override { return mistakes_; }
  bool may_flicker() const override { return false; }
  std::optional<Epoch> epoch() const override { return term; }
  void Exceed(const std::string&, uint64_t seen) override { exceeded = seen; }
  Labels own_labels() const override { return {}; }
  std::vector<UplinkFacts> other_uplinks() const override { return {}; }
  absl::StatusOr<Allocation> AllocateFor(const Facts&) override {
    return Allocation();
  }
  absl::StatusOr<std::optional<IssuedToken>> Token(
      const std::string&) const override {
    return token;
  }
  std::optional<EdgeEnrolment> Shared(const std::string&) const override {
    return std::nullopt;
  }
  void Share(const std::string&, const EdgeEnrolment&,
             std::function<void()> done) override {
    shared = std::move(done);
  }
  void Tell(const Telling&) override {}
  void Announce(const std::string&, const Happening&) override {}
  void AnnounceOwn(const Happening&) override {}
  bool drains() const override { return false; }
  void Stop(std::function<void()> done) override { done(); }

  std::optional<Epoch> term = Epoch{"cluster", 7};
  std::optional<IssuedToken> token;
  uint64_t exceeded = 0;
  std::function<void()> shared;  // call it when other replicas can know

 private:
  const ClusterIdentity identity_{"cluster", PrivateKey::Generate()};
  ObjectStore objects_;
  Mistakes mistakes_;
};

// What an uplink's heartbeats say, and how they fare.
struct Beats {
  protocol::Digest applied;
  HeartbeatSender::Word word;
  bool up = true;
  int started = 0;
};

class FakeSender final : public HeartbeatSender {
 public:
  explicit FakeSender(Beats& beats) : beats_(beats) { ++beats_.started; }
  void Say(const Word& word, const protocol::Digest& applied) override {
    beats_.word = word;
    beats_.applied = applied;
  }
  bool is_up() const override { return beats_.up; }
  void ResumeMtu(uint32_t mtu) override { mtu_ = mtu; }
  void SetMtu(uint32_t mtu) override { mtu_ = mtu; }
  void SearchAnew() override {}
  uint32_t mtu() const override { return mtu_; }
  bool hears() const override { return beats_.up; }

 private:
  Beats& beats_;
  uint32_t mtu_ = 0;
};

// The client of an edge that outlives it.
class DialledEdge final : public EdgeClient {
 public:
  DialledEdge(EventLoop& loop, ScriptedEdge& edge) : loop_(loop), edge_(edge) {}
  ~DialledEdge() override { *alive_ = false; }
  void Register(const Epoch& epoch, const protocol::Uplink& uplink,
                const std::string& edge,
                std::function<void(const absl::Status&)> done) override {
    loop_.Post([&to = edge_, alive = alive_, epoch, uplink, edge, done] {
      if (*alive) to.Register(epoch, uplink, edge, done);
    });
  }
  std::unique_ptr<SyncStream> OpenSync(const Epoch& epoch,
                                       const protocol::Digest& digest,
                                       SyncListener& listener) override {
    return edge_.OpenSync(epoch, digest, listener);
  }
  std::unique_ptr<EventStream> OpenEvents(uint32_t recent,
                                          EventListener& listener) override {
    return edge_.OpenEvents(recent, listener);
  }

 private:
  EventLoop& loop_;
  ScriptedEdge& edge_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The link of one edge, "eu", that this uplink has a key for unless it is new.
struct LinkedEdge {
  explicit LinkedEdge(bool is_new = false) {
    auto opened = netlink::Rtnetlink::Open();
    REQUIRE(opened.ok());
    rtnetlink.emplace(*std::move(opened));
    wireguard.emplace(*rtnetlink);
    uplink.emplace(
        nft, *wireguard, *rtnetlink, std::vector<std::string>{},
        [](const std::vector<std::string>&) { return absl::OkStatus(); });
    REQUIRE(MakeFolders(folder / "keys").ok());
    const PrivateKey own = PrivateKey::Generate();
    wireguard->Put({.name = kDevice, .peers = {{.key = in_use}}});
    if (!is_new) {
      REQUIRE(state
                  .SaveKey("eu", {.own = own,
                                  .registered_with = in_use,
                                  .edge = {.key = in_use}})
                  .ok());
    }
  }
  void Start() {
    link.emplace(
        EdgeLink::Context{
            loop,
            state,
            resolver,
            *uplink,
            plane,
            "home",
            {.dial =
                 [this](EventLoop&, const SocketAddress& address) {
                   dialled = address;
                   return std::make_unique<DialledEdge>(loop, edge);
                 },
             .start_heartbeats = [this](auto&, const HeartbeatSender::Options&,
                                        std::function<void()>)
                 -> absl::StatusOr<std::unique_ptr<HeartbeatSender>> {
               return std::make_unique<FakeSender>(beats);
             },
             .now =
                 [this] {
                   return EdgeLink::SteadyTime(std::chrono::hours(1)) +
                          loop.now();
                 }}},
        "eu", [this] { ++replanned; }, [this] { ++changes; });
  }
  EdgePlan PlanOf(const std::string& ports) {
    return {.edge = "eu",
            .address = "192.0.2.1",
            .listen_port = 51820,
            .network = *IpPrefix::Parse("10.200.0.0/22"),
            .own_block = 1,
            .wanted = edge.Make(ports)->state()};
  }
  // As wanted, and carried.
  void Carry(const std::string& ports) {
    link->Follow(PlanOf(ports));
    link->Carry({.edge = "eu", .wireguard = {.name = kDevice}, .own_mtu = 1420},
                5);
  }
  // The edge has it, too.
  void Serve(const std::string& ports) {
    Carry(ports);
    edge.Welcome("");
    edge.Ack(1, ports);
    edge.Heard();
  }
  void Report(const std::string& programmed, const std::string& applied,
              bool alive) {
    edge.stream()->OnReport({.uplinks = {{.name = "other",
                                          .alive = alive,
                                          .applied = DigestOfPorts(applied)}},
                             .digest = DigestOfPorts(programmed)});
  }
  protocol::Digest DigestOfPorts(const std::string& ports) {
    return edge.Make(ports)->digest();
  }
  std::optional<PublicKey> Stored() const {
    const auto key = state.LoadKey("eu");
    REQUIRE(key.ok());
    return key->edge.other;
  }

  TemporaryFolder folder;
  const StateFolder state{folder.path()};
  VirtualLoop loop;
  Resolver resolver{loop, AskSystem};
  nftables::FakeClient nft;
  std::optional<netlink::Rtnetlink> rtnetlink;
  std::optional<wireguard::FakeClient> wireguard;
  std::optional<Uplink> uplink;
  ScriptedPlane plane;
  ScriptedEdge edge;
  Beats beats;
  std::optional<SocketAddress> dialled;
  int replanned = 0;
  int changes = 0;
  const PublicKey in_use = Fresh();
  std::optional<EdgeLink> link;
};

}  // namespace edged::agent
