#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "clusteragent/uplink/uplink_keeper.h"
#include "common/status.h"
#include "tests/clusteragent/uplink/carried_edges.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/common/netlink/veth_pair.h"
#include "tests/common/wireguard/namespaces.h"

namespace edged::agent {
namespace {

using wireguard::Run;

constexpr auto kPatience = std::chrono::seconds(5);

// A host in a network namespace of its own, kept for an owner who writes down
// what he hears.
class KeptHost : public UplinkKeeper::Owner {
 public:
  KeptHost() {
    if (!own_) return;
    if (const std::string reason = WhyNoUplink(); !reason.empty()) {
      std::printf("SKIPPED: %s\n", reason.c_str());
      return;
    }
    auto nft = nftables::Client::Open();
    auto wireguard =
        wireguard::OpenClient(wireguard::BackendChoice::kAuto, kWireguardGo);
    auto rtnetlink = netlink::OpenRtnetlink();
    if (!nft.ok() || !wireguard.ok() || !netlink::MakePair(rtnetlink)) {
      std::printf("SKIPPED: no kernel to work with\n");
      return;
    }
    Run("ip link set lo up");
    keeper_ = std::make_unique<UplinkKeeper>(
        *loop_, *this,
        UplinkKeeper::Kernel{*std::move(nft), *std::move(wireguard),
                             std::move(rtnetlink)},
        UplinkKeeper::Options{.uplink = "home", .mark_mask = 0xff});
    keeper_->Start();
  }
  ~KeptHost() override {
    if (!keeper_) return;
    auto wireguard =
        wireguard::OpenClient(wireguard::BackendChoice::kAuto, kWireguardGo)
            .value();
    for (const std::string& device : keeper_->uplink().devices()) {
      CHECK(wireguard->Remove(device).ok());
    }
  }
  explicit operator bool() const { return keeper_ != nullptr; }
  UplinkKeeper& operator*() { return *keeper_; }
  UplinkKeeper* operator->() { return keeper_.get(); }

  absl::Status Apply(const std::vector<std::string>& edges) {
    RETURN_IF_ERROR(keeper_->Observe());
    return keeper_->Apply(PlanToCarry(edges, run_).edges, AccessTo(edges));
  }
  bool Step(const std::vector<std::string>& edges, uint16_t port) {
    return keeper_->Step(PlanToCarry(edges, run_, port).edges);
  }

  // What is announced first, or "nothing".
  std::string NextNews() {
    news_ = "nothing";
    const auto timer = loop_->After(kPatience, [this] { loop_->Stop(); });
    loop_->Run();
    loop_->Cancel(timer);
    return news_;
  }
  std::vector<std::string> TakeHeard() { return std::exchange(heard_, {}); }

 private:
  void PlanSoon() override { heard_.push_back("plan"); }
  void Carry(const UplinkDevice& device, int link) override {
    heard_.push_back("carry " + device.edge + (link > 0 ? "" : " nowhere"));
  }
  void CarryOn(const std::string& edge) override {
    heard_.push_back("carry on " + edge);
  }
  void Announce(const Happening& news) override {
    news_ = news.message;
    loop_->Stop();
  }
  void KeepDevices(const std::vector<std::string>& devices) override {
    heard_.push_back("devices: " + std::to_string(devices.size()));
  }
  void KeepSwitched(const std::set<SwitchedLink>& links) override {
    for (const SwitchedLink& link : links) heard_.push_back("on: " + link.name);
  }

  const netlink::OwnNamespace own_;
  // Sockets of wireguard-go are shared by all namespaces: names must differ.
  const std::string run_ = std::to_string(std::random_device()());
  const std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
  std::vector<std::string> heard_;
  std::string news_;
  std::unique_ptr<UplinkKeeper> keeper_;
};

using Heard = std::vector<std::string>;

TEST_CASE("uplink_keeper: carries edges, and takes a step where one is enough",
          "[uplink_keeper]") {
  KeptHost host;
  if (!host) return;
  REQUIRE(host.Apply({"a"}).ok());
  CHECK(host->applied());
  CHECK(host.TakeHeard() == Heard{"on: near", "devices: 1", "carry a"});
  CHECK(host.Step({"a"}, 80));
  CHECK(host.TakeHeard() == Heard{});
  CHECK(host.Step({"a"}, 8080));
  CHECK(host.TakeHeard() == Heard{"carry on a"});
  CHECK(host->Carried("a")->mappings.size() == 2);
  CHECK(
      Run("nft list map inet clusteragent targets4").find("10.9.0.5 . 8080") !=
      std::string::npos);
  // Another edge needs a device.
  CHECK_FALSE(host.Step({"b"}, 80));
  REQUIRE(host.Apply({}).ok());
  CHECK(host->Carried("a") == nullptr);
}

TEST_CASE("uplink_keeper: puts right what others change, and says so",
          "[uplink_keeper]") {
  KeptHost host;
  if (!host) return;
  REQUIRE(host.Apply({"a"}).ok());
  const std::string seen = Run("nft list ruleset");
  Run("nft delete table inet clusteragent");
  const std::string told = host.NextNews();
  CAPTURE(told);
  CHECK(told.find("table deleted, by nft") != std::string::npos);
  CHECK(Run("nft list ruleset") == seen);
}

}  // namespace
}  // namespace edged::agent
