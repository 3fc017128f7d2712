#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clusteragent/control_plane.h"
#include "clusteragent/controller/event_recorder.h"
#include "clusteragent/controller/status_writer.h"
#include "clusteragent/controller/troubles.h"
#include "clusteragent/core/annotation_names.h"
#include "clusteragent/kube/client_config.h"
#include "clusteragent/kube/kind_mirror.h"
#include "clusteragent/kube/lease_client.h"
#include "clusteragent/kube/rest_client.h"
#include "clusteragent/kube/term_contest.h"
#include "clusteragent/source/kube_source.h"
#include "clusteragent/source/memory_json.h"
#include "common/event_loop.h"

namespace edged::agent {

// Edges are cleared before their EdgeNode goes.
inline constexpr char kFinalizer[] = "edged.dev/edge";

struct KubeOptions {
  kube::ClientConfig config;
  std::string name_space;       // of Uplinks and the Secret
  std::string lease_namespace;  // empty: the same
  // No other replica: the Lease is taken once, for the number of the term.
  bool alone = false;
  std::vector<std::string> watch_namespaces;  // empty: all
  AnnotationNames annotations;
  std::string uplink_name;  // of this replica
  std::string node_name;    // may be empty
  std::string pod_uid;      // empty: not in a Pod
  std::chrono::seconds resync = std::chrono::minutes(5);
  std::chrono::milliseconds drain = std::chrono::seconds(5);
};

// Kubernetes: wishes are its objects, the memory is the status of the EdgeNodes
// (source/memory_json.h), one Secret and an Uplink for each replica, and the
// term that of a Lease. Only the leader writes about objects. One that is alone
// does not lead beside other Uplinks.
class KubeControlPlane final : public ControlPlane {
 public:
  static absl::StatusOr<std::unique_ptr<KubeControlPlane>> Create(
      EventLoop& loop, const KubeOptions& options);
  ~KubeControlPlane() override;

  absl::Status Start(std::function<void()> changed,
                     std::function<void()> heard) override;
  bool ready() const override;
  const ClusterIdentity& identity() const override { return identity_; }
  ObjectStore& objects() override { return source_->objects(); }
  const Mistakes& mistakes() const override { return source_->mistakes(); }
  bool may_flicker() const override { return false; }
  std::optional<Epoch> epoch() const override;
  void Exceed(const std::string& edge, uint64_t seen) override;
  Labels own_labels() const override;
  std::vector<UplinkFacts> other_uplinks() const override;
  absl::StatusOr<Allocation> AllocateFor(const Facts& facts) override;
  absl::StatusOr<std::optional<IssuedToken>> Token(
      const std::string& edge) const override;
  std::optional<EdgeEnrolment> Shared(const std::string& edge) const override;
  void Share(const std::string& edge, const EdgeEnrolment& enrolment,
             std::function<void()> done) override;
  void Tell(const Telling& telling) override;
  void Announce(const std::string& edge, const Happening& news) override;
  void AnnounceOwn(const Happening& news) override;
  bool drains() const override { return true; }
  void Stop(std::function<void()> done) override;

  // Why this replica cannot do its work, a sentence each; empty: it can.
  std::vector<std::string> NotReady() const;

 private:
  struct UplinkObject {
    ObjectMeta meta;
    std::map<std::string, PublicKey> keys;  // by EdgeNode name
    std::vector<IpAddress> addresses;       // of its host
    nlohmann::json status;
    std::string resource_version;
    bool operator==(const UplinkObject& other) const {
      return meta == other.meta && keys == other.keys &&
             addresses == other.addresses;
    }
  };

  // Of their own each, so that no queue of writes makes a watch or a renewal
  // late.
  struct Clients {
    std::unique_ptr<kube::RestClient> reading;
    std::unique_ptr<kube::RestClient> writing;
    std::unique_ptr<kube::RestClient> lease;
  };

  KubeControlPlane(EventLoop& loop, const KubeOptions& options,
                   Clients clients);
  static std::optional<UplinkObject> ReadUplink(const nlohmann::json& object);

