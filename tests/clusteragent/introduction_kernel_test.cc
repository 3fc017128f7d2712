#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clusteragent/introduction.h"
#include "tests/common/netlink/own_namespace.h"
#include "tests/fakes/fake_nftables_client.h"
#include "tests/fakes/fake_wireguard_client.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

using Done = std::function<void(const absl::Status&)>;

constexpr char kDevice[] = "eu-control";

// An edge that answers Register when the test says so; it is asked for nothing
// else.
class Registrar final : public EdgeClient {
 public:
  explicit Registrar(std::vector<std::pair<std::string, Done>>& asked)
      : asked_(asked) {}
  void Register(const Epoch& epoch, const protocol::Uplink& uplink,
                const std::string& edge, Done done) override {
    asked_.emplace_back(
        fmt::format("{} to {} in term {}", uplink.name, edge, epoch.number),
        std::move(done));
  }
  std::unique_ptr<SyncStream> OpenSync(const Epoch&, const protocol::Digest&,
                                       SyncListener&) override {
    return nullptr;
  }
  std::unique_ptr<EventStream> OpenEvents(uint32_t, EventListener&) override {
    return nullptr;
  }

 private:
  std::vector<std::pair<std::string, Done>>& asked_;
};

// An uplink in a network namespace of its own, without any device yet.
struct Setup {
  Setup() {
    if (!own) return;
    auto opened = netlink::Rtnetlink::Open();
    REQUIRE(opened.ok());
    rtnetlink.emplace(*std::move(opened));
    wireguard.emplace(*rtnetlink);
    uplink.emplace(
        nft, *wireguard, *rtnetlink, std::vector<std::string>{},
        [](const std::vector<std::string>&) { return absl::OkStatus(); });
    introduction.emplace(
        loop, *uplink, "eu",
        [this](EventLoop&, const SocketAddress& address) {
          dialled.push_back(address.ToString());
          return std::make_unique<Registrar>(asked);
        },
        [this](const absl::Status& status) {
          CHECK_FALSE(introduction->under_way());
          CHECK_FALSE(HasDevice());
          ended.push_back(std::string(status.message()));
        });
  }
  explicit operator bool() const { return introduction.has_value(); }

  void Begin() {
    UplinkDevice device;
    device.edge = "eu";
    const PrivateKey key = PrivateKey::Generate();
    device.wireguard = {
        .name = kDevice, .private_key = key, .public_key = key.Public()};
    device.mtu = 1420;
    BeginBy(device);
  }
  void BeginBy(const absl::StatusOr<UplinkDevice>& device) {
    introduction->Begin(device, {IpAddress::FromIpv4(0x0ac80001), 7443},
                        {"cluster", 7}, {.name = "home", .block = 1});
  }
  bool HasDevice() { return wireguard->Get(kDevice).ok(); }

  const netlink::OwnNamespace own;
  VirtualLoop loop;
  nftables::FakeClient nft;
  std::optional<netlink::Rtnetlink> rtnetlink;
  std::optional<wireguard::FakeClient> wireguard;
  std::optional<Uplink> uplink;
  std::vector<std::string> dialled;
  std::vector<std::pair<std::string, Done>> asked;
  std::vector<std::string> ended;
  std::optional<Introduction> introduction;
};

TEST_CASE("introduction: is one call by a device that goes with it",
          "[introduction]") {
  Setup setup;
  if (!setup) return;
  setup.Begin();
  CHECK(setup.introduction->under_way());
  CHECK(setup.HasDevice());
  CHECK(setup.dialled == std::vector<std::string>{"10.200.0.1:7443"});
  REQUIRE(setup.asked.size() == 1);
  CHECK(setup.asked[0].first == "home to eu in term 7");
  setup.Begin();  // it is under way
  CHECK(setup.asked.size() == 1);
  const std::string why = GENERATE("", "no such edge");
  setup.asked[0].second(why.empty() ? absl::OkStatus()
                                    : absl::NotFoundError(why));
  CHECK(setup.ended == std::vector<std::string>{why});
  setup.Begin();
  CHECK(setup.asked.size() == 2);
}

TEST_CASE("introduction: given up, nobody is told and no device left",
          "[introduction]") {
  Setup setup;
  if (!setup) return;
  setup.Begin();
  SECTION("on demand") { setup.introduction->GiveUp(); }
  SECTION("at the end") { setup.introduction.reset(); }
  CHECK_FALSE(setup.HasDevice());
  CHECK(setup.ended.empty());
}

TEST_CASE("introduction: without a device nobody is asked", "[introduction]") {
  Setup setup;
  if (!setup) return;
  SECTION("there is none to make") {
    setup.BeginBy(absl::InvalidArgumentError("no way"));
  }
  SECTION("the kernel refuses it") {
    setup.wireguard->FailNext(absl::InternalError("no way"));
    setup.Begin();
  }
  REQUIRE(setup.ended.size() == 1);
  CHECK(setup.ended[0].find("no way") != std::string::npos);
  CHECK(setup.asked.empty());
  CHECK_FALSE(setup.HasDevice());
}

}  // namespace
}  // namespace edged::agent
