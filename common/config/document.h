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

  // "FILE:LINE: PATH" of a field; one that is missing has the line of what it
  // is missing in. Just the path where no lines are known.
  std::string Where(const std::string& path) const;
};

// "spec" and "address" make "spec.address"; a name with a dot or a bracket goes
// into brackets: "metadata.annotations[edged.dev/expose]".
std::string FieldPath(std::string_view parent, std::string_view name);
std::string ItemPath(std::string_view parent, size_t index);  // "bindings[0]"

// The documents of a YAML stream, without the empty ones. Duplicate keys,
// anchors and aliases, tags, non-string keys, text that is not UTF-8, and more
// than 64 levels, 16 MiB or a million fields are refused with their line. Plain
// scalars are typed as the YAML 1.2 core schema says (true, 12, 1.5, null, else
// string).
absl::StatusOr<std::vector<Document>> ParseYaml(std::string_view text,
                                                const std::string& file);
// A document without line numbers, as an API server sends it.
Document FromJson(nlohmann::json root);

}  // namespace edged::config
