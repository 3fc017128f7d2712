#include "clusteragent/controller/kube_control_plane.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "clusteragent/controller/control_key.h"
#include "clusteragent/kube/api_error.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using nlohmann::json;

constexpr auto kAgain = std::chrono::seconds(5);  // after a failure

}  // namespace

absl::StatusOr<std::unique_ptr<KubeControlPlane>> KubeControlPlane::Create(
    EventLoop& loop, const KubeOptions& options) {
  Clients clients;
  ASSIGN_OR_RETURN(clients.reading,
                   kube::RestClient::Create(loop, options.config));
  ASSIGN_OR_RETURN(clients.writing,
                   kube::RestClient::Create(loop, options.config));
  ASSIGN_OR_RETURN(clients.lease,
                   kube::RestClient::Create(loop, options.config,
                                            kube::LeaseRestSettings()));
  return std::unique_ptr<KubeControlPlane>(
      new KubeControlPlane(loop, options, std::move(clients)));
}

KubeControlPlane::KubeControlPlane(EventLoop& loop, const KubeOptions& options,
                                   Clients clients)
    : loop_(loop),
      options_(options),
      clients_(std::move(clients)),
      contest_(kube::LeaderElection::Timing().lease) {}

KubeControlPlane::~KubeControlPlane() {
  clients_.reading->Cancel(secret_call_);
  clients_.reading->Cancel(uplink_call_);
  for (const auto call : shares_) clients_.reading->Cancel(call);
  for (const auto timer : {secret_timer_, uplink_timer_, resync_timer_,
                           stop_timer_, contest_timer_}) {
    loop_.Cancel(timer);
  }
}

absl::Status KubeControlPlane::Start(std::function<void()> changed,
                                     std::function<void()> told_of) {
  changed_ = std::move(changed);
  heard_ = std::move(told_of);
  const auto hear = [this](const std::string& what, const absl::Status& why) {
    troubles_.Hear(what, why);
    if (!why.ok()) return;
    source_->Hurry();
    uplinks_->Hurry();
  };
  writer_ = std::make_unique<StatusWriter>(
      loop_, *clients_.writing,
      [this](const kube::ObjectRef& object, const absl::Status& why) {
        NoteWriting(object, why);
      });
  events_ =
      std::make_unique<EventRecorder>(*clients_.writing, options_.uplink_name);
  source_ = std::make_unique<KubeSource>(
      loop_, *clients_.reading, options_.watch_namespaces, options_.annotations,
      KubeSource::Told{.changed = [this] { Change(); },
                       .heard = [this](const ObjectKey& key) { Hear(key); },
                       .trouble = hear});
  uplinks_ = std::make_unique<kube::KindMirror<UplinkObject>>(
      loop_, *clients_.reading,
      kube::Collection{kube::kUplinks, options_.name_space, "", ""}, ReadUplink,
      kube::KindMirror<UplinkObject>::Heard{
          .object =
              [this](const UplinkObject* before, const UplinkObject* after) {
                if (kube::IsAnother(before, after)) OnUplinks();
              },
          .all = [this] { OnUplinks(); }},
      [hear](const absl::Status& why) { hear("uplinks", why); });
  lease_ = std::make_unique<kube::LeaseClient>(
      loop_, *clients_.lease,
      kube::LeaseClient::Settings{.name_space = options_.lease_namespace.empty()
                                                    ? options_.name_space
                                                    : options_.lease_namespace,
                                  .identity = options_.uplink_name,
                                  .alone = options_.alone},
      kube::LeaseClient::Told{
          .changed = [this](const auto& term) { FollowTerm(term); },
          .trouble = [hear](const absl::Status& why) { hear("lease", why); },
          .restored = [this] { BeginAnew(); }});
  source_->Start();
  uplinks_->Start();
  FindSecret();
  MakeUplink();
  resync_timer_ = loop_.Every(options_.resync, [this] {
    FindSecret();
    untold_ = true;
    ChangeEverything();
  });
  return absl::OkStatus();
}

bool KubeControlPlane::ready() const {
  return source_->complete() && uplinks_->known() && has_secret_;
}

