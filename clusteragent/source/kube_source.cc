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

// What is held of an object, with what it says of itself now.
template <typename T>
T Renamed(T held, const KubeObject& object) {
  held.meta = object.meta;
  return held;
}

}  // namespace

bool KubeObject::operator==(const KubeObject& other) const {
  return meta == other.meta && object == other.object &&
         mistake == other.mistake && finalizers == other.finalizers &&
         RemembersTheSame(status, other.status);
}

KubeSource::KubeSource(EventLoop& loop, kube::RestClient& client,
                       const std::vector<std::string>& namespaces,
                       const AnnotationNames& annotations, Told told,
                       const kube::WatchProgress::Pace& pace)
    : told_(std::move(told)),
      edge_nodes_(MakeMirror(loop, client, Kind::kEdgeNode,
                             {kube::kEdgeNodes, "", "", ""}, pace)),
      cluster_(loop, client, namespaces, objects_,
               {.changed = [this] { Change(); },
                .heard =
                    [this](const ObjectStore::Name& name) {
                      told_.heard({Kind::kService, name.first, name.second});
                    },
                .trouble = told_.trouble},
               pace) {
  objects_.UseCluster(annotations);
  for (const std::string& name : kube::ScopesOf(namespaces)) {
    port_bindings_.push_back(MakeMirror(loop, client, Kind::kPortBinding,
                                        {kube::kPortBindings, name, "", ""},
                                        pace));
  }
}

std::unique_ptr<KubeSource::Mirror> KubeSource::MakeMirror(
    EventLoop& loop, kube::RestClient& client, Kind kind,
    const kube::Collection& collection, const kube::WatchProgress::Pace& pace) {
  return std::make_unique<Mirror>(
      loop, client, collection,
      [resource = collection.resource](const json& item) {
        return ReadItem(resource, item);
      },
      Mirror::Heard{
          .object = [this, kind](
                        const KubeObject* before,
                        const KubeObject* after) { Hear(kind, before, after); },
          .all = [this] { Change(); }},
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

void KubeSource::Hurry() {
  edge_nodes_->Hurry();
  for (const auto& mirror : port_bindings_) mirror->Hurry();
  cluster_.Hurry();
}

void KubeSource::Relist() {
  edge_nodes_->Relist();
  for (const auto& mirror : port_bindings_) mirror->Relist();
  cluster_.Relist();
}

bool KubeSource::HeardAll() const {
  return edge_nodes_->known() &&
         std::ranges::all_of(
             port_bindings_,
             [](const auto& mirror) { return mirror->known(); }) &&
         cluster_.complete();
}

void KubeSource::Hear(Kind kind, const KubeObject* before,
                      const KubeObject* after) {
  const ObjectMeta& meta = (after ? after : before)->meta;
  const ObjectKey key{kind, meta.name_space, meta.name};
  if (kube::IsAnother(before, after)) {
    NoteMistake(key, after);
    if (kind == Kind::kPortBinding) {
      TakePortBinding(key, after);
    } else {
      edge_nodes_changed_ = true;
    }
    Change();
  }
  told_.heard(key);
}

void KubeSource::NoteMistake(const ObjectKey& key, const KubeObject* object) {
  const size_t known = mistakes_.invalid.erase(key);
  if (object && !object->object) {
    mistakes_.invalid[key] = {object->meta.generation, object->mistake};
  } else if (known == 0) {
    return;
  }
  mistakes_.errors.clear();
  for (const auto& [name, invalid] : mistakes_.invalid) {
    mistakes_.errors.push_back(
        fmt::format("{}: {}", name.ToString(), invalid.message));
  }
}

void KubeSource::TakePortBinding(const ObjectKey& key,
                                 const KubeObject* object) {
  const ObjectStore::Name name{key.name_space, key.name};
  if (object && object->object) {
    return objects_.Put(std::get<PortBinding>(*object->object));
  }
  const auto held = objects_.port_bindings().find(name);
  if (held == objects_.port_bindings().end()) return;
  if (object && held->second.meta.uid == object->meta.uid) {
    objects_.Put(Renamed(held->second, *object));
  } else {
    objects_.RemovePortBinding(name);
  }
}

// Something that is remembered in their status may be all that changed.
void KubeSource::TakeEdgeNodes() {
  std::vector<EdgeNode> nodes;
  mistakes_.partial = false;
  for (const auto& [name, object] : edge_nodes_->held()) {
    if (object.object) {
      nodes.push_back(std::get<EdgeNode>(*object.object));
      continue;
    }
    const auto held = objects_.edge_nodes().find(object.meta.name);
    if (held != objects_.edge_nodes().end() &&
        held->second.meta.uid == object.meta.uid) {
      nodes.push_back(Renamed(held->second, object));
    } else {
      mistakes_.partial = true;
    }
  }
  objects_.SetEdgeNodes(std::move(nodes));
  objects_.ChangeEverything();
}

void KubeSource::Change() {
  complete_ = complete_ || HeardAll();
  if (!complete_) return;
  if (std::exchange(edge_nodes_changed_, false)) TakeEdgeNodes();
  told_.changed();
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
