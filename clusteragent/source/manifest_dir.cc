#include "clusteragent/source/manifest_dir.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/config/document.h"
#include "common/files.h"
#include "common/status.h"

namespace edged::agent {
namespace {

bool IsManifest(std::string_view name) {
  return !name.starts_with('.') &&
         (name.ends_with(".yaml") || name.ends_with(".yml") ||
          name.ends_with(".json"));
}

// Where the document begins.
std::string WhereOf(const config::Document& document) {
  int line = document.lines.empty() ? 1 : document.lines.begin()->second;
  for (const auto& [path, at] : document.lines) line = std::min(line, at);
  return fmt::format("{}:{}", document.file, line);
}

absl::StatusOr<std::vector<ManifestObject>> ReadManifestFile(
    const std::string& folder, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder + "/" + name));
  // Nothing at all is a file that is just being written, not a wish for
  // nothing.
  if (text.empty()) return InvalidArgument("{}: is empty", name);
  return ReadManifest(text, name);
}

void AddTo(World& world, const Object& object) {
  if (const EdgeNode* node = std::get_if<EdgeNode>(&object)) {
    world.edge_nodes.push_back(*node);
  } else {
    world.port_bindings.push_back(std::get<PortBinding>(object));
  }
}

}  // namespace

absl::StatusOr<std::vector<ManifestObject>> ReadManifest(
    std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, file));
  std::vector<ManifestObject> objects;
  for (const config::Document& document : documents) {
    ASSIGN_OR_RETURN(Object object, ReadObject(document));
    objects.push_back({std::move(object), WhereOf(document)});
  }
  return objects;
}

Snapshot ManifestDir::Read() {
  Snapshot snapshot;
  if (const auto names = ListFolder(folder_); names.ok()) {
    ReadFiles(*names, snapshot);
  } else {
    snapshot.errors.push_back(fmt::format("{}; what was last read of it stands",
                                          Message(names.status())));
  }
  std::map<ObjectKey, std::string> first;  // where each object stands
  for (const auto& [file, objects] : last_good_) {
    for (const ManifestObject& found : objects) {
      const ObjectKey key = KeyOf(found.object);
      const auto [at, is_new] = first.try_emplace(key, found.where);
      if (is_new) {
        AddTo(snapshot.world, found.object);
      } else {
        snapshot.errors.push_back(
            fmt::format("{}: {} stands at {} already, which serves",
                        found.where, key.ToString(), at->second));
      }
    }
  }
  return snapshot;
}

void ManifestDir::ReadFiles(const std::vector<std::string>& names,
                            Snapshot& snapshot) {
  std::map<std::string, std::vector<ManifestObject>> good;
  for (const std::string& name : names) {
    if (!IsManifest(name)) continue;
    auto objects = ReadManifestFile(folder_, name);
    if (objects.ok()) {
      good[name] = *std::move(objects);
      continue;
    }
    // Gone since it was listed: not a mistake, and no object any more.
    if (absl::IsNotFound(objects.status())) continue;
    const auto before = last_good_.find(name);
    snapshot.errors.push_back(fmt::format(
        "{}; {}", Message(objects.status()),
        before == last_good_.end() ? "nothing of this file is served"
                                   : "its last good version stands"));
    if (before != last_good_.end()) good[name] = std::move(before->second);
  }
  last_good_ = std::move(good);
}

}  // namespace edged::agent
