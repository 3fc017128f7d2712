#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "clusteragent/source/object_json.h"
#include "clusteragent/source/source.h"

namespace edged::agent {

// An object and where it stands.
struct ManifestObject {
  Object object;
  std::string where;  // "edges.yaml:7"
};

// The objects of one manifest: YAML or JSON, any number of documents. One wrong
// document refuses the whole text.
absl::StatusOr<std::vector<ManifestObject>> ReadManifest(
    std::string_view text, const std::string& file);

// Every *.yaml, *.yml and *.json of a folder, hidden files apart. A file that
// cannot be read keeps its last good version until it can, or is gone. Of an
// object that stands twice the first serves, by file name, then by place.
class ManifestDir : public Source {
 public:
  explicit ManifestDir(std::string folder) : folder_(std::move(folder)) {}
  Snapshot Read() override;

 private:
  void ReadFiles(const std::vector<std::string>& names, Snapshot& snapshot);

  std::string folder_;
  std::map<std::string, std::vector<ManifestObject>>
      last_good_;  // by file name
};

}  // namespace edged::agent
