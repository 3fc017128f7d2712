#include "clusteragent/edge_keys.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/common/temporary_folder.h"
#include "tests/fakes/fake_nftables_client.h"
#include "tests/fakes/fake_wireguard_client.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

using Phase = EdgeKeyNotice::Phase;

PublicKey Fresh() { return PrivateKey::Generate().Public(); }

constexpr char kDevice[] = "eu-keys-test";

// The keys of one edge on a disk, without a device at first.
struct Keys {
  Keys() {
    auto opened = netlink::Rtnetlink::Open();
    REQUIRE(opened.ok());
    rtnetlink.emplace(*std::move(opened));
    wireguard.emplace(*rtnetlink);
    uplink.emplace(
        nft, *wireguard, *rtnetlink, std::vector<std::string>{},
        [](const std::vector<std::string>&) { return absl::OkStatus(); });
    REQUIRE(MakeFolders(folder / "keys").ok());
    keys.emplace(
        loop, state, *uplink, "eu",
        EdgeKeys::Shell{
            .say_stored = [this](const PublicKey& key) { told.push_back(key); },
            .hears = [this] { return hears; },
            .replan = [this] { ++replanned; },
            .now =
                [this] {
                  return KeyFollower::SteadyTime(std::chrono::hours(1)) +
                         loop.now();
                }});
    REQUIRE(keys->Load(kDevice, std::nullopt).ok());
    keys->Registered(in_use, in_use);
  }

  void Propose(const PublicKey& key) {
    keys->OnNotice({Phase::kProposed, key, in_use});
  }
  // The edge replaces its key, and the uplink follows.
  void Follow(const PublicKey& next) {
    Propose(next);
    keys->OnNotice({Phase::kSwitching, next, in_use});
    loop.Advance(kFollowDelay);
    REQUIRE(ReachedBy() == next);
  }
  PublicKey ReachedBy() const { return keys->enrolment().edge.key; }
  // A device that has peers of both keys.
  void Carry(const PublicKey& next,
             std::chrono::system_clock::time_point last_handshake = {}) {
    wireguard->Put(
        {.name = kDevice,
         .peers = {{.key = in_use},
                   {.key = next, .last_handshake = last_handshake}}});
    keys->Carry(kDevice);
  }
  std::optional<PublicKey> Stored() const {
    const auto key = state.LoadKey("eu");
    REQUIRE(key.ok());
    return key->edge.other;
  }

  TemporaryFolder folder;
  const StateFolder state{folder.path()};
  VirtualLoop loop;
  nftables::FakeClient nft;
  std::optional<netlink::Rtnetlink> rtnetlink;
  std::optional<wireguard::FakeClient> wireguard;
  std::optional<Uplink> uplink;
  bool hears = true;
  int replanned = 0;
  std::vector<PublicKey> told;  // that its key is stored, to the edge
  const PublicKey in_use = Fresh();
  std::optional<EdgeKeys> keys;

  // As by a process that starts.
  EdgeKeys Others() {
    return {loop, state, *uplink, "eu",
            EdgeKeys::Shell{.say_stored = [](const PublicKey&) {},
                            .hears = [] { return true; },
                            .replan = [] {}}};
  }
  // What carries the traffic, with a second peer of `other`.
  void PutDevice(const PublicKey& other) {
    const PrivateKey own = state.LoadKey("eu")->own;
    wireguard->Put({.name = kDevice,
                    .private_key = own,
                    .public_key = own.Public(),
                    .peers = {{.key = in_use, .allowed_ips = {IpPrefix()}},
                              {.key = other}}});
  }
};

TEST_CASE("edge_keys: a proposed key is stored, and the edge told, at once",
          "[edge_keys]") {
  Keys keys;
  const PublicKey next = Fresh();
  keys.Propose(next);
  CHECK(keys.told == std::vector{next});
  CHECK(keys.Stored() == next);
  keys.Propose(next);  // its answer was lost
  CHECK(keys.told == std::vector{next, next});
}

TEST_CASE("edge_keys: an edge that proposes keys in a row gets one a second",
          "[edge_keys]") {
  Keys keys;
  PublicKey last;
  for (int i = 0; i < 100; ++i) {
    last = Fresh();
    keys.Propose(last);
  }
  const size_t at_once = keys.told.size();
  CHECK(at_once <= 24);
  CHECK(keys.Stored() != last);
  keys.loop.Advance(std::chrono::seconds(1));
  CHECK(keys.told.size() == at_once + 1);
  CHECK(keys.told.back() == last);
  CHECK(keys.Stored() == last);
  keys.loop.Advance(std::chrono::seconds(10));
  CHECK(keys.told.size() == at_once + 1);
}

