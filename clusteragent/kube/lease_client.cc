#include "clusteragent/kube/lease_client.h"

#include <time.h>

#include <utility>

#include "absl/random/random.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clusteragent/kube/json_reading.h"
#include "clusteragent/kube/watch_progress.h"
#include "common/status.h"

namespace edged::kube {
namespace {

// The steady clock stands still while the machine sleeps; this one does not.
LeaderElection::TimePoint Now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return LeaderElection::TimePoint(std::chrono::seconds(time.tv_sec) +
                                   std::chrono::nanoseconds(time.tv_nsec));
}

// Kubernetes' MicroTime, for people to read.
std::string WallTime() {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(),
                          absl::UTCTimeZone());
}

LeaseRecord ReadLease(const nlohmann::json& object) {
  const nlohmann::json& spec = Field(object, "spec");
  // Beyond 32 bits the API takes neither.
  const int64_t seconds = Number(Field(spec, "leaseDurationSeconds"), 0);
  return {.holder = Text(Field(spec, "holderIdentity")),
          .duration = std::chrono::seconds(static_cast<int32_t>(seconds)),
          .transitions =
              static_cast<int32_t>(Number(Field(spec, "leaseTransitions"), 0)),
          .renewed = Text(Field(spec, "renewTime"))};
}

void WriteLease(const LeaseRecord& record, nlohmann::json& object) {
  nlohmann::json& spec = object["spec"];
  if (!spec.is_object()) spec = nlohmann::json::object();
  const bool same_term =
      Text(Field(spec, "holderIdentity")) == record.holder &&
      Number(Field(spec, "leaseTransitions"), -1) == record.transitions;
  if (!same_term) spec["acquireTime"] = record.renewed;
  spec["holderIdentity"] = record.holder;
  spec["leaseDurationSeconds"] = record.duration.count();
  spec["leaseTransitions"] = record.transitions;
  spec["renewTime"] = record.renewed;
}

}  // namespace

RestSettings LeaseRestSettings() {
  return {.deadline = std::chrono::seconds(4),
          .attempt = std::chrono::seconds(3),
          .last_retry = std::chrono::seconds(1)};
}

LeaseClient::LeaseClient(EventLoop& loop, RestClient& client, Settings settings,
                         Told told)
    : loop_(loop),
      client_(client),
      settings_(std::move(settings)),
      told_(std::move(told)),
      lease_{kLeases, settings_.name_space, settings_.name, ""},
      election_(settings_.identity, settings_.timing, settings_.alone) {}

LeaseClient::~LeaseClient() {
  client_.Cancel(call_);
  loop_.Cancel(look_timer_);
  loop_.Cancel(lapse_timer_);
}

void LeaseClient::Start() { LookIn({}); }

void LeaseClient::Exceed(int64_t term) {
  election_.Exceed(term);
  if (settings_.alone && call_ == 0 && look_timer_ == 0) LookIn({});
}

void LeaseClient::LookIn(LeaderElection::Duration pause) {
  Judge();
  if (pause.count() > 0) {
    static absl::BitGen random;  // on the loop thread alone
    pause = std::chrono::milliseconds(
        absl::Uniform(random, pause.count() * 4 / 5, pause.count() + 1));
  }
  look_timer_ = loop_.After(pause, [this] {
    look_timer_ = 0;
    cluster_uid_.empty() ? FindCluster() : Look();
  });
}

void LeaseClient::FindCluster() {
  call_ =
      client_.Get({kNamespaces, "", kSystemNamespace, ""},
                  [this](const absl::StatusOr<nlohmann::json>& object) {
                    call_ = 0;
                    TellTrouble(object.status());
                    if (object.ok())
                      cluster_uid_ = Text(Field(*object, "metadata", "uid"));
                    LookIn(cluster_uid_.empty() ? settings_.timing.retry
                                                : LeaderElection::Duration());
                  });
}

void LeaseClient::Look() {
  call_ = client_.Get(lease_, [this](absl::StatusOr<nlohmann::json> object) {
    call_ = 0;
    Take(std::move(object));
  });
}

void LeaseClient::Take(absl::StatusOr<nlohmann::json> object) {
  const bool missing = absl::IsNotFound(object.status());
  if (!object.ok() && !missing) {
    TellTrouble(object.status());
    return LookIn(settings_.timing.retry);
  }
  object_.reset();
  std::optional<LeaseRecord> seen;
  if (object.ok()) {
    object_ = *std::move(object);
    NoteVersion(*object_);
    seen = ReadLease(*object_);
  }
  auto record = election_.Observe(Now(), seen);
  Judge();
  if (!record) {
    TellTrouble(absl::OkStatus());
    return LookIn(settings_.timing.retry);
  }
  Write(object_, *std::move(record));
}

void LeaseClient::Write(std::optional<nlohmann::json> object,
                        LeaseRecord record) {
  const auto sent = Now();
  record.renewed = WallTime();
  const auto done = [this, sent,
                     record](absl::StatusOr<nlohmann::json> written) {
    call_ = 0;
    // Another replica was faster: the next look tells.
    const bool lost = absl::IsAborted(written.status()) ||
                      absl::IsAlreadyExists(written.status()) ||
                      absl::IsNotFound(written.status());
    TellTrouble(lost ? absl::OkStatus() : written.status());
    if (written.ok()) {
      election_.Written(sent, record);
      object_ = *std::move(written);
      NoteVersion(*object_);
      if (settings_.alone && !election_.must_rise()) return Judge();
    }
    LookIn(settings_.timing.retry);
  };
  if (object) {
    WriteLease(record, *object);
    call_ = client_.Replace(lease_, *std::move(object), done);
    return;
  }
  nlohmann::json body = {
      {"apiVersion", kLeases.ApiVersion()},
      {"kind", kLeases.kind},
      {"metadata",
       {{"name", settings_.name}, {"namespace", settings_.name_space}}}};
  WriteLease(record, body);
  call_ = client_.Create(lease_, std::move(body), done);
}

// What is read of a single object is what the store has, not a server's memory
// of it.
void LeaseClient::NoteVersion(const nlohmann::json& object) {
  std::string version = Text(Field(object, "metadata", "resourceVersion"));
  const bool is_older = IsOlderVersion(version, version_);
  version_ = std::move(version);
  if (is_older) told_.restored();
}

void LeaseClient::Judge() {
  const auto now = Now();
  std::optional<Term> term;
  if (const auto number = election_.Term(now)) {
    term = Term{cluster_uid_, *number};
  }
  loop_.Cancel(std::exchange(lapse_timer_, 0));
  if (term) {
    lapse_timer_ = loop_.After(
        election_.Remaining(now) + std::chrono::milliseconds(1), [this] {
          lapse_timer_ = 0;
          Judge();
        });
  }
  if (term == term_) return;
  term_ = term;
  told_.changed(term_);
}

void LeaseClient::Release(std::function<void()> done) {
  client_.Cancel(std::exchange(call_, 0));
  loop_.Cancel(std::exchange(look_timer_, 0));
  auto record = election_.Release(Now());
  Judge();
  if (!record || !object_) {
    look_timer_ = loop_.After({}, std::move(done));
    return;
  }
  record->renewed = WallTime();
  nlohmann::json object = *object_;
  WriteLease(*record, object);
  call_ = client_.Replace(lease_, std::move(object),
                          [this, done = std::move(done)](const auto&) {
                            call_ = 0;
                            done();
                          });
}

void LeaseClient::TellTrouble(const absl::Status& status) {
  if (trouble_.Becomes(status)) told_.trouble(status);
}

}  // namespace edged::kube
