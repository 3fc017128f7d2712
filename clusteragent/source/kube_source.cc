#include "clusteragent/source/kube_source.h"

#include <algorithm>
#include <utility>

#include "clusteragent/kube/json_reading.h"
#include "clusteragent/source/memory_json.h"
#include "common/config/document.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Items;
using kube::Text;
using nlohmann::json;

// An item of a list has neither kind nor version where the list has.
std::optional<KubeObject> ReadItem(const kube::Resource& resource,
                                   const json& item) {
  auto meta = kube::ReadMeta(item);
  if (!meta) return std::nullopt;
  KubeObject held{
      .meta = *std::move(meta),
      .resource_version = Text(Field(item, "metadata", "resourceVersion")),
      .status = Field(item, "status")};
  for (const json& name : Items(Field(item, "metadata", "finalizers"))) {
    held.finalizers.push_back(Text(name));
  }
  json whole = item;
  whole["apiVersion"] = resource.ApiVersion();
  whole["kind"] = resource.kind;
  whole.erase("status");
  whole["metadata"].erase("managedFields");
  auto object = ReadObject(config::FromJson(std::move(whole)));
  if (object.ok()) {
    std::visit([&held](auto& value) { value.meta = held.meta; }, *object);
    held.object = *std::move(object);
  } else {
    held.mistake = Message(object.status());
  }
  return held;
}

void AddTo(World& world, const Object& object) {
  if (const auto* node = std::get_if<EdgeNode>(&object)) {
    world.edge_nodes.push_back(*node);
  } else {
    world.port_bindings.push_back(std::get<PortBinding>(object));
  }
}

}  // namespace

bool KubeObject::operator==(const KubeObject& other) const {
  return meta == other.meta && object == other.object &&
         mistake == other.mistake && finalizers == other.finalizers &&
         RemembersTheSame(status, other.status);
}

KubeSource::KubeSource(EventLoop& loop, kube::RestClient& client,
                       const std::vector<std::string>& namespaces, Told told,
                       const kube::WatchProgress::Pace& pace)
    : told_(std::move(told)),
      edge_nodes_(
          MakeMirror(loop, client, {kube::kEdgeNodes, "", "", ""}, pace)),
      cluster_(loop, client, namespaces,
               {.changed = [this] { Change(); }, .trouble = told_.trouble},
               pace) {
  for (const std::string& name : kube::ScopesOf(namespaces)) {
    port_bindings_.push_back(
        MakeMirror(loop, client, {kube::kPortBindings, name, "", ""}, pace));
  }
}

std::unique_ptr<KubeSource::Mirror> KubeSource::MakeMirror(
    EventLoop& loop, kube::RestClient& client,
    const kube::Collection& collection, const kube::WatchProgress::Pace& pace) {
  return std::make_unique<Mirror>(
      loop, client, collection,
      [resource = collection.resource](const json& item) {
        return ReadItem(resource, item);
      },
      [this] { Change(); },
      [this, name = collection.ToString()](const absl::Status& why) {
        told_.trouble(name, why);
      },
      pace);
}

void KubeSource::Start() {
  edge_nodes_->Start();
  for (const auto& mirror : port_bindings_) mirror->Start();
  cluster_.Start();
}

bool KubeSource::complete() const {
  return edge_nodes_->known() &&
         std::ranges::all_of(
             port_bindings_,
             [](const auto& mirror) { return mirror->known(); }) &&
         cluster_.complete();
}

void KubeSource::Change() {
  if (complete()) told_.changed();
}

Snapshot KubeSource::Read() {
  Snapshot snapshot;
  for (const auto& [name, held] : edge_nodes_->held()) {
    Add(held, Kind::kEdgeNode, snapshot);
  }
  for (const auto& mirror : port_bindings_) {
    for (const auto& [name, held] : mirror->held()) {
      Add(held, Kind::kPortBinding, snapshot);
    }
  }
  std::erase_if(last_good_, [this](const auto& entry) {
    return Find(entry.first) == nullptr;
  });
  snapshot.world.cluster = cluster_.cluster();
  return snapshot;
}

void KubeSource::Add(const KubeObject& held, Kind kind, Snapshot& snapshot) {
  const ObjectKey key{kind, held.meta.name_space, held.meta.name};
  if (held.object) {
    AddTo(snapshot.world, *held.object);
    last_good_.insert_or_assign(key, Good{held.meta.uid, *held.object});
    return;
  }
  snapshot.invalid.push_back({key, held.meta.generation, held.mistake});
  snapshot.errors.push_back(
      fmt::format("{}: {}", key.ToString(), held.mistake));
  const auto good = last_good_.find(key);
  if (good == last_good_.end() || good->second.uid != held.meta.uid) {
    snapshot.partial = snapshot.partial || kind == Kind::kEdgeNode;
    return;
  }
  Object object = good->second.object;
  std::visit([&held](auto& value) { value.meta = held.meta; }, object);
  AddTo(snapshot.world, object);
}

const KubeObject* KubeSource::Find(const ObjectKey& key) const {
  const auto find = [&key](const Mirror& mirror) -> const KubeObject* {
    const auto found = mirror.held().find({key.name_space, key.name});
    return found == mirror.held().end() ? nullptr : &found->second;
  };
  if (key.kind == Kind::kEdgeNode) return find(*edge_nodes_);
  if (key.kind != Kind::kPortBinding) return nullptr;
  for (const auto& mirror : port_bindings_) {
    if (const KubeObject* found = find(*mirror)) return found;
  }
  return nullptr;
}

}  // namespace edged::agent