void KubeControlPlane::Change() {
  if (!ready()) return;
  const auto& namespaces = objects().namespaces();
  const auto system = namespaces.find(kube::kSystemNamespace);
  if (system != namespaces.end()) identity_.uid = system->second.meta.uid;
  // Not before: else nobody leads while this one cannot.
  if (!stands_ && Company().empty()) {
    stands_ = true;
    lease_->Start();
  }
  changed_();
}

void KubeControlPlane::ChangeEverything() {
  objects().ChangeEverything();
  Change();
}

// Others may have written what is ours to say.
void KubeControlPlane::Hear(const ObjectKey& key) {
  untold_objects_.insert(key);
  if (ready()) heard_();
}

// The store is another one: what was read and written may not be in it.
void KubeControlPlane::BeginAnew() {
  spdlog::warn(
      "Kubernetes: Lease {} is older than it was: the cluster came back from a "
      "backup; reading everything anew",
      lease_->LeaseName());
  source_->Relist();
  uplinks_->Relist();
  FindSecret();
  writer_->Clear();
  told_own_.reset();
  untold_ = true;
  ChangeEverything();
}

// What was begun in another term ends with it.
void KubeControlPlane::FollowTerm(const std::optional<kube::Term>& term) {
  if (!term) writer_->Clear();
  for (const auto call : std::exchange(shares_, {})) {
    clients_.reading->Cancel(call);
  }
  led_ = false;
  records_ = {};
  untold_ = true;
  troubles_.Hear("term", absl::OkStatus());
  ChangeEverything();
}

// An API server that is away is told of once, whatever was to be written, and a
// verb that nothing grants once for all objects. What is refused of one object
// keeps nobody from his work.
void KubeControlPlane::NoteWriting(const kube::ObjectRef& object,
                                   const absl::Status& why) {
  static constexpr char kWriting[] = "statuses";
  if (absl::IsUnavailable(why) || absl::IsDeadlineExceeded(why)) {
    if (!troubles_.Has(kWriting)) troubles_.Hear(kWriting, why);
    return;
  }
  troubles_.Hear(kWriting, absl::OkStatus());
  if (why.ok()) {
    spdlog::info("Kubernetes: {}: written again", object.ToString());
    if (writer_->MissingVerbs().empty()) told_verbs_.clear();
    return;
  }
  const std::string verb = kube::MissingVerb(why);
  if (!verb.empty() && !told_verbs_.insert(verb).second) return;
  spdlog::error("Kubernetes: {}", Message(why));
}

std::vector<std::string> KubeControlPlane::NotReady() const {
  std::vector<std::string> why = troubles_.ForOperator();
  for (const std::string& verb : writer_->MissingVerbs()) {
    why.push_back(
        fmt::format("forbidden: no rule grants the agent to {}", verb));
  }
  if (std::string company = Company(); !company.empty()) {
    why.push_back(std::move(company));
  }
  if (ready() || !why.empty()) return why;
  why = troubles_.All();
  if (why.empty()) why.emplace_back("not everything was read yet");
  return why;
}

// ---- the control key ----

void KubeControlPlane::FindSecretLater() {
  loop_.Cancel(secret_timer_);
  secret_timer_ = loop_.After(kAgain, [this] {
    secret_timer_ = 0;
    FindSecret();
  });
}

// Also whether it is there still.
void KubeControlPlane::FindSecret() {
  if (secret_call_ != 0) return;
  secret_call_ = clients_.reading->Get(
      {kube::kSecrets, options_.name_space, kControlSecret, ""},
      [this](const absl::StatusOr<json>& object) {
        secret_call_ = 0;
        if (absl::IsNotFound(object.status())) return MakeSecret();
        if (object.ok()) return TakeSecret(*object);
        troubles_.Hear("control key", object.status());
        FindSecretLater();
      });
}

void KubeControlPlane::TakeSecret(const json& object) {
  const auto key = ReadControlKey(object);
  troubles_.Hear("control key", key.status());
  if (!key.ok()) return FindSecretLater();
  identity_.control_key = *key;
  if (!std::exchange(has_secret_, true)) ChangeEverything();
}

