#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "clusteragent/core/objects.h"
#include "common/config/document.h"

// The only border between JSON and the objects: strict about unknown fields,
// types, and everything an EdgeNode says. Errors name file, line, field and
// value.

namespace edged::agent {

using Object = std::variant<EdgeNode, PortBinding>;

absl::StatusOr<Object> ReadObject(const config::Document& document);

ObjectKey KeyOf(const Object& object);
const ObjectMeta& MetaOf(const Object& object);

}  // namespace edged::agent
