// The part of KubeControlPlane that writes about objects.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clusteragent/controller/kube_control_plane.h"
#include "clusteragent/controller/status_json.h"
#include "clusteragent/core/exposure.h"
#include "clusteragent/kube/json_reading.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Items;
using nlohmann::json;

std::string Now() { return TimeText(absl::Now()); }

json AllOf(const json& value) {
  return value.is_object() ? value : json::object();
}

const StatusWriter::Part kStatus{"status", AllOf};

// `clusteragent token` writes the token.
const StatusWriter::Part kEdgeNodeStatus{"status", [](const json& value) {
                                           json ours = AllOf(value);
                                           ours.erase("token");
                                           return ours;
                                         }};

const StatusWriter::Part kLoadBalancer{"status", [](const json& value) -> json {
                                         const json& ours =
                                             Field(value, "loadBalancer");
                                         return {{"loadBalancer", AllOf(ours)}};
                                       }};

// `name` of the annotation with a Service's addresses.
StatusWriter::Part AddressesPart(const std::string& name) {
  return {"metadata", [name](const json& value) -> json {
            const json& ours = Field(value, "annotations", name);
            if (!ours.is_string()) return {{"annotations", json::object()}};
            return {{"annotations", {{name, ours}}}};
          }};
}

const StatusWriter::Part kFinalizers{
    .field = "metadata",
    .ours = [](const json& value) -> json {
      return {{"finalizers", Items(Field(value, "finalizers"))}};
    },
    .guarded = true};

// What speaks against an exposed Service, or the first of its ports; null:
// nothing.
const Refusal* AgainstService(const PlannedObject& planned) {
  if (planned.refused) return &*planned.refused;
  for (const PlannedBinding& binding : planned.bindings) {
    if (binding.refused) return &*binding.refused;
    for (const Placement& placement : binding.placements) {
      if (placement.refused) return &*placement.refused;
    }
  }
  return nullptr;
}

}  // namespace

void KubeControlPlane::Tell(const Telling& telling) {
  if (!telling.changed) untold_ = true;
  const bool whole = untold_;
  if (whole) writer_->BeginRound();
  if (has_uplink_) TellOwn(telling);
  if (telling.changed) {
    untold_objects_.insert(telling.changed->begin(), telling.changed->end());
  }
  // Whoever begins to lead tells everything.
  if (!epoch()) untold_objects_.clear();
  // What was planned before this term is another leader's word.
  if (!epoch() || !led_ || !telling.settled) return;
  for (const ObjectKey& key : WhatToTell(telling)) TellObject(telling, key);
  if (whole) writer_->EndRound();
}

std::set<ObjectKey> KubeControlPlane::WhatToTell(const Telling& telling) {
  std::set<ObjectKey> keys = std::exchange(untold_objects_, {});
  if (!std::exchange(untold_, false)) return keys;
  for (const auto& [key, status] : telling.statuses) keys.insert(key);
  for (const auto& [name, service] : objects().services()) {
    if (!HoldsOurWord(service)) continue;
    keys.insert({Kind::kService, name.first, name.second});
  }
  for (const auto& [key, news] : told_news_) keys.insert(key);
  for (const auto& [key, word] : told_services_) keys.insert(key);
  return keys;
}

void KubeControlPlane::TellObject(const Telling& telling,
                                  const ObjectKey& key) {
  if (key.kind == Kind::kService) return TellServiceOf(telling, key);
  const auto status = telling.statuses.find(key);
  if (status == telling.statuses.end()) {
    told_news_.erase(key);
  } else if (key.kind == Kind::kEdgeNode) {
    TellEdgeNode(telling, status->second);
  } else {
    TellPortBinding(status->second, telling.plan.Object(key));
  }
}

void KubeControlPlane::TellOwn(const Telling& telling) {
  const UplinkObject* own = OwnUplink();
  if (own == nullptr) return;
  OwnWord word{own->resource_version, telling.own_keys, telling.own};
  if (!untold_ && told_own_ == word) return;
  told_own_ = std::move(word);
  const kube::ObjectRef ref{kube::kUplinks, options_.name_space,
                            options_.uplink_name, "status"};
  writer_->Want(
      ref, kStatus, own->status, own->resource_version,
      UplinkStatusJson(
          telling.own_keys, telling.own, own->meta.generation,
          writer_->Known(ref, kStatus, own->status, own->resource_version),
          Now()));
}

