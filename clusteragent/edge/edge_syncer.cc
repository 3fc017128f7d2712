#include "clusteragent/edge/edge_syncer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

#include "clusteragent/edge/message_weight.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;

constexpr auto kFirstRetry = milliseconds(200);
constexpr auto kLastRetry = milliseconds(3'000);
// An edge that lives answers a version far sooner, also a snapshot of 60,000.
constexpr auto kAnswerDeadline = std::chrono::seconds(15);
// The weight of one message; more goes as a snapshot, which is sent in chunks.
constexpr size_t kLargestDelta = 10'000;
constexpr size_t kMostTold = 20;  // refusals of one answer, in the log

// `state` without the mappings that were refused.
protocol::SharedState Without(const protocol::SharedState& state,
                              const std::vector<RefusedMapping>& refusals) {
  if (refusals.empty()) return state;
  protocol::EdgeState rest = state->state();
  std::set<protocol::Listener> refused;
  for (const RefusedMapping& refusal : refusals) {
    refused.insert(refusal.listener);
  }
  std::erase_if(rest.mappings, [&refused](const protocol::Mapping& mapping) {
    return refused.contains(mapping.listener);
  });
  return std::make_shared<const protocol::DigestedState>(std::move(rest),
                                                         state.get());
}

}  // namespace

EdgeSyncer::EdgeSyncer(EventLoop& loop, EdgeClient& client, Epoch epoch,
                       std::string edge, std::function<void()> changed)
    : loop_(loop),
      client_(client),
      epoch_(std::move(epoch)),
      edge_(std::move(edge)),
      changed_(std::move(changed)),
      backoff_(kFirstRetry, kLastRetry) {}

EdgeSyncer::~EdgeSyncer() {
  loop_.Cancel(answer_);
  loop_.Cancel(retry_);
  loop_.Cancel(settled_);
}

void EdgeSyncer::Want(State state) {
  wanted_ = std::move(state);
  if (!stream_ && retry_ == 0) {
    Open();
    return;
  }
  const State answered = progress_.answered;
  SendWhatDiffers();
  if (progress_.answered != answered) changed_();
}

void EdgeSyncer::Open() {
  retry_ = 0;
  sent_version_ = 0;
  answered_version_ = 0;
  in_flight_.reset();
  const State& known = accepted_ ? accepted_ : wanted_;
  stream_ = client_.OpenSync(epoch_, known->digest(), *this);
  ExpectAnswer();
}

void EdgeSyncer::ExpectAnswer() {
  loop_.Cancel(answer_);
  answer_ = loop_.After(kAnswerDeadline, [this] {
    progress_.trouble =
        fmt::format("no answer for {} s", kAnswerDeadline.count());
    spdlog::warn("edge {}: {}; beginning anew", edge_, progress_.trouble);
    RetryLater();
    changed_();
  });
}

void EdgeSyncer::RetryLater() {
  stream_.reset();
  in_flight_.reset();
  progress_.connected = false;
  loop_.Cancel(answer_);
  loop_.Cancel(settled_);
  loop_.Cancel(retry_);
  retry_ = loop_.After(backoff_.Next(), [this] { Open(); });
}

void EdgeSyncer::OnWelcome(const EdgeWelcome& welcome) {
  progress_.connected = true;
  loop_.Cancel(answer_);
  loop_.Cancel(settled_);
  settled_ = loop_.After(kLastRetry, [this] { backoff_.Reset(); });
  progress_.edge_version = welcome.version;
  progress_.reserved_ports = welcome.reserved_ports;
  const Servable before = std::exchange(servable_, Servable(edge_, welcome));
  TakeReport(welcome.report);
  snapshot_needed_ = true;
  if (accepted_ && welcome.digest == DigestOfProgrammed() &&
      before == servable_) {
    snapshot_needed_ = false;
  } else if (welcome.digest == servable_.Of(wanted_)->digest()) {
    TakeAnswer(wanted_, {});
    snapshot_needed_ = false;
  }
  spdlog::info("edge {}: connected, edged {}, digest {}, {}", edge_,
               welcome.version, welcome.digest.Short(),
               snapshot_needed_ ? "sending a snapshot" : "up to date");
  SendWhatDiffers();
  if (!in_flight_) progress_.trouble.clear();
  if (welcome.key) OnKey(*welcome.key);
  // Called last: what listens may hand us a new state.
  changed_();
}

