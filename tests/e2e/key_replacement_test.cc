// Every way that two sides can go through a replacement of the edge's key:
// every message lost, every crash on either side, in every order.
#include "edged/core/key_replacement.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/core/key_replacement.h"

namespace edged {
namespace {

using agent::EdgeKeyNotice;
using edge::OwnKeys;

constexpr int kReplacements = 2;  // the token's key, and one RotateKey

const std::vector<PrivateKey>& Keys() {
  static const auto* keys = [] {
    auto* made = new std::vector<PrivateKey>;
    for (uint8_t n = 0; n <= kReplacements; ++n) {
      std::array<uint8_t, kKeySize> bytes{};
      bytes.fill(static_cast<uint8_t>(64 + n));
      made->emplace_back(bytes);
    }
    return made;
  }();
  return *keys;
}

std::string Name(const PublicKey& key) {
  for (size_t n = 0; n < Keys().size(); ++n) {
    static std::vector<PublicKey> known = [] {
      std::vector<PublicKey> all;
      for (const PrivateKey& one : Keys()) all.push_back(one.Public());
      return all;
    }();
    if (known[n] == key) return std::to_string(n);
  }
  return "-";
}

EdgeKeyNotice NoticeOf(const edge::KeyReplacement& state) {
  static constexpr EdgeKeyNotice::Phase kPhases[] = {
      EdgeKeyNotice::Phase::kInUse, EdgeKeyNotice::Phase::kProposed,
      EdgeKeyNotice::Phase::kSwitching};
  return {kPhases[static_cast<int>(state.keys.phase)], state.Subject(),
          state.keys.key.Public()};
}

// Both sides, their disks, the edge's device, and what is on the way. What the
// programs do around the pure parts is written down here once more, in short.
struct World {
  edge::KeyReplacement edge;
  OwnKeys edge_disk;
  PrivateKey device;
  agent::KeyFollower follower;
  agent::KnownEdgeKeys agent_disk;
  bool open = false;  // a stream
  std::deque<EdgeKeyNotice> to_agent;
  std::deque<PublicKey> to_edge;
  int fresh = 1;  // the next new key

  World() {
    edge.keys.key = edge_disk.key = device = Keys()[0];
    follower.known.key = agent_disk.key = Keys()[0].Public();
  }

  bool LinkIsUp() const { return device.Public() == follower.known.key; }
  // The uplink has a peer of the device's key that shakes hands.
  bool ShakesHands() const {
    return LinkIsUp() ||
           (follower.seeking && follower.known.other == device.Public());
  }

  void Break() {
    open = false;
    to_agent.clear();
    to_edge.clear();
  }
  void EdgeBecomes(const edge::KeyReplacement& next) {
    const EdgeKeyNotice before = NoticeOf(edge);
    edge = next;
    edge_disk = next.keys;
    if (open && NoticeOf(edge) != before) to_agent.push_back(NoticeOf(edge));
  }
  void AgentBecomes(const agent::KeyFollower& next) {
    follower = next;
    agent_disk = next.known;
  }

  bool Rotate() {
    if (fresh > kReplacements) return false;
    const auto next = Propose(edge, Keys()[fresh]);
    if (next == edge) return false;
    ++fresh;
    EdgeBecomes(next);
    return true;
  }
  bool Open() {
    if (open || !LinkIsUp()) return false;
    if (edge.keys.phase == OwnKeys::Phase::kSwitching) Look();
    if (edge.keys.key == Keys()[0]) Rotate();
    open = true;
    to_agent.push_back(NoticeOf(edge));
    return true;
  }
  bool Hear() {
    if (to_agent.empty()) return false;
    const EdgeKeyNotice notice = to_agent.front();
    to_agent.pop_front();
    AgentBecomes(Noticed(follower, notice, {}));
    if (ShouldAnswer(follower, notice)) to_edge.push_back(notice.key);
    return true;
  }
  bool Answer() {
    if (to_edge.empty()) return false;
    const PublicKey key = to_edge.front();
    to_edge.pop_front();
    EdgeBecomes(AgentStored(edge, key, {}, {}));
    return true;
  }
  bool Look() {
    if (device != edge.DeviceKey()) {
      device = edge.DeviceKey();
      return true;
    }
    if (edge.keys.phase != OwnKeys::Phase::kSwitching || !ShakesHands()) {
      return false;
    }
    EdgeBecomes(ShookHands(edge));
    return true;
  }
  bool Wait() {
    if (edge.keys.phase != OwnKeys::Phase::kSwitching) return false;
    EdgeBecomes(TimePassed(edge, edge.turn_ends));
    device = edge.DeviceKey();
    return true;
  }
  bool Observe() {
    const agent::KeyFollower before = follower;
    std::optional<agent::KeyFollower::SteadyTime> silent;
    std::optional<PublicKey> newest;
    if (!LinkIsUp()) silent.emplace();
    if (ShakesHands()) newest = device.Public();
    AgentBecomes(
        Observed(follower, silent, newest,
                 agent::KeyFollower::SteadyTime() + agent::kSeekAfter));
    return follower != before;
  }
  bool EdgeCrashes() {
    Break();
    edge = Resumed(edge_disk, {});
    return true;
  }
  bool AgentCrashes() {
    Break();
    follower = {.known = agent_disk};
    return true;
  }

