#include "edged/edge_keys.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using Phase = OwnKeys::Phase;
using SteadyClock = std::chrono::steady_clock;
using WallClock = std::chrono::system_clock;

// From the word to the agent until the switch: the word leaves by the old key.
constexpr auto kSwitchDelay = milliseconds(20);
constexpr auto kLookInterval = milliseconds(100);
constexpr auto kRemindInterval = std::chrono::seconds(10);
constexpr auto kRestAfterFallBack = std::chrono::minutes(10);
// Whoever reaches the API may ask, and each replacement holds back what goes to
// all uplinks for a moment. An agent follows as many without a pause.
constexpr int kRotationsAtOnce = 8;
constexpr auto kRotationPause = std::chrono::seconds(10);

WallClock::time_point LastHandshake(const wireguard::Device& device,
                                    const PublicKey& control_key) {
  WallClock::time_point last{};
  for (const wireguard::Peer& peer : device.peers) {
    if (peer.key != control_key) last = std::max(last, peer.last_handshake);
  }
  return last;
}

}  // namespace

EdgeKeys::EdgeKeys(EventLoop& loop, std::string state_folder, Join join,
                   Dataplane& dataplane,
                   std::function<void(const KeyNotice&)> tell)
    : loop_(loop),
      state_folder_(std::move(state_folder)),
      join_(std::move(join)),
      dataplane_(dataplane),
      tell_(std::move(tell)),
      rotations_(1.0 / kRotationPause.count(), kRotationsAtOnce),
      state_{.keys = {.key = join_.private_key}} {}

EdgeKeys::~EdgeKeys() {
  loop_.Cancel(timer_);
  loop_.Cancel(remind_timer_);
}

void EdgeKeys::Start() {
  remind_timer_ = loop_.Every(kRemindInterval, [this] { Remind(); });
  const auto keys = LoadKeys(state_folder_, join_);
  if (!keys.ok()) {
    damaged_ = std::string(Message(keys.status()));
    const auto device = dataplane_.Tunnel();
    const bool has_key = device.ok() && !device->private_key.is_zero();
    if (has_key) state_.keys.key = device->private_key;
    dataplane_.UseKey(state_.DeviceKey());
    spdlog::error("{}; trying {} key", damaged_,
                  has_key ? "the device's" : "the token's");
    return;
  }
  state_ = Resumed(*keys, SteadyClock::now());
  if (state_.keys.phase == Phase::kSwitching) {
    spdlog::info("key: goes on to replace {} by {}",
                 state_.keys.key.Public().Short(), state_.Subject().Short());
    const auto device = dataplane_.Tunnel();
    const bool switched = device.ok() && device->private_key.Public() ==
                                             state_.DeviceKey().Public();
    since_ = switched ? state_.keys.switched : WallClock::now();
    Watch();
  }
  dataplane_.UseKey(state_.DeviceKey());
}

KeyNotice EdgeKeys::Notice() const {
  return {state_.keys.phase, state_.Subject(), state_.keys.key.Public()};
}

KeyNotice EdgeKeys::Contact() {
  if (state_.keys.phase == Phase::kSwitching) Look();
  contacted_ = true;
  ReplaceTokens();
  return Notice();
}

void EdgeKeys::ReplaceTokens() {
  if (IsTokens() && damaged_.empty() && SteadyClock::now() >= not_before_) {
    Become(Propose(state_, PrivateKey::Generate()));
  }
}

// Either side may have been kept from its step: by its disk, or for want of an
// API server to tell the other replicas by.
void EdgeKeys::Remind() {
  if (contacted_ && !not_saved_.empty()) ReplaceTokens();
  if (state_.keys.phase == Phase::kProposed) tell_(Notice());
}

void EdgeKeys::AgentStored(const PublicKey& key) {
  Become(edge::AgentStored(state_, key, WallClock::now(), SteadyClock::now()));
}

absl::StatusOr<Rotation> EdgeKeys::Rotate() {
  if (state_.keys.phase == Phase::kInUse &&
      !rotations_.TryTake(SteadyClock::now())) {
    return absl::ResourceExhaustedError(fmt::format(
        "the key was replaced {} times in a row; once more after {} s",
        kRotationsAtOnce, kRotationPause.count()));
  }
  if (state_.keys.phase == Phase::kProposed) tell_(Notice());
  if (!Become(Propose(state_, PrivateKey::Generate()))) {
    return Unavailable("the new key cannot be stored: {}", not_saved_);
  }
  return Rotation{.key = state_.keys.key.Public(), .next = state_.Subject()};
}

// False when it could not be written down: then nothing has changed.
bool EdgeKeys::Become(const KeyReplacement& next) {
  const OwnKeys before = state_.keys;
  if (next.keys != before) {
    const absl::Status saved = SaveKeys(state_folder_, join_, next.keys);
    not_saved_ = std::string(Message(saved));
    if (!saved.ok()) {
      spdlog::error("key: {}", not_saved_);
      return false;
    }
    damaged_.clear();
  }
  const KeyNotice notice = Notice();
  state_ = next;
  if (Notice() == notice) return true;
  tell_(Notice());
  switch (state_.keys.phase) {
    case Phase::kProposed:
      spdlog::info("key {}: {} is proposed to follow it",
                   state_.keys.key.Public().Short(), state_.Subject().Short());
      break;
    case Phase::kSwitching:
      loop_.Cancel(timer_);
      timer_ = loop_.After(kSwitchDelay, [this] {
        Look();
        Watch();
      });
      break;
    case Phase::kInUse:
      Settled(before);
      break;
  }
  return true;
}

void EdgeKeys::Settled(const OwnKeys& before) {
  loop_.Cancel(std::exchange(timer_, 0));
  if (state_.keys.key == before.next) {
    spdlog::info("key {}: in use, and {} is gone", state_.Subject().Short(),
                 before.key.Public().Short());
    return;
  }
  not_before_ = SteadyClock::now() + kRestAfterFallBack;
  spdlog::warn("key {}: in use again, nobody has shaken hands by {}",
               state_.Subject().Short(), before.next.Public().Short());
}

void EdgeKeys::Watch() {
  if (state_.keys.phase != Phase::kSwitching) return;
  loop_.Cancel(timer_);
  timer_ = loop_.Every(kLookInterval, [this] { Look(); });
}

// Gives the device the key whose turn it is, and looks for a handshake by it.
void EdgeKeys::Look() {
  Become(TimePassed(state_, SteadyClock::now()));
  dataplane_.UseKey(state_.DeviceKey());
  const auto device = dataplane_.Tunnel();
  if (!device.ok()) return;
  if (device->private_key.Public() != state_.DeviceKey().Public()) {
    since_ = WallClock::now();
    const absl::Status written = dataplane_.WriteKey();
    if (written.ok()) {
      spdlog::info("device {}: key {}", device->name,
                   state_.DeviceKey().Public().Short());
    } else {
      spdlog::error("device {}: {}", device->name, Message(written));
    }
  } else if (LastHandshake(*device, join_.control_key) > since_) {
    Become(ShookHands(state_));
  }
}

void EdgeKeys::FillStatus(EdgeStatus& status) const {
  status.public_key = state_.DeviceKey().Public();
  status.key_of_token = IsTokens();
  if (state_.keys.phase != Phase::kInUse) {
    status.next_public_key = state_.keys.next.Public();
  }
  for (const std::string& trouble : {damaged_, not_saved_}) {
    if (!trouble.empty()) status.warnings.push_back(trouble);
  }
}

}  // namespace edged::edge