  void Change();
  void ChangeEverything();
  void Hear(const ObjectKey& key);
  void BeginAnew();
  void FollowTerm(const std::optional<kube::Term>& term);
  void NoteWriting(const kube::ObjectRef& object, const absl::Status& why);
  void NoteContest(const std::string& edge, uint64_t seen,
                   std::chrono::milliseconds wait);
  std::string Company() const;  // why one that is alone cannot lead; or empty
  void FindSecret();
  void TakeSecret(const nlohmann::json& object);
  void MakeSecret();
  void FindSecretLater();
  void MakeUplink();
  void OnUplinks();
  const UplinkObject* OwnUplink() const;  // nullptr: not seen yet
  EdgeMemory MemoryOf(const std::string& edge) const;
  Records StoredRecords();

  void TellOwn(const Telling& telling);
  std::set<ObjectKey> WhatToTell(const Telling& telling);
  void TellObject(const Telling& telling, const ObjectKey& key);
  void TellEdgeNode(const Telling& telling, const ObjectStatus& status);
  void TellPortBinding(const ObjectStatus& status,
                       const PlannedObject* planned);
  void TellServiceOf(const Telling& telling, const ObjectKey& key);
  bool HoldsOurWord(const Service& service) const;
  static bool OwnsStatus(const Service& service);
  void TellService(const kube::ServiceObject& service,
                   const PlannedObject* planned, const ObjectStatus* status);
  void TellServiceNews(const kube::ServiceObject& service,
                       const PlannedObject* planned);
  void TellNews(const ObjectStatus& status, const std::string& uid,
                const nlohmann::json& before);
  bool IsSteadyEdge(const ObjectStatus& status);
  void KeepFinalizer(const KubeObject& object, const ObjectStatus& status,
                     const EdgePlan* plan, bool enrolled);

  EventLoop& loop_;
  const KubeOptions options_;
  std::function<void()> changed_;
  std::function<void()> heard_;
  const Clients clients_;
  std::unique_ptr<KubeSource> source_;
  std::unique_ptr<kube::KindMirror<UplinkObject>> uplinks_;
  std::unique_ptr<kube::LeaseClient> lease_;
  std::unique_ptr<StatusWriter> writer_;
  std::unique_ptr<EventRecorder> events_;
  std::map<ObjectKey, std::vector<Happening>> told_news_;
  // EdgeNodes that were told to be Ready, and had no trouble since.
  std::set<std::string> steady_edges_;
  // Of Services that have no conditions: the word last told.
  std::map<ObjectKey, std::string> told_services_;
  ClusterIdentity identity_;
  bool has_secret_ = false;
  bool has_uplink_ = false;
  bool saw_uplink_ = false;  // our own
  bool stands_ = false;      // for election
  // What was given out for each EdgeNode, as its status said last.
  struct Remembered {
    std::string uid;  // of the EdgeNode
    EdgeRecord record;
    uint32_t number = 0;  // 0: none
  };
  std::map<std::string, Remembered> remembered_;  // by name
  Records records_;                               // as last allocated
  bool led_ = false;                              // `records_` are of this term
  // What was told of the own Uplink as it stood then.
  struct OwnWord {
    std::string resource_version;
    std::map<std::string, PublicKey> keys;
    UplinkStatus status;
    bool operator==(const OwnWord&) const = default;
  };
  std::optional<OwnWord> told_own_;
  // What is to be told, beside what changes: of all objects, or of these.
  bool untold_ = true;
  std::set<ObjectKey> untold_objects_;
  Troubles troubles_;
  std::set<std::string> told_verbs_;  // those that are missing
  kube::TermContest contest_;
  std::set<kube::RestClient::CallId> shares_;  // under way
  kube::RestClient::CallId secret_call_ = 0;
  kube::RestClient::CallId uplink_call_ = 0;
  EventLoop::TimerId secret_timer_ = 0;
  EventLoop::TimerId uplink_timer_ = 0;
  EventLoop::TimerId resync_timer_ = 0;
  EventLoop::TimerId stop_timer_ = 0;
  EventLoop::TimerId contest_timer_ = 0;
  int64_t contested_ = 0;  // the highest term that was heard meanwhile
};

}  // namespace edged::agent
