#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "clusteragent/source/object_json.h"
#include "clusteragent/source/source.h"
#include "common/files.h"

namespace edged::agent {

// An object and where it stands.
struct ManifestObject {
  Object object;
  std::string where;  // "edges.yaml:7"
};

// The documents of one manifest: YAML or JSON, any number of them, each an
// object or what is wrong with it.
absl::StatusOr<std::vector<absl::StatusOr<ManifestObject>>> ReadDocuments(
    std::string_view text, const std::string& file);
// Its objects. One wrong document refuses the whole text.
absl::StatusOr<std::vector<ManifestObject>> ReadManifest(
    std::string_view text, const std::string& file);

// Every *.yaml, *.yml and *.json of a folder, hidden files apart. A file that
// cannot be read keeps its last good version until it can, or is gone; one that
// has not changed is not read again. Of an object that stands twice the first
// serves, by file name, then by place. What goes beyond the limits is not read,
// and said.
class ManifestDir : public Source {
 public:
  static constexpr size_t kMostFiles = 10'000;
  static constexpr size_t kMostBytes = 64 << 20;  // of all files

  explicit ManifestDir(std::string folder) : folder_(std::move(folder)) {}
  Snapshot Read() override;

 private:
  struct File {
    FileVersion version;
    std::vector<ManifestObject> objects;  // the last good ones
    std::string error;                    // in what is there now
  };

  void ReadFiles(const std::vector<std::string>& names, Snapshot& snapshot);
  absl::Status ReadOne(const std::string& name, size_t room, File& file) const;

  std::string folder_;
  std::map<std::string, File> files_;  // by name
};

}  // namespace edged::agent
