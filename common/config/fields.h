#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/config/document.h"
#include "common/net_types.h"

namespace edged::config {

// Reads one object of a document field by field; whoever asked for a field
// knows it, and Finish() refuses every field that nobody asked for. The first
// mistake sticks: later reads give defaults, and status() names file, line,
// path and value ("edges.yaml:7: spec.tunnel.listenPort: 70000 is not a port
// (1-65535)"). Borrows the document.
class Fields {
 public:
  // `path` is where `value` lies in the document, "" for the root.
  Fields(const Document& document, const nlohmann::json& value,
         std::string path = "");

  bool Has(std::string_view name) const;  // present and not null
  std::string String(std::string_view name, std::string fallback = "");
  std::string RequiredString(std::string_view name);  // present, not empty
  bool Bool(std::string_view name, bool fallback);
  int64_t Int(std::string_view name, int64_t fallback, int64_t least,
              int64_t most);
  std::vector<std::string> Strings(std::string_view name);
  std::map<std::string, std::string> StringMap(std::string_view name);
  // A nested object; an absent one reads as empty.
  Fields Object(std::string_view name);
  std::vector<Fields> Objects(std::string_view name);  // a list of objects
  // Marks a field as known without reading it (metadata we do not use).
  void Ignore(std::string_view name);
  void IgnoreAll();

  // Records a mistake at `name`: the message gets file, line and path in front.
  void Fail(std::string_view name, std::string_view message);

  // Refuses unknown fields of this object and reports the first mistake of it
  // and of every object that was taken from it.
  absl::Status Finish();

 private:
  struct Shared;  // the document and the first mistake, shared with children
  const nlohmann::json* Take(std::string_view name);

  std::shared_ptr<Shared> shared_;
  const nlohmann::json* value_;
  std::string path_;
  std::shared_ptr<std::set<std::string, std::less<>>> taken_;
};

// "1h", "15m", "30s", "250ms", "1h30m": exact, positive; anything else is
// InvalidArgument.
absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view text);
std::string FormatDuration(std::chrono::milliseconds duration);

}  // namespace edged::config