void EdgeSyncer::SendWhatDiffers() {
  if (!stream_ || !progress_.connected || in_flight_) return;
  if (snapshot_needed_) {
    in_flight_ = InFlight{++sent_version_, wanted_, /*is_snapshot=*/true};
    stream_->SendSnapshot(sent_version_, servable_.Of(wanted_)->state());
    ExpectAnswer();
    return;
  }
  if (wanted_->digest() == progress_.answered->digest()) return;
  // What was refused is not in `accepted_`, so it is asked for again with every
  // change: the change may have made room for it.
  const protocol::EdgeDelta delta =
      Difference(accepted_->state(), servable_.Of(wanted_)->state());
  if (delta.empty()) {
    // What was refused is wanted no more, or more is withheld.
    TakeAnswer(wanted_, {});
    return;
  }
  if (WeightOf(delta) > kLargestDelta) {
    snapshot_needed_ = true;
    SendWhatDiffers();
    return;
  }
  in_flight_ = InFlight{++sent_version_, wanted_, /*is_snapshot=*/false};
  stream_->SendDelta(answered_version_, sent_version_, delta);
  ExpectAnswer();
}

void EdgeSyncer::OnResult(const EdgeResult& result) {
  if (!in_flight_ || in_flight_->version != result.version) return;
  const InFlight done = *std::exchange(in_flight_, std::nullopt);
  loop_.Cancel(answer_);
  if (!result.ack) {
    progress_.trouble = result.error;
    spdlog::warn("edge {}: version {} refused: {}", edge_, result.version,
                 result.error);
    snapshot_needed_ = true;
    if (result.snapshot_needed && !done.is_snapshot) {
      SendWhatDiffers();
    } else {
      RetryLater();
    }
    changed_();
    return;
  }
  snapshot_needed_ = false;
  answered_version_ = result.version;
  progress_.trouble.clear();
  TakeAnswer(done.state, result.refused);
  spdlog::info(
      "edge {}: version {} applied, {} mappings, {} refused, {:.2f} ms", edge_,
      result.version, accepted_->state().mappings.size(), result.refused.size(),
      std::chrono::duration<double, std::milli>(result.apply_time).count());
  for (size_t i = 0; i < result.refused.size(); ++i) {
    if (i == kMostTold) {
      spdlog::warn("edge {}: and {} more", edge_, result.refused.size() - i);
      break;
    }
    const RefusedMapping& refusal = result.refused[i];
    spdlog::warn("edge {}: {}: {}: {}", edge_, refusal.listener.ToString(),
                 refusal.reason, refusal.message);
  }
  CheckDigest(result.digest);
  SendWhatDiffers();
  changed_();
}

// `state` is there but for what is `refused` of it, and what was withheld.
void EdgeSyncer::TakeAnswer(const State& state,
                            std::vector<RefusedMapping> refused) {
  progress_.answered = state;
  accepted_ = Without(servable_.Of(state), refused);
  refused_by_result_ = std::move(refused);
  std::ranges::move(servable_.Withheld(state->state()),
                    std::back_inserter(refused_by_result_));
  Refuse(refused_by_result_);
}

// What the edge accepted may not be in its kernel.
protocol::Digest EdgeSyncer::DigestOfProgrammed() const {
  return Without(accepted_, progress_.report.not_programmed)->digest();
}

void EdgeSyncer::CheckDigest(const protocol::Digest& digest) {
  const protocol::Digest expected = DigestOfProgrammed();
  if (digest == expected) {
    backoff_.Reset();
    return;
  }
  progress_.trouble = fmt::format("edge has digest {}, expected {}",
                                  digest.Short(), expected.Short());
  spdlog::warn("edge {}: {}; beginning anew", edge_, progress_.trouble);
  RetryLater();
}

void EdgeSyncer::OnReport(const EdgeLifeReport& report) {
  TakeReport(report);
  // Somebody else may have changed the edge since. While a version is under
  // way the edge may be ahead of what we know.
  if (progress_.connected && !in_flight_ && !snapshot_needed_) {
    CheckDigest(report.digest);
  }
  changed_();
}

void EdgeSyncer::OnKey(const EdgeKeyNotice& notice) {
  if (key_notice_) key_notice_(notice);
}

void EdgeSyncer::SayKeyStored(const PublicKey& key) {
  if (stream_) stream_->SendKeyStored(key);
}

void EdgeSyncer::TakeReport(const EdgeLifeReport& report) {
  progress_.report = report;
  Refuse(refused_by_result_);
}

void EdgeSyncer::Refuse(const std::vector<RefusedMapping>& refusals) {
  progress_.refused.clear();
  const auto add = [this](const std::vector<RefusedMapping>& list) {
    for (const RefusedMapping& refusal : list) {
      progress_.refused[refusal.listener] =
          fmt::format("{}: {}", refusal.reason, refusal.message);
    }
  };
  add(refusals);
  add(progress_.report.not_programmed);
}

void EdgeSyncer::OnEnd(const absl::Status& status) {
  const bool was_connected = progress_.connected;
  progress_.trouble =
      status.ok() ? "the edge ended the stream" : std::string(Message(status));
  if (was_connected || absl::IsFailedPrecondition(status)) {
    spdlog::warn("edge {}: stream ended: {}", edge_, progress_.trouble);
  }
  RetryLater();
  changed_();
}

}  // namespace edged::agent
