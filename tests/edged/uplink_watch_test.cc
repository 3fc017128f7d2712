#include "edged/uplink_watch.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr UplinkWatch::Time kBegin{std::chrono::hours(1)};

// Uplink a of the sample edge, and nobody.
const IpAddress kA = Ip("10.200.0.16"), kNobody = Ip("10.200.0.99");

// Remembers what it sends.
class FakeServer final : public HeartbeatServer {
 public:
  explicit FakeServer(std::string& greeted) : greeted_(greeted) {}

  void Greet(const IpAddress& uplink) override {
    greeted_ += uplink.ToString() + " ";
  }

 private:
  std::string& greeted_;
};

// A watch of the sample edge, and the owner that it tells. Time is the loop's,
// and what heeding takes.
struct Watched final : UplinkWatch::Owner {
  void Heed() override {
    ++heeded;
    busy += takes;
  }
  void JudgeHealth() override { ++judged; }
  uint32_t OnProbe(const std::string& uplink,
                   const protocol::PathProbe& probe) override {
    probes += fmt::format("{} {} ", uplink, probe.uplink_mtu);
    return 1400;
  }
  std::map<PublicKey, uint64_t> ReceivedBytes() override {
    ++asked;
    return {{Key(1), received}, {Key(77), 1}};
  }
  bool HasWay() override { return has_way; }
  void RenewSilentPeers() override { ++renewed; }

  Watched() { watch.Update(model); }

  // After Hear().
  void Say(const IpAddress& from, bool ready = true) {
    receive(from, {.ready = ready});
  }
  std::string Alive() const {
    std::string names;
    for (const auto& [name, health] : watch.Judge()) {
      if (health == Health::kAlive) names += name;
    }
    return names;
  }

  int heeded = 0, judged = 0, asked = 0, renewed = 0;
  uint64_t received = 0;
  bool has_way = true;
  std::string probes, greeted;
  EventLoop::Duration takes{}, busy{};

  EdgeModel model = ModelOf(SampleState());
  VirtualLoop loop;
  absl::Status serves;
  HeartbeatServer::Receive receive;
  HeartbeatServer::Probed probed;
  int opened = 0;
  UplinkWatch watch{loop, *this, SampleLimits().overlay,
                    [this](HeartbeatServer::Receive on_heartbeat,
                           HeartbeatServer::Probed on_probe)
                        -> absl::StatusOr<std::unique_ptr<HeartbeatServer>> {
                      if (!serves.ok()) return serves;
                      ++opened;
                      receive = std::move(on_heartbeat);
                      probed = std::move(on_probe);
                      return std::make_unique<FakeServer>(greeted);
                    },
                    [this] { return kBegin + loop.now() + busy; }};
};

}  // namespace

TEST_CASE("uplink_watch: whoever is heard is alive, and strangers are nobody",
          "[uplink_watch]") {
  Watched edge;
  REQUIRE(*edge.watch.Hear(7));
  edge.Say(kNobody);
  CHECK(edge.heeded == 0);
  CHECK(edge.Alive() == "");
  edge.Say(kA);
  CHECK(edge.heeded == 1);
  CHECK(edge.Alive() == "a");
  CHECK(edge.watch.LastHeartbeat("a")->ready);
  CHECK(edge.watch.LastHeard("a"));
  CHECK_FALSE(edge.watch.LastHeard("b"));
  CHECK_FALSE(edge.probed(kNobody, {.uplink_mtu = 1300}));
  CHECK(edge.probed(kA, {.uplink_mtu = 1300}) == 1400);
  CHECK(edge.probes == "a 1300 ");
}

TEST_CASE("uplink_watch: whoever talks without end gets a fifth of the time",
          "[uplink_watch]") {
  Watched edge;
  REQUIRE(edge.watch.Hear(7).ok());
  const auto talk = [&edge](seconds time) {
    edge.heeded = 0;
    const auto end = edge.loop.now() + edge.busy + time;
    while (edge.loop.now() + edge.busy < end) {
      edge.Say(kA);
      edge.loop.Advance(milliseconds(1));
    }
  };
  talk(seconds(1));
  CHECK(edge.heeded > 150);
  CHECK(edge.heeded <= 201);  // one in 5 ms
  edge.takes = milliseconds(20);
  talk(seconds(10));
  CHECK(edge.heeded > 80);
  CHECK(edge.heeded <= 101);  // of 20 ms each
  // The last words are heeded, too.
  edge.Say(kA);
  edge.Say(kA);
  const int before = edge.heeded;
  edge.loop.Advance(seconds(1));
  CHECK(edge.heeded == before + 1);
}