  // Nothing is lost and nobody crashes: as the two programs do it.
  void GoOn() {
    for (int i = 0; i < 60; ++i) {
      if (open && !LinkIsUp()) Break();  // keepalives end it
      if (Look() || Observe() || Open() || Hear() || Answer()) continue;
      Wait();
    }
  }
  bool IsSettled() const {
    return edge.keys.phase == OwnKeys::Phase::kInUse && LinkIsUp() &&
           edge.keys.key == device && edge_disk == edge.keys &&
           follower.known == agent_disk && !follower.known.other;
  }

  std::string ToString() const {
    std::string text = fmt::format(
        "edge {}:{}>{}{} device {} | agent {}/{}{}{}{} |",
        static_cast<int>(edge.keys.phase), Name(edge.keys.key.Public()),
        edge.keys.next.is_zero() ? "-" : Name(edge.keys.next.Public()),
        edge.next_has_turn ? "" : " old's turn", Name(device.Public()),
        Name(follower.known.key),
        follower.known.other ? Name(*follower.known.other) : "-",
        follower.seeking ? " seeking" : "", follower.left_other ? " left" : "",
        follower.follow_at ? " follows" : "");
    text += fmt::format(" {} fresh {}:", open ? "open" : "closed", fresh);
    for (const auto& notice : to_agent) {
      text += fmt::format(" {}{}", static_cast<int>(notice.phase),
                          Name(notice.key));
    }
    for (const auto& key : to_edge) text += " <" + Name(key);
    return text;
  }
};

struct Step {
  const char* name;
  bool (World::*make)();
};

bool BreakOpen(World& world) {
  if (!world.open) return false;
  world.Break();
  return true;
}

constexpr Step kSteps[] = {{"open", &World::Open},
                           {"hear", &World::Hear},
                           {"answer", &World::Answer},
                           {"look", &World::Look},
                           {"observe", &World::Observe},
                           {"wait", &World::Wait},
                           {"rotate", &World::Rotate},
                           {"edge crashes", &World::EdgeCrashes},
                           {"agent crashes", &World::AgentCrashes}};

// All states that can be reached, each with how.
std::map<std::string, std::pair<World, std::string>> Explore() {
  std::map<std::string, std::pair<World, std::string>> found;
  std::deque<std::pair<World, std::string>> todo = {{World(), ""}};
  while (!todo.empty()) {
    auto [world, path] = std::move(todo.front());
    todo.pop_front();
    if (!found.try_emplace(world.ToString(), world, path).second) continue;
    for (const Step& step : kSteps) {
      World next = world;
      if ((next.*step.make)()) todo.emplace_back(next, path + ", " + step.name);
    }
    World next = world;
    if (BreakOpen(next)) todo.emplace_back(next, path + ", break");
  }
  return found;
}

TEST_CASE("key_replacement: whatever is lost and whoever crashes, both agree",
          "[key_replacement]") {
  const auto found = Explore();
  CHECK(found.size() > 300);  // the search went somewhere
  bool replaced_twice = false;
  for (const auto& [text, state] : found) {
    const auto& [world, path] = state;
    INFO(text << " after" << path);
    // The edge's key is never one that the agent has let go of.
    CHECK((world.agent_disk.key == world.edge_disk.key.Public() ||
           world.agent_disk.other == world.edge_disk.key.Public()));
    World later = world;
    later.GoOn();
    INFO("then " << later.ToString());
    CHECK(later.IsSettled());
    replaced_twice = replaced_twice || world.edge.keys.key == Keys()[2];
  }
  CHECK(replaced_twice);
}

TEST_CASE("key_replacement: undisturbed, the edge switches first",
          "[key_replacement]") {
  World world;
  std::string told;
  const auto make = [&](const char* name, bool (World::*step)()) {
    REQUIRE((world.*step)());
    told += fmt::format("{:8}{}\n", name, world.ToString());
  };
  make("open", &World::Open);
  make("hear", &World::Hear);
  make("answer", &World::Answer);
  make("look", &World::Look);
  make("hear", &World::Hear);
  make("observe", &World::Observe);
  make("look", &World::Look);
  make("hear", &World::Hear);
  CHECK(told ==
        R"(open    edge 1:0>1 device 0 | agent 0/- | open fresh 2: 11
hear    edge 1:0>1 device 0 | agent 0/1 | open fresh 2: <1
answer  edge 2:0>1 device 0 | agent 0/1 | open fresh 2: 21
look    edge 2:0>1 device 1 | agent 0/1 | open fresh 2: 21
hear    edge 2:0>1 device 1 | agent 0/1 follows | open fresh 2:
observe edge 2:0>1 device 1 | agent 1/0 left | open fresh 2:
look    edge 0:1>- device 1 | agent 1/0 left | open fresh 2: 01
hear    edge 0:1>- device 1 | agent 1/- | open fresh 2:
)");
}

}  // namespace
}  // namespace edged
