#include "clusteragent/source/object_json.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "absl/time/time.h"
#include "clusteragent/core/names.h"
#include "clusteragent/source/spec_json.h"
#include "common/config/fields.h"
#include "common/status.h"

namespace edged::agent {
namespace {

constexpr char kDefaultNamespace[] = "default";

void ReadCreated(config::Fields& fields, ObjectMeta& meta) {
  if (!fields.Has("creationTimestamp")) return;
  const std::string text = fields.String("creationTimestamp");
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    meta.created = std::chrono::sys_seconds(
        std::chrono::seconds(absl::ToUnixSeconds(time)));
  } else {
    fields.Fail(
        "creationTimestamp",
        fmt::format("\"{}\" is not a time like 2026-01-31T12:00:00Z", text));
  }
}

ObjectMeta ReadMeta(config::Fields fields, Kind kind) {
  ObjectMeta meta;
  meta.name = fields.RequiredString("name");
  if (!IsDnsSubdomain(meta.name)) {
    fields.Fail("name", fmt::format("\"{}\" is not a name ({})", meta.name,
                                    kDnsSubdomainRule));
  }
  if (kind == Kind::kPortBinding) {
    meta.name_space = fields.String("namespace", kDefaultNamespace);
    if (!IsDnsLabel(meta.name_space)) {
      fields.Fail("namespace", fmt::format("\"{}\" is not a namespace ({})",
                                           meta.name_space, kDnsLabelRule));
    }
  } else if (fields.Has("namespace")) {
    fields.Fail("namespace", fmt::format("an {} has none", ToString(kind)));
  }
  meta.uid = fields.String("uid");
  ReadCreated(fields, meta);
  meta.generation =
      fields.Int("generation", 0, 0, std::numeric_limits<int64_t>::max());
  meta.labels = fields.StringMap("labels");
  meta.annotations = fields.StringMap("annotations");
  // What `kubectl get -o yaml` gives beside.
  for (const char* name : {"resourceVersion", "managedFields", "finalizers",
                           "ownerReferences", "selfLink", "generateName",
                           "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    fields.Ignore(name);
  }
  return meta;
}

template <typename T, typename ReadSpec>
absl::StatusOr<Object> Read(const config::Document& document,
                            config::Fields& root, Kind kind,
                            ReadSpec read_spec) {
  T object;
  object.meta = ReadMeta(root.Object("metadata"), kind);
  if (!root.Has("spec")) root.Fail("spec", "is missing");
  read_spec(document, root.Object("spec"), object);
  root.Ignore("status");
  RETURN_IF_ERROR(root.Finish());
  return object;
}

}  // namespace

absl::StatusOr<Object> ReadObject(const config::Document& document) {
  config::Fields root(document, document.root);
  const std::string version = root.RequiredString("apiVersion");
  if (version != kApiVersion) {
    root.Fail("apiVersion",
              fmt::format("\"{}\" is not {}", version, kApiVersion));
  }
  const std::string kind = root.RequiredString("kind");
  RETURN_IF_ERROR(root.status());
  if (kind == ToString(Kind::kEdgeNode)) {
    return Read<EdgeNode>(document, root, Kind::kEdgeNode, ReadEdgeNodeSpec);
  }
  if (kind == ToString(Kind::kPortBinding)) {
    return Read<PortBinding>(document, root, Kind::kPortBinding,
                             ReadPortBindingSpec);
  }
  root.Fail("kind",
            fmt::format("\"{}\" is neither EdgeNode nor PortBinding", kind));
  return root.status();
}

Selector ReadSelector(config::Fields fields) {
  return {.match_labels = fields.StringMap("matchLabels")};
}

bool IsNumberAt(const config::Document& document, const std::string& pointer) {
  const nlohmann::json::json_pointer at(pointer);
  return document.root.contains(at) && document.root.at(at).is_number();
}

ObjectKey KeyOf(const Object& object) {
  return std::visit([](const auto& value) { return value.Key(); }, object);
}

const ObjectMeta& MetaOf(const Object& object) {
  return std::visit(
      [](const auto& value) -> const ObjectMeta& { return value.meta; },
      object);
}

}  // namespace edged::agent