TEST_CASE("uplink_watch: time passes for who is silent", "[uplink_watch]") {
  Watched edge;
  REQUIRE(edge.watch.Hear(7).ok());
  edge.loop.Advance(seconds(1));
  CHECK(edge.judged == 0);
  edge.watch.StartJudging();
  edge.watch.StartJudging();
  edge.loop.Advance(seconds(1));
  CHECK(edge.judged == 8);  // half of 250 ms
  protocol::EdgeState state = SampleState();
  state.settings.heartbeat_interval = milliseconds(1'000);
  edge.watch.Update(ModelOf(state));
  edge.judged = 0;
  edge.loop.Advance(seconds(1));
  CHECK(edge.judged == 2);
}

TEST_CASE("uplink_watch: bytes are asked for where somebody seems silent",
          "[uplink_watch]") {
  Watched edge;
  REQUIRE(edge.watch.Hear(7).ok());
  edge.Say(kA);
  UplinkHealth health = edge.watch.Judge({});
  CHECK(edge.asked == 0);
  CHECK(HealthOf(health, "a") == Health::kAlive);
  // The first answer is nothing to compare with.
  edge.received = 100;
  edge.loop.Advance(milliseconds(800));
  health = edge.watch.Judge(health);
  CHECK(edge.asked == 1);
  CHECK(HealthOf(health, "a") == Health::kSuspect);
  edge.received = 200;
  edge.loop.Advance(milliseconds(800));
  CHECK(HealthOf(edge.watch.Judge({{"a", Health::kAlive}}), "a") ==
        Health::kAlive);
  CHECK(edge.asked == 2);
}

TEST_CASE("uplink_watch: the dead are given up after half a minute",
          "[uplink_watch]") {
  Watched edge;
  REQUIRE(edge.watch.Hear(7).ok());
  edge.Say(kA);
  edge.loop.Advance(seconds(32));
  CHECK(edge.watch.LongDead().empty());
  edge.loop.Advance(seconds(1));
  CHECK(edge.watch.LongDead() == std::set<std::string>{"a"});
  edge.Say(kA);
  CHECK(edge.watch.LongDead().empty());
}

TEST_CASE("uplink_watch: hears on the device that there is", "[uplink_watch]") {
  Watched edge;
  edge.watch.Greet();
  CHECK(edge.greeted == "");
  CHECK(*edge.watch.Hear(7));
  CHECK_FALSE(*edge.watch.Hear(7));
  CHECK(edge.opened == 1);
  edge.watch.Greet();
  CHECK(edge.greeted == "10.200.0.16 10.200.0.32 10.200.0.48 ");
  edge.serves = absl::UnavailableError("no device");
  CHECK_FALSE(edge.watch.Hear(8).ok());
  edge.serves = absl::OkStatus();
  CHECK(edge.watch.Hear(8).ok());
  CHECK(edge.opened == 2);
}

TEST_CASE("uplink_watch: who was there before a start has time to notice it",
          "[uplink_watch]") {
  Watched edge;
  edge.watch.Update(EdgeModel());
  edge.watch.Update(edge.model, /*grace=*/true);
  REQUIRE(edge.watch.Hear(7).ok());
  edge.has_way = false;
  edge.watch.AwaitFirstWords();
  edge.loop.Advance(seconds(60));
  CHECK(edge.Alive() == "abc");  // nobody could be heard
  CHECK(edge.greeted == "");
  edge.has_way = true;
  edge.loop.Advance(milliseconds(4'950));
  CHECK(edge.Alive() == "abc");
  CHECK(edge.renewed == 5);  // one a second
  CHECK(edge.greeted.size() == 5 * 36);
  edge.loop.Advance(seconds(4));
  CHECK(edge.Alive() == "");
  CHECK(edge.renewed == 6);  // the last one when five seconds are over
  CHECK(edge.loop.timers() == 0);
}

TEST_CASE("uplink_watch: once all have been heard nobody is greeted",
          "[uplink_watch]") {
  Watched edge;
  edge.watch.Update(EdgeModel());
  edge.watch.Update(edge.model, /*grace=*/true);
  REQUIRE(edge.watch.Hear(7).ok());
  for (const char* uplink : {"10.200.0.16", "10.200.0.32", "10.200.0.48"}) {
    edge.Say(Ip(uplink));
  }
  edge.watch.AwaitFirstWords();
  edge.loop.Advance(seconds(2));
  CHECK(edge.renewed == 0);
}

}  // namespace edged::edge
