#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace edged::agent {

using Labels = std::map<std::string, std::string>;

// What every object says of itself.
struct ObjectMeta {
  std::string name_space;
  std::string name;
  std::string uid;  // empty where objects have none (manifests)
  std::optional<std::chrono::sys_seconds> created;
  int64_t generation = 0;  // 0: unknown
  bool deleting = false;   // it goes when its finalizers are gone
  Labels labels;
  Labels annotations;
  bool operator==(const ObjectMeta&) const = default;
};

}  // namespace edged::agent