// Where it was lost, with the key that this replica remembers.
void KubeControlPlane::MakeSecret() {
  const PrivateKey key =
      has_secret_ ? identity_.control_key : PrivateKey::Generate();
  if (has_secret_) {
    spdlog::warn("Secret {}/{}: was lost; made anew", options_.name_space,
                 kControlSecret);
  }
  secret_call_ = clients_.reading->Create(
      {kube::kSecrets, options_.name_space, kControlSecret, ""},
      ControlSecretJson(options_.name_space, key),
      [this](const absl::StatusOr<json>& object) {
        secret_call_ = 0;
        // Another replica may have been faster.
        if (object.ok() || absl::IsAlreadyExists(object.status())) {
          return FindSecret();
        }
        troubles_.Hear("control key", object.status());
        FindSecretLater();
      });
}

// ---- memory ----

EdgeMemory KubeControlPlane::MemoryOf(const std::string& edge) const {
  const KubeObject* object = source_->Find({Kind::kEdgeNode, "", edge});
  return object == nullptr ? EdgeMemory() : ReadMemory(object->status);
}

// A status that somebody emptied says nothing: the leader writes it again, and
// until then a tunnel stays.
Records KubeControlPlane::StoredRecords() {
  Records records;
  std::map<std::string, Remembered> remembered;
  for (const auto& [name, object] : source_->edge_nodes()) {
    const EdgeMemory memory = ReadMemory(object.status);
    const std::string& edge = object.meta.name;
    const auto before = remembered_.find(edge);
    if (memory.record) {
      remembered[edge] = {object.meta.uid, *memory.record, memory.number};
    } else if (before != remembered_.end() &&
               before->second.uid == object.meta.uid) {
      remembered[edge] = before->second;
    } else {
      continue;
    }
    records.edges[edge] = remembered[edge].record;
    const uint32_t number = remembered[edge].number;
    if (number != 0) records.numbers.taken[edge] = number;
  }
  remembered_ = std::move(remembered);
  return records;
}

// The leader's own word is the newest; the status follows.
absl::StatusOr<Allocation> KubeControlPlane::AllocateFor(const Facts& facts) {
  if (!epoch()) return Allocation{.records = StoredRecords(), .problems = {}};
  if (!std::exchange(led_, true)) records_ = StoredRecords();
  Allocation allocation = Allocate(records_, objects().EdgeWorld(), facts);
  records_ = allocation.records;
  return allocation;
}

absl::StatusOr<std::optional<IssuedToken>> KubeControlPlane::Token(
    const std::string& edge) const {
  return MemoryOf(edge).token;
}

std::optional<EdgeEnrolment> KubeControlPlane::Shared(
    const std::string& edge) const {
  const EdgeEnrolment enrolment = MemoryOf(edge).enrolment;
  if (enrolment.registered_with.is_zero()) return std::nullopt;
  return enrolment;
}

void KubeControlPlane::Share(const std::string& edge,
                             const EdgeEnrolment& enrolment,
                             std::function<void()> done) {
  if (!epoch()) return;
  const json keys = MemoryJson({.enrolment = enrolment});
  const auto call = std::make_shared<kube::RestClient::CallId>(0);
  *call = clients_.reading->MergePatch(
      {kube::kEdgeNodes, "", edge, "status"}, {{"status", keys}},
      [this, call, done = std::move(done)](const absl::StatusOr<json>& object) {
        shares_.erase(*call);
        if (!object.ok()) {
          spdlog::warn("Kubernetes: {}", Message(object.status()));
        } else if (epoch()) {
          done();
        }
      });
  shares_.insert(*call);
}

// ---- the end ----

// Another replica leads at once; what flows through this one has a while.
void KubeControlPlane::Stop(std::function<void()> done) {
  loop_.Cancel(std::exchange(contest_timer_, 0));
  lease_->Release([] {});
  stop_timer_ = loop_.After(options_.drain, std::move(done));
}

}  // namespace edged::agent
