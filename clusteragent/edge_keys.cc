#include "clusteragent/edge_keys.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace edged::agent {
namespace {

using WallClock = std::chrono::system_clock;

constexpr auto kLookInterval = std::chrono::milliseconds(100);
// An edge that replaces its key eight times in a row, as often as it may, sends
// 24.
constexpr int kNoticesAtOnce = 24;
constexpr auto kNoticePause = std::chrono::seconds(1);
// A handshake on a long way, and two heartbeats.
constexpr auto kPatience = std::chrono::milliseconds(750);
// WireGuard itself tries a handshake again after 5 s only.
constexpr auto kFirstSeekPause = std::chrono::milliseconds(1500);
constexpr auto kMostSeekPause = std::chrono::seconds(5);

}  // namespace

EdgeKeys::EdgeKeys(EventLoop& loop, const StateFolder& state, Uplink& uplink,
                   std::string edge, Shell shell)
    : loop_(loop),
      state_(state),
      uplink_(uplink),
      edge_(std::move(edge)),
      shell_(std::move(shell)),
      take_notice_(loop, kNoticesAtOnce, kNoticePause,
                   [this] {
                     if (notice_)
                       TakeNotice(*std::exchange(notice_, std::nullopt));
                   }),
      seek_pause_(kFirstSeekPause, kMostSeekPause) {}

EdgeKeys::~EdgeKeys() {
  loop_.Cancel(follow_timer_);
  loop_.Cancel(look_timer_);
}

absl::Status EdgeKeys::Load(const std::string& device,
                            const std::optional<PublicKey>& token_key) {
  if (loaded_) return absl::OkStatus();
  const auto key = state_.LoadKey(edge_);
  if (key.ok()) {
    Take(*key);
    loaded_ = true;
    return absl::OkStatus();
  }
  if (!known()) Recall(device, token_key);
  if (!known() || !absl::IsDataLoss(key.status())) return key.status();
  ASSIGN_OR_RETURN(const std::string aside, state_.MendKey(edge_, key_));
  spdlog::warn("{}; kept as {}, written anew with the keys of device {}",
               Message(key.status()), aside, device);
  loaded_ = true;
  return absl::OkStatus();
}

void EdgeKeys::Take(const UplinkKey& key) {
  key_ = key;
  own_ = key_.own.Public();
  follower_.known = key_.edge;
  Watch();
}

// Of its peers the edge is that which everything is taken from; another one has
// the other key that the edge may have.
void EdgeKeys::Recall(const std::string& device,
                      const std::optional<PublicKey>& token_key) {
  const auto found = uplink_.Tunnel(device);
  if (!found.ok() || found->private_key.Public() != found->public_key) return;
  UplinkKey key{.own = found->private_key};
  for (const wireguard::Peer& peer : found->peers) {
    if (peer.allowed_ips.empty()) {
      key.edge.other = peer.key;
    } else {
      key.edge.key = peer.key;
    }
  }
  if (key.edge.key.is_zero()) return;
  key.registered_with = token_key.value_or(key.edge.key);
  Take(key);
}

void EdgeKeys::Registered(const PublicKey& token_key,
                          const PublicKey& edge_key) {
  KeyFollower next = follower_;
  if (next.known.other == edge_key) {
    std::swap(next.known.key, *next.known.other);
  }
  if (!registered_with(token_key)) {
    next = {.known = {.key = edge_key}};  // it begins anew
    key_.registered_with = token_key;
    key_.edge = {};
  }
  Become(next);
}

void EdgeKeys::Adopt(const EdgeEnrolment& shared) {
  if (shared == enrolment() || shared.registered_with.is_zero()) return;
  key_.registered_with = shared.registered_with;
  // Which of two keys the edge has is seen here, too.
  if (shared.edge.key == follower_.known.other &&
      shared.edge.other == follower_.known.key) {
    return;
  }
  Become({.known = shared.edge});
}

PublicKey EdgeKeys::NextToTry() {
  const KnownEdgeKeys& known = follower_.known;
  tried_other_ = known.other && !tried_other_;
  return tried_other_ ? *known.other : known.key;
}

void EdgeKeys::OnNotice(const EdgeKeyNotice& notice) {
  notice_.reset();  // the newest word counts
  if (Noticed(follower_, notice, shell_.now()) == follower_) {
    TakeNotice(notice);
    return;
  }
  notice_ = notice;
  take_notice_.Ask();
}

void EdgeKeys::TakeNotice(const EdgeKeyNotice& notice) {
  const bool had_other = follower_.known.other.has_value();
  const bool stored = Become(Noticed(follower_, notice, shell_.now()));
  if (stored && ShouldAnswer(follower_, notice)) shell_.say_stored(notice.key);
  if (notice.phase == EdgeKeyNotice::Phase::kInUse && had_other) {
    spdlog::info("edge {}: uses key {}{}", edge_, notice.key.Short(),
                 registered_with(notice.key) ? "" : "; its token is used up");
  }
}