void KubeControlPlane::Announce(const std::string& edge,
                                const Happening& news) {
  spdlog::log(news.warning ? spdlog::level::warn : spdlog::level::info,
              "edge {}: {}: {}", edge, news.reason, news.message);
  const ObjectKey key{Kind::kEdgeNode, "", edge};
  const KubeObject* object = source_->Find(key);
  if (object == nullptr || !epoch()) return;
  events_->Record(key, object->meta.uid, news);
}

void KubeControlPlane::AnnounceOwn(const Happening& news) {
  const UplinkObject* own = OwnUplink();
  if (own == nullptr) return;
  events_->Record({.api_version = kube::kUplinks.ApiVersion(),
                   .kind = kube::kUplinks.kind,
                   .name_space = options_.name_space,
                   .name = options_.uplink_name,
                   .uid = own->meta.uid},
                  news);
}

void KubeControlPlane::TellEdgeNode(const Telling& telling,
                                    const ObjectStatus& status) {
  const std::string& name = status.object.name;
  const KubeObject* object = source_->Find(status.object);
  if (object == nullptr) return;
  EdgeMemory memory = ReadMemory(object->status);
  const auto record = records_.edges.find(name);
  if (record != records_.edges.end()) {
    memory.record = record->second;
    memory.number = records_.numbers.Find(name).value_or(0);
  }
  const auto joined = telling.joined.find(name);
  if (joined != telling.joined.end()) memory.enrolment = joined->second;
  const kube::ObjectRef ref{kube::kEdgeNodes, "", name, "status"};
  const json known = writer_->Known(ref, kEdgeNodeStatus, object->status,
                                    object->resource_version);
  writer_->Want(ref, kEdgeNodeStatus, object->status, object->resource_version,
                EdgeNodeStatusJson(status, telling.plan.Edge(name), memory,
                                   known, Now()));
  TellNews(status, object->meta.uid, known);
  KeepFinalizer(*object, status, telling.plan.Edge(name),
                !memory.enrolment.registered_with.is_zero());
}

// An edge is cleared when it has confirmed the state without mappings that an
// EdgeNode in deletion is planned with; `plan` may be of before the deletion.
void KubeControlPlane::KeepFinalizer(const KubeObject& object,
                                     const ObjectStatus& status,
                                     const EdgePlan* plan, bool enrolled) {
  std::vector<std::string> wanted = object.finalizers;
  const auto ours = std::ranges::find(wanted, kFinalizer);
  if (!object.meta.deleting) {
    if (ours != wanted.end()) return;
    wanted.emplace_back(kFinalizer);
  } else {
    if (ours == wanted.end()) return;
    const auto skip =
        object.meta.annotations.find(options_.annotations.skip_deprovision());
    const bool skips =
        skip != object.meta.annotations.end() && skip->second == "true";
    const Condition* programmed = status.Find("Programmed");
    const bool cleared = programmed != nullptr &&
                         programmed->status == ConditionStatus::kTrue &&
                         plan != nullptr && plan->wanted.mappings.empty();
    if (enrolled && !skips && !cleared) return;
    wanted.erase(ours);
    spdlog::info("{}: {}", status.object.ToString(),
                 cleared    ? "its edge is cleared"
                 : enrolled ? "its edge is not cleared, as asked for"
                            : "had no edge");
  }
  writer_->Want({kube::kEdgeNodes, "", object.meta.name, ""}, kFinalizers,
                {{"finalizers", object.finalizers}}, object.resource_version,
                {{"finalizers", wanted}});
}

void KubeControlPlane::TellPortBinding(const ObjectStatus& status,
                                       const PlannedObject* planned) {
  const KubeObject* object = source_->Find(status.object);
  if (object == nullptr || object->meta.deleting) return;
  const kube::ObjectRef ref{kube::kPortBindings, status.object.name_space,
                            status.object.name, "status"};
  const json known =
      writer_->Known(ref, kStatus, object->status, object->resource_version);
  const auto* wish =
      object->object ? std::get_if<PortBinding>(&*object->object) : nullptr;
  writer_->Want(ref, kStatus, object->status, object->resource_version,
                PortBindingStatusJson(status, planned, wish, known, Now()));
  TellNews(status, object->meta.uid, known);
}

void KubeControlPlane::TellNews(const ObjectStatus& status,
                                const std::string& uid, const json& before) {
  std::vector<Happening> news = NewsOf(before, status);
  // Until the API server has the status, they stay new.
  const std::vector<Happening> told =
      std::exchange(told_news_[status.object], news);
  const bool known = IsSteadyEdge(status);
  for (const Happening& happening : news) {
    if (std::ranges::find(told, happening) != told.end()) continue;
    if (known && happening.reason == "Ready") continue;
    events_->Record(status.object, uid, happening);
  }
}

