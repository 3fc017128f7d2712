#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/config/document.h"
#include "common/config/duration.h"

namespace edged::config {

// Reads one object of a document field by field; whoever asked for a field
// knows it, and Finish() refuses every field that nobody asked for. The first
// mistake sticks: later reads give defaults, and status() names file, line,
// path and value ("edges.yaml:7: spec.tunnel.listenPort: 70000 is not a port
// (1-65535)"). Copies, and objects taken from one another, share what is known
// and the first mistake; what must be judged on its own starts from the
// constructor. Borrows the document.
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

  // Records a mistake at `name`, or at the object itself when it is "": the
  // message gets file, line and path in front.
  void Fail(std::string_view name, std::string_view message);
  // The first mistake so far.
  const absl::Status& status() const;
  const std::string& path() const { return path_; }

  // Refuses unknown fields of this object and of every object that was taken
  // from it, and reports their first mistake.
  absl::Status Finish();

 private:
  struct Reading;  // one document's first mistake and known fields

  Fields(std::shared_ptr<Reading> reading, const nlohmann::json* value,
         std::string path);
  const nlohmann::json* Take(std::string_view name);
  void Refuse(const std::string& path, const nlohmann::json& value,
              std::string_view wanted);

  std::shared_ptr<Reading> reading_;
  const nlohmann::json* value_;  // an object
  std::string path_;
};

}  // namespace edged::config
