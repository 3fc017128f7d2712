#include "clusteragent/controller/kube_control_plane.h"

#include <sodium.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/json_reading.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Items;
using kube::Text;
using nlohmann::json;

constexpr auto kAgain = std::chrono::seconds(5);  // after a failure
constexpr uint64_t kHighestTerm = 1U << 30;  // leaseTransitions has 31 bits

}  // namespace

absl::StatusOr<std::unique_ptr<KubeControlPlane>> KubeControlPlane::Create(
    EventLoop& loop, const KubeOptions& options) {
  std::unique_ptr<KubeControlPlane> plane(new KubeControlPlane(loop, options));
  ASSIGN_OR_RETURN(plane->client_,
                   kube::RestClient::Create(loop, options.config));
  // Of their own, so that no queue of writes makes a watch or a renewal late.
  ASSIGN_OR_RETURN(plane->writing_rest_,
                   kube::RestClient::Create(loop, options.config));
  ASSIGN_OR_RETURN(plane->lease_rest_,
                   kube::RestClient::Create(loop, options.config,
                                            kube::LeaseRestSettings()));
  return plane;
}

KubeControlPlane::KubeControlPlane(EventLoop& loop, const KubeOptions& options)
    : loop_(loop), options_(options) {}

KubeControlPlane::~KubeControlPlane() {
  client_->Cancel(secret_call_);
  client_->Cancel(uplink_call_);
  for (const auto timer :
       {secret_timer_, uplink_timer_, resync_timer_, stop_timer_}) {
    loop_.Cancel(timer);
  }
}

absl::Status KubeControlPlane::Start(std::function<void()> changed) {
  changed_ = std::move(changed);
  writer_ = std::make_unique<StatusWriter>(
      loop_, *writing_rest_,
      [this](const absl::Status& why) { Note("status", why); });
  events_ =
      std::make_unique<EventRecorder>(*writing_rest_, options_.uplink_name);
  source_ = std::make_unique<KubeSource>(
      loop_, *client_, options_.watch_namespaces,
      KubeSource::Told{
          .changed = [this] { Change(); },
          .trouble = [this](const std::string& kind,
                            const absl::Status& why) { Note(kind, why); }});
  uplinks_ = std::make_unique<kube::KindMirror<UplinkObject>>(
      loop_, *client_,
      kube::Collection{kube::kUplinks, options_.name_space, "", ""}, ReadUplink,
      [this] { OnUplinks(); },
      [this](const absl::Status& why) { Note("uplinks", why); });
  lease_ = std::make_unique<kube::LeaseClient>(
      loop_, *lease_rest_,
      kube::LeaseClient::Settings{.name_space = options_.lease_namespace.empty()
                                                    ? options_.name_space
                                                    : options_.lease_namespace,
                                  .identity = options_.uplink_name},
      kube::LeaseClient::Told{
          .changed =
              [this](const std::optional<kube::Term>& term) {
                if (!term) writer_->Clear();
                led_ = false;
                records_ = {};
                Change();
              },
          .trouble = [this](const absl::Status& why) { Note("lease", why); }});
  source_->Start();
  uplinks_->Start();
  FindSecret();
  MakeUplink();
  resync_timer_ = loop_.Every(options_.resync, [this] {
    FindSecret();
    changed_();
  });
  return absl::OkStatus();
}

bool KubeControlPlane::ready() const {
  return source_->complete() && uplinks_->known() && has_secret_;
}

void KubeControlPlane::Change() {
  stale_ = true;
  if (!ready()) return;
  // Not before: else nobody leads while this one cannot.
  if (!std::exchange(stands_, true)) lease_->Start();
  changed_();
}

// Each word once. What an operator must act on is an error, what passes a
// warning.
void KubeControlPlane::Note(const std::string& what, const absl::Status& why) {
  const std::string text = why.ok() ? "" : std::string(Message(why));
  const auto before = troubles_.find(what);
  if (text.empty()) {
    if (before == troubles_.end()) return;
    spdlog::info("Kubernetes: {}: well again", what);
    troubles_.erase(before);
    refusals_.erase(what);
    return;
  }
  if (before != troubles_.end() && before->second == text) return;
  troubles_[what] = text;
  if (absl::IsPermissionDenied(why) || absl::IsNotFound(why) ||
      absl::IsFailedPrecondition(why) || absl::IsUnauthenticated(why)) {
    refusals_.insert(what);
    spdlog::error("Kubernetes: {}", text);
  } else {
    refusals_.erase(what);
    spdlog::warn("Kubernetes: {}; what was known stands", text);
  }
}

