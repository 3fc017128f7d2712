// The part of KubeControlPlane that stands beside other replicas: Uplinks and
// the term.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "clusteragent/controller/kube_control_plane.h"
#include "clusteragent/kube/cluster_json.h"
#include "clusteragent/kube/json_reading.h"
#include "common/protocol/epoch_refusal.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Items;
using kube::Text;
using nlohmann::json;

constexpr auto kAgain = std::chrono::seconds(5);  // after a failure
constexpr auto kContestPause = std::chrono::seconds(30);

}  // namespace

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
  for (const json& item : Items(Field(uplink.status, "addresses"))) {
    const auto address = IpAddress::Parse(
        item.is_string() ? item.get_ref<const std::string&>() : "");
    if (address.ok()) uplink.addresses.push_back(*address);
  }
  uplink.addresses = TellableAddresses(std::move(uplink.addresses));
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
  uplink_call_ = clients_.reading->Create(
      {kube::kUplinks, options_.name_space, options_.uplink_name, ""}, body,
      [this](const absl::StatusOr<json>& object) {
        uplink_call_ = 0;
        has_uplink_ = object.ok() || absl::IsAlreadyExists(object.status());
        troubles_.Hear("own uplink",
                       has_uplink_ ? absl::OkStatus() : object.status());
        if (has_uplink_) return ChangeEverything();
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
  ChangeEverything();
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
    others.push_back(
        {uplink.meta.name, uplink.meta.labels, uplink.keys, uplink.addresses});
  }
  return others;
}

std::string KubeControlPlane::Company() const {
  if (!options_.alone) return "";
  for (const auto& [name, uplink] : uplinks_->held()) {
    if (uplink.meta.name == options_.uplink_name || uplink.meta.deleting) {
      continue;
    }
    return fmt::format(
        "--leader-elect=false is for one replica alone, and Uplink {}/{} is "
        "there beside it: nobody leads; run one replica, or all of them with "
        "--leader-elect, or delete the Uplink of one that is gone",
        options_.name_space, uplink.meta.name);
  }
  return "";
}

std::optional<Epoch> KubeControlPlane::epoch() const {
  const auto& term = lease_->term();
  if (!term || !ready() || !Company().empty()) return std::nullopt;
  return Epoch{term->cluster_uid, static_cast<uint64_t>(term->number)};
}

// Of a cluster that came back from a backup, or whose Lease was deleted, the
// count begins anew: whoever holds the Lease goes on above what edges know.
void KubeControlPlane::Exceed(const std::string& edge, uint64_t seen) {
  const auto own = epoch();
  if (!own || own->number > seen) return;
  if (seen >= protocol::kHighestEpoch) {
    troubles_.Hear("term",
                   FailedPrecondition(
                       "edge {} has seen term {}, which no Lease can count to; "
                       "`edged reset --epoch` on the edge forgets it",
                       edge, seen));
    return;
  }
  const auto term = static_cast<int64_t>(seen);
  contested_ = std::max(contested_, term);
  if (contest_timer_ != 0) return;  // then it goes above all of them
  const auto wait = contest_.Hear(edge, term);
  if (wait && wait->count() == 0) return lease_->Exceed(term);
  if (wait) NoteContest(edge, seen, *wait);
  // Heard already: going above it takes a moment, or did not help.
  contest_timer_ = loop_.After(wait.value_or(kContestPause), [this] {
    contest_timer_ = 0;
    const int64_t above = std::exchange(contested_, 0);
    const auto now = epoch();
    if (now && now->number <= static_cast<uint64_t>(above)) {
      lease_->Exceed(above);
    }
  });
}

// Two installations with a Lease each would outbid each other for ever.
void KubeControlPlane::NoteContest(const std::string& edge, uint64_t seen,
                                   std::chrono::milliseconds wait) {
  const std::string text = fmt::format(
      "edge {} obeys term {}, which Lease {} has not counted to: it seems that "
      "another installation in this cluster leads by a Lease in another "
      "namespace; remove one of them. This one goes above that term in {} s",
      edge, seen, lease_->LeaseName(),
      std::chrono::ceil<std::chrono::seconds>(wait).count());
  troubles_.Hear("term", FailedPrecondition("{}", text));
  const ObjectKey key{Kind::kEdgeNode, "", edge};
  if (const KubeObject* object = source_->Find(key)) {
    events_->Record(key, object->meta.uid, {true, "LeadershipContested", text});
  }
}

}  // namespace edged::agent
