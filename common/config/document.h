#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// YAML as a JSON tree that remembers its lines, so that edged.yaml, manifests
// and objects of a Kubernetes API are read by the same code.

namespace edged::config {

struct Document {
  std::string file;  // as named in errors; empty: no lines are known
  nlohmann::json root;
  std::map<std::string, int> lines;  // field path → line, from 1

  // "FILE:LINE: PATH" of a field, or just the path where no line is known.
  std::string Where(const std::string& path) const;
};

// The documents of a YAML stream. Duplicate keys, anchors and aliases, tags and
// non-string keys are refused with their line. Plain scalars are typed as the
// YAML 1.2 core schema says (true, 12, 1.5, null, else string).
absl::StatusOr<std::vector<Document>> ParseYaml(std::string_view text,
                                                const std::string& file);
// A document without line numbers, as an API server sends it.
Document FromJson(nlohmann::json root);

}  // namespace edged::config