// Whether it is an edge that was Ready, but for moments, since we said so: a
// binding more makes it wait for its edge, which is no news of it.
bool KubeControlPlane::IsSteadyEdge(const ObjectStatus& status) {
  const Condition* ready = status.Find("Ready");
  if (status.object.kind != Kind::kEdgeNode || ready == nullptr) return false;
  const std::string& name = status.object.name;
  if (ready->status == ConditionStatus::kTrue) {
    return !steady_edges_.insert(name).second;
  }
  const bool momentary = ready->reason == reason::kNotProgrammed ||
                         ready->reason == reason::kNotCarried;
  if (!momentary) steady_edges_.erase(name);
  return steady_edges_.contains(name);
}

// One that is exposed, or was: what we said of it is taken back.
void KubeControlPlane::TellServiceOf(const Telling& telling,
                                     const ObjectKey& key) {
  const PlannedObject* planned = telling.plan.Object(key);
  const auto* service = source_->FindService({key.name_space, key.name});
  if (planned == nullptr) told_services_.erase(key);
  if (service == nullptr || service->meta.deleting) return;
  if (planned == nullptr && !HoldsOurWord(*service)) return;
  const auto status = telling.statuses.find(key);
  TellService(*service, planned,
              status == telling.statuses.end() ? nullptr : &status->second);
}

// Whether its status is ours to write.
bool KubeControlPlane::OwnsStatus(const Service& service) {
  return service.type == "LoadBalancer" && !service.status_is_others &&
         (service.load_balancer_class.empty() ||
          service.load_balancer_class == kLoadBalancerClass);
}

bool KubeControlPlane::HoldsOurWord(const Service& service) const {
  return service.meta.annotations.contains(
             options_.annotations.public_addresses()) ||
         (OwnsStatus(service) && !service.load_balancer_ips.empty());
}

// Its status where it is ours to write, else the annotation. What we said of
// one that is exposed no more is taken back.
void KubeControlPlane::TellService(const kube::ServiceObject& service,
                                   const PlannedObject* planned,
                                   const ObjectStatus* status) {
  const ObjectMeta& meta = service.meta;
  const bool is_exposed = planned != nullptr && status != nullptr;
  TellServiceNews(service, planned);
  const bool has_status = OwnsStatus(service);
  if (has_status) {
    const json balancer =
        is_exposed ? LoadBalancerJson(*planned, *status) : json::object();
    writer_->Want({kube::kServices, meta.name_space, meta.name, "status"},
                  kLoadBalancer, {{"loadBalancer", service.load_balancer}},
                  service.resource_version, {{"loadBalancer", balancer}});
  }
  const std::string name = options_.annotations.public_addresses();
  json annotations = json::object();
  if (is_exposed && !has_status) {
    if (const std::string text = AddressesText(*planned); !text.empty()) {
      annotations[name] = text;
    }
  }
  json now = json::object();
  const auto held = meta.annotations.find(name);
  if (held != meta.annotations.end()) now[held->first] = held->second;
  writer_->Want({kube::kServices, meta.name_space, meta.name, ""},
                AddressesPart(name), {{"annotations", now}},
                service.resource_version, {{"annotations", annotations}});
}

// A refused one has no place of its own for the reason.
void KubeControlPlane::TellServiceNews(const kube::ServiceObject& service,
                                       const PlannedObject* planned) {
  const ObjectKey key{Kind::kService, service.meta.name_space,
                      service.meta.name};
  if (planned == nullptr) return;
  const std::string addresses = AddressesText(*planned);
  const Refusal* refused = AgainstService(*planned);
  const std::string word = refused ? refused->message : addresses;
  const auto [told, is_new] = told_services_.try_emplace(key, "");
  if (std::exchange(told->second, word) == word) return;
  if (refused) {
    events_->Record(key, service.meta.uid,
                    {true, refused->reason, refused->message});
    return;
  }
  // After a restart it has them already.
  std::vector<IpAddress> held = service.load_balancer_ips;
  const auto annotation =
      service.meta.annotations.find(options_.annotations.public_addresses());
  const bool known = (annotation != service.meta.annotations.end() &&
                      annotation->second == addresses) ||
                     (!held.empty() && held.front().ToString() == addresses);
  if (addresses.empty() || (is_new && known)) return;
  events_->Record(key, service.meta.uid,
                  {false, "Allocated", "public addresses: " + addresses});
}

}  // namespace edged::agent