// False when a key that the edge proposes could not be written down: then
// nothing has changed. Whatever else changes does not wait for a disk.
bool EdgeKeys::Become(const KeyFollower& next) {
  UplinkKey key = key_;
  key.edge = next.known;
  if (key != key_) {
    const absl::Status saved = state_.SaveKey(edge_, key);
    if (!saved.ok()) {
      spdlog::error("edge {}: its key: {}", edge_, Message(saved));
      const auto& other = next.known.other;
      if (other && other != follower_.known.key &&
          other != follower_.known.other) {
        return false;
      }
    }
    key_ = key;
  }
  const KeyFollower before = std::exchange(follower_, next);
  if (before.known.key != next.known.key ||
      before.HasOtherPeer() != next.HasOtherPeer() ||
      before.seeking != next.seeking) {
    shell_.replan();
  }
  Watch();
  return true;
}

// Looks while there are two keys, and at the moment to follow the edge.
void EdgeKeys::Watch() {
  if (follower_.known.other && look_timer_ == 0) {
    look_timer_ = loop_.Every(kLookInterval, [this] { Look(); });
  } else if (!follower_.known.other) {
    loop_.Cancel(std::exchange(look_timer_, 0));
    silent_.reset();
  }
  if (follower_.follow_at && follow_timer_ == 0) {
    follow_timer_ = loop_.After(*follower_.follow_at - shell_.now(), [this] {
      follow_timer_ = 0;
      Look();
    });
  }
}

void EdgeKeys::Carry(const std::string& device) {
  if (device != device_ || follower_.known.key != carried_) {
    patient_until_ = shell_.now() + kPatience;
  }
  device_ = device;
  carried_ = follower_.known.key;
}

void EdgeKeys::Look() {
  Listen();
  const KeyFollower next =
      Observed(follower_, silent_, NewestHandshake(), shell_.now());
  if (next.seeking && !follower_.seeking) {
    spdlog::info("edge {}: silent; sought by both of its keys", edge_);
    seek_pause_.Reset();
    Seek();
  } else if (next.seeking && ShouldSeekAgain()) {
    Seek();
    shell_.replan();
  }
  if (next.known.key != follower_.known.key) {
    spdlog::info("edge {}: reached by key {} now", edge_,
                 next.known.key.Short());
  }
  Become(next);
}

// Silence is what follows a change of peers, too: an edge that was left at once
// for its other key would not be heard by either.
void EdgeKeys::Listen() {
  const bool has_changed =
      !device_.empty() &&
      (carried_ != follower_.known.key || shell_.now() < patient_until_);
  if (shell_.hears() || (has_changed && !follower_.seeking)) {
    silent_.reset();
  } else if (!silent_) {
    silent_ = shell_.now();
    silent_wall_ = WallClock::now();
  }
}

// Both handshakes may have been lost: on the way, because the edge changed its
// key just then, or because it began one at the same moment, which ends neither
// of them. Where one came about, edged alone is silent.
bool EdgeKeys::ShouldSeekAgain() const {
  if (shell_.now() < seek_again_ || device_.empty()) return false;
  const auto device = uplink_.Tunnel(device_);
  return device.ok() && std::ranges::none_of(
                            device->peers, [this](const wireguard::Peer& peer) {
                              return peer.last_handshake > sought_wall_;
                            });
}

// A session that lives on at either end would keep its peer from shaking hands,
// and so from showing which key the edge has.
void EdgeKeys::Seek() {
  sought_wall_ = WallClock::now();
  seek_again_ = shell_.now() + seek_pause_.Next();
  if (device_.empty()) return;
  const absl::Status forgotten = uplink_.ForgetPeers(device_);
  if (!forgotten.ok()) {
    spdlog::warn("device {}: {}", device_, Message(forgotten));
  }
}

std::optional<PublicKey> EdgeKeys::NewestHandshake() const {
  if (!silent_ || device_.empty()) return std::nullopt;
  const auto device = uplink_.Tunnel(device_);
  if (!device.ok()) return std::nullopt;
  std::optional<PublicKey> newest;
  auto last = silent_wall_;
  for (const wireguard::Peer& peer : device->peers) {
    if (peer.last_handshake <= last) continue;
    last = peer.last_handshake;
    newest = peer.key;
  }
  return newest;
}

void EdgeKeys::FillAccess(EdgeAccess& access) const {
  access.own_key = key_.own;
  if (!follower_.known.key.is_zero()) access.edge_key = follower_.known.key;
  if (!follower_.HasOtherPeer()) return;
  access.other_edge_key = follower_.known.other;
  access.seek_other = follower_.seeking;
}

}  // namespace edged::agent