std::vector<std::string> KubeControlPlane::NotReady() const {
  std::vector<std::string> why;
  for (const std::string& what : refusals_) why.push_back(troubles_.at(what));
  if (ready() || !why.empty()) return why;
  for (const auto& [what, text] : troubles_) why.push_back(text);
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
  secret_call_ = client_->Get(
      {kube::kSecrets, options_.name_space, kControlSecret, ""},
      [this](const absl::StatusOr<json>& object) {
        secret_call_ = 0;
        if (absl::IsNotFound(object.status())) return MakeSecret();
        Note("control key", object.status());
        if (!object.ok()) return FindSecretLater();
        const auto secret = kube::ReadSecret(*object);
        const auto entry = secret ? secret->data.find(kControlKeyEntry)
                                  : decltype(secret->data.end())();
        const auto key = secret && entry != secret->data.end()
                             ? PrivateKey::Parse(entry->second.Reveal())
                             : InvalidArgument("no such entry");
        if (!key.ok()) {
          Note("control key",
               FailedPrecondition("Secret {}/{}: {}: holds no WireGuard key; "
                                  "delete the Secret, and a new one is made",
                                  options_.name_space, kControlSecret,
                                  kControlKeyEntry));
          return FindSecretLater();
        }
        identity_.control_key = *key;
        if (!std::exchange(has_secret_, true)) Change();
      });
}

// Where it was lost, with the key that this replica remembers.
void KubeControlPlane::MakeSecret() {
  const PrivateKey key =
      has_secret_ ? identity_.control_key : PrivateKey::Generate();
  const json body = {
      {"apiVersion", "v1"},
      {"kind", "Secret"},
      {"metadata",
       {{"name", kControlSecret}, {"namespace", options_.name_space}}},
      {"data", {{kControlKeyEntry, absl::Base64Escape(key.Reveal())}}}};
  if (has_secret_) {
    spdlog::warn("Secret {}/{}: was lost; made anew", options_.name_space,
                 kControlSecret);
  }
  secret_call_ = client_->Create(
      {kube::kSecrets, options_.name_space, kControlSecret, ""}, body,
      [this](const absl::StatusOr<json>& object) {
        secret_call_ = 0;
        // Another replica may have been faster.
        if (object.ok() || absl::IsAlreadyExists(object.status())) {
          return FindSecret();
        }
        Note("control key", object.status());
        FindSecretLater();
      });
}

// ---- replicas ----

std::optional<KubeControlPlane::UplinkObject> KubeControlPlane::ReadUplink(
    const json& object) {
  auto meta = kube::ReadMeta(object);
  if (!meta) return std::nullopt;
  UplinkObject uplink{
      .meta = *std::move(meta),
      .status = Field(object, "status"),
      .resource_version = Text(Field(object, "metadata", "resourceVersion"))};
  for (const json& edge : Items(Field(uplink.status, "edges"))) {
    const auto key = PublicKey::Parse(Text(Field(edge, "publicKey")));
    if (key.ok()) uplink.keys[Text(Field(edge, "edgeNode"))] = *key;
  }
  return uplink;
}

void KubeControlPlane::MakeUplink() {
  json body = {
      {"apiVersion", kube::kUplinks.ApiVersion()},
      {"kind", kube::kUplinks.kind},
      {"metadata",
       {{"name", options_.uplink_name}, {"namespace", options_.name_space}}},
      {"spec", json::object()}};
  if (!options_.node_name.empty()) {
    body["spec"]["nodeName"] = options_.node_name;
  }
  if (!options_.pod_uid.empty()) {
    body["metadata"]["ownerReferences"] = {{{"apiVersion", "v1"},
                                            {"kind", "Pod"},
                                            {"name", options_.uplink_name},
                                            {"uid", options_.pod_uid}}};
  }
  uplink_call_ = client_->Create(
      {kube::kUplinks, options_.name_space, options_.uplink_name, ""}, body,
      [this](const absl::StatusOr<json>& object) {
        uplink_call_ = 0;
        has_uplink_ = object.ok() || absl::IsAlreadyExists(object.status());
        Note("own uplink", has_uplink_ ? absl::OkStatus() : object.status());
        if (has_uplink_) return Change();
        uplink_timer_ = loop_.After(kAgain, [this] {
          uplink_timer_ = 0;
          MakeUplink();
        });
      });
}