TEST_CASE("edge_keys: what waits is dropped when the edge says otherwise",
          "[edge_keys]") {
  Keys keys;
  for (int i = 0; i < 24; ++i) keys.Propose(Fresh());
  const auto stored = keys.Stored();
  REQUIRE(stored);
  keys.Propose(Fresh());
  keys.Propose(*stored);
  CHECK(keys.told.back() == *stored);
  keys.loop.Advance(std::chrono::seconds(10));
  CHECK(keys.Stored() == stored);
}

TEST_CASE("edge_keys: an edge just followed is given time before it is sought",
          "[edge_keys]") {
  using std::chrono::milliseconds;
  Keys keys;
  const PublicKey next = Fresh();
  keys.Carry(next);
  keys.hears = false;  // it was killed, and goes on with the replacement
  keys.Follow(next);
  keys.loop.Advance(milliseconds(600));  // the device is busy
  CHECK(keys.ReachedBy() == next);
  keys.Carry(next);
  keys.loop.Advance(milliseconds(700));
  CHECK(keys.ReachedBy() == next);
  keys.loop.Advance(milliseconds(400));
  CHECK(keys.ReachedBy() == keys.in_use);
}

TEST_CASE("edge_keys: an edge is sought anew while neither key shakes hands",
          "[edge_keys]") {
  Keys keys;
  const PublicKey next = Fresh();
  keys.Propose(next);
  keys.Carry(next);
  keys.hears = false;
  const auto is_forgotten = [&keys] {
    const auto device = keys.wireguard->Get(kDevice);
    return device.ok() && device->peers.empty();
  };
  for (const int seconds : {1, 2, 4, 6, 6}) {
    keys.loop.Advance(std::chrono::seconds(seconds));
    CHECK(is_forgotten());
    keys.Carry(next);
  }
  // From now on only what answers heartbeats is silent.
  keys.Carry(next, std::chrono::system_clock::now() + std::chrono::hours(1));
  keys.loop.Advance(std::chrono::seconds(60));
  CHECK(!is_forgotten());
  CHECK(keys.ReachedBy() == next);
}

TEST_CASE("edge_keys: a damaged key is that of the device, and written anew",
          "[edge_keys]") {
  Keys keys;
  const PublicKey other = Fresh();
  const PublicKey token = Fresh();
  keys.PutDevice(other);
  const std::string path = keys.folder / "keys/eu.yaml";
  const UplinkKey before = *keys.state.LoadKey("eu");
  REQUIRE(WriteFileAtomically(path, "privateKey: x\n").ok());
  EdgeKeys next = keys.Others();
  REQUIRE(next.Load(kDevice, token).ok());
  CHECK(next.own() == before.own.Public());
  CHECK(next.enrolment() == EdgeEnrolment{token, {keys.in_use, other}});
  CHECK(keys.state.LoadKey("eu")->own == before.own);
  CHECK(ReadFile(path + ".damaged").value() == "privateKey: x\n");
}

TEST_CASE(
    "edge_keys: a key that cannot be read is that of the device, until it "
    "can",
    "[edge_keys]") {
  Keys keys;
  keys.PutDevice(Fresh());
  const std::string path = keys.folder / "keys/eu.yaml";
  const std::string text = ReadFile(path).value();
  REQUIRE(RemoveFile(path).ok());
  REQUIRE(MakeFolders(path).ok());
  EdgeKeys next = keys.Others();
  CHECK_FALSE(next.Load(kDevice, std::nullopt).ok());
  CHECK(next.known());
  CHECK(next.registered());
  CHECK(next.own() == keys.keys->own());
  REQUIRE(std::filesystem::remove(path));
  REQUIRE(WriteFileAtomically(path, text).ok());
  CHECK(next.Load(kDevice, std::nullopt).ok());
  CHECK(next.enrolment() == keys.keys->enrolment());
}

TEST_CASE("edge_keys: without a device a damaged key stays as it is",
          "[edge_keys]") {
  Keys keys;
  const std::string path = keys.folder / "keys/eu.yaml";
  REQUIRE(WriteFileAtomically(path, "privateKey: x\n").ok());
  EdgeKeys next = keys.Others();
  CHECK_FALSE(next.Load(kDevice, std::nullopt).ok());
  CHECK_FALSE(next.known());
  CHECK(ReadFile(path).value() == "privateKey: x\n");
}

}  // namespace
}  // namespace edged::agent