#include "clusteragent/source/manifest_dir.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/config/document.h"
#include "common/files.h"
#include "common/status.h"
#include "common/utf8.h"

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

void AddTo(World& world, const Object& object) {
  if (const EdgeNode* node = std::get_if<EdgeNode>(&object)) {
    world.edge_nodes.push_back(*node);
  } else {
    world.port_bindings.push_back(std::get<PortBinding>(object));
  }
}

}  // namespace

absl::StatusOr<std::vector<absl::StatusOr<ManifestObject>>> ReadDocuments(
    std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, file));
  std::vector<absl::StatusOr<ManifestObject>> objects;
  for (const config::Document& document : documents) {
    auto object = ReadObject(document);
    if (object.ok()) {
      objects.emplace_back(
          ManifestObject{*std::move(object), WhereOf(document)});
    } else {
      objects.emplace_back(object.status());
    }
  }
  return objects;
}

absl::StatusOr<std::vector<ManifestObject>> ReadManifest(
    std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(auto documents, ReadDocuments(text, file));
  std::vector<ManifestObject> objects;
  for (auto& document : documents) {
    RETURN_IF_ERROR(document.status());
    objects.push_back(*std::move(document));
  }
  return objects;
}

Snapshot ManifestDir::Read() {
  Snapshot snapshot;
  if (const auto names = ListFolder(folder_); names.ok()) {
    ReadFiles(*names, snapshot);
  } else {
    snapshot.errors.push_back(fmt::format("{}; what was last read of it stands",
                                          Escaped(Message(names.status()))));
  }
  std::map<ObjectKey, std::string> first;  // where each object stands
  for (const auto& [name, file] : files_) {
    for (const ManifestObject& found : file.objects) {
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
  snapshot.partial = !snapshot.errors.empty();
  return snapshot;
}

void ManifestDir::ReadFiles(const std::vector<std::string>& names,
                            Snapshot& snapshot) {
  std::map<std::string, File> files;
  size_t room = kMostBytes;
  // Those that are known are never pushed out by new ones.
  size_t places = kMostFiles - std::min(kMostFiles, files_.size());
  bool full = false;
  for (const std::string& name : names) {
    if (!IsManifest(name)) continue;
    File file;
    if (const auto before = files_.extract(name); !before.empty()) {
      file = std::move(before.mapped());
    } else if (places > 0) {
      --places;
    } else {
      if (!std::exchange(full, true)) {
        snapshot.errors.push_back(fmt::format(
            "{}: holds more than {} manifests; {} and other new ones are not "
            "read",
            folder_, kMostFiles, Escaped(name)));
      }
      continue;
    }
    // Gone since it was listed: not a mistake, and no object any more.
    if (absl::IsNotFound(ReadOne(name, room, file))) continue;
    room -= std::min(room, file.version.size);
    if (!file.error.empty()) {
      snapshot.errors.push_back(
          fmt::format("{}; {}", file.error,
                      file.objects.empty() ? "nothing of this file is served"
                                           : "its last good version stands"));
    }
    files.emplace(name, std::move(file));
  }
  files_ = std::move(files);
}

// Brings `file` up to date with what is on disk.
absl::Status ManifestDir::ReadOne(const std::string& name, size_t room,
                                  File& file) const {
  const std::string path = folder_ + "/" + name;
  const auto version = VersionOf(path);
  if (version.ok() && version->settled && *version == file.version) {
    return absl::OkStatus();
  }
  auto text = version.ok() ? ReadFile(path, room) : version.status();
  if (absl::IsNotFound(text.status())) return text.status();
  file.version = version.ok() ? *version : FileVersion();
  file.error.clear();
  // The name is somebody else's choice, too, and stands in front of messages.
  const std::string label = Escaped(name);
  if (absl::IsOutOfRange(text.status())) {
    file.error = fmt::format("{}: with it all manifests are longer than {} MiB",
                             label, kMostBytes >> 20);
    file.version = {};  // there may be room the next time
  } else if (!text.ok()) {
    file.version = {};
    file.error = Escaped(Message(text.status()));
  } else if (text->empty()) {
    // A file that is just being written, not a wish for nothing.
    file.error = label + ": is empty";
  } else if (auto objects = ReadManifest(*text, label); objects.ok()) {
    file.objects = *std::move(objects);
  } else {
    file.error = Message(objects.status());
  }
  return absl::OkStatus();
}

}  // namespace edged::agent