// Our own may be deleted by anybody.
void KubeControlPlane::OnUplinks() {
  const bool had = std::exchange(saw_uplink_, OwnUplink() != nullptr);
  if (had && !saw_uplink_) {
    spdlog::warn("Uplink {}/{}: was deleted; made anew", options_.name_space,
                 options_.uplink_name);
    has_uplink_ = false;
    if (uplink_call_ == 0 && uplink_timer_ == 0) MakeUplink();
  }
  Change();
}

const KubeControlPlane::UplinkObject* KubeControlPlane::OwnUplink() const {
  const auto own =
      uplinks_->held().find({options_.name_space, options_.uplink_name});
  return own == uplinks_->held().end() ? nullptr : &own->second;
}

Labels KubeControlPlane::own_labels() const {
  const UplinkObject* own = OwnUplink();
  return own == nullptr ? Labels() : own->meta.labels;
}

std::vector<UplinkFacts> KubeControlPlane::other_uplinks() const {
  std::vector<UplinkFacts> others;
  for (const auto& [name, uplink] : uplinks_->held()) {
    if (uplink.meta.name == options_.uplink_name || uplink.meta.deleting) {
      continue;
    }
    others.push_back({uplink.meta.name, uplink.meta.labels, uplink.keys});
  }
  return others;
}

// ---- memory ----

const Snapshot& KubeControlPlane::snapshot() {
  if (!std::exchange(stale_, false)) return snapshot_;
  snapshot_ = source_->Read();
  if (!snapshot_.world.cluster) return snapshot_;
  for (const Namespace& name_space : snapshot_.world.cluster->namespaces) {
    if (name_space.meta.name == kube::kSystemNamespace) {
      identity_.uid = name_space.meta.uid;
    }
  }
  return snapshot_;
}

std::optional<Epoch> KubeControlPlane::epoch() const {
  const auto& term = lease_->term();
  if (!term || !ready()) return std::nullopt;
  return Epoch{term->cluster_uid, static_cast<uint64_t>(term->number)};
}

// Of a cluster that came back from a backup, or whose Lease was deleted, the
// count begins anew: whoever holds the Lease goes on above what edges know.
void KubeControlPlane::Exceed(uint64_t seen) {
  const auto own = epoch();
  if (!own || own->number > seen) return;
  if (seen >= kHighestTerm) {
    Note("lease", FailedPrecondition(
                      "an edge has seen term {}, which no Lease can count to; "
                      "`edged reset --epoch` on the edge forgets it",
                      seen));
    return;
  }
  lease_->Exceed(static_cast<int64_t>(seen));
}

EdgeMemory KubeControlPlane::MemoryOf(const std::string& edge) const {
  const KubeObject* object = source_->Find({Kind::kEdgeNode, "", edge});
  return object == nullptr ? EdgeMemory() : ReadMemory(object->status);
}

Records KubeControlPlane::StoredRecords() const {
  Records records;
  for (const auto& [name, object] : source_->edge_nodes()) {
    const EdgeMemory memory = ReadMemory(object.status);
    if (!memory.record) continue;
    const std::string& edge = object.meta.name;
    records.edges[edge] = *memory.record;
    if (memory.number != 0) records.numbers.taken[edge] = memory.number;
  }
  return records;
}

// The leader's own word is the newest; the status follows.
absl::StatusOr<Allocation> KubeControlPlane::AllocateFor(const Facts& facts) {
  if (!epoch()) return Allocation{.records = StoredRecords(), .problems = {}};
  if (!std::exchange(led_, true)) records_ = StoredRecords();
  Allocation allocation = Allocate(records_, snapshot_.world, facts);
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
  client_->MergePatch(
      {kube::kEdgeNodes, "", edge, "status"}, {{"status", keys}},
      [this, done = std::move(done)](const absl::StatusOr<json>& object) {
        Note("keys of edges", object.status());
        if (object.ok()) done();
      });
}

// ---- the end ----

// Another replica leads at once; what flows through this one has a while.
void KubeControlPlane::Stop(std::function<void()> done) {
  lease_->Release([] {});
  stop_timer_ = loop_.After(options_.drain, std::move(done));
}

}  // namespace edged::agent
