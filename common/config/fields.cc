#include "common/config/fields.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "common/status.h"
#include "common/utf8.h"

namespace edged::config {
namespace {

using nlohmann::json;

const json& EmptyObject() {
  static const json empty = json::object();
  return empty;
}

// A value as a message shows it: short, and on one line.
std::string Show(const json& value) {
  constexpr size_t kMost = 60;
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  // JSON has no infinity; fmt writes one.
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= kMost) return text;
  size_t cut = kMost;
  while ((static_cast<uint8_t>(text[cut]) & 0xc0) == 0x80) --cut;  // UTF-8
  return text.substr(0, cut) + "...";
}

// How many letters must be inserted, removed or replaced (Levenshtein), where
// upper and lower case are the same.
size_t EditDistance(std::string_view a, std::string_view b) {
  const auto lower = [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter;
  };
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

struct Fields::Reading {
  // One object that is being read.
  struct Object {
    const json* value;
    std::set<std::string, std::less<>> known;
    bool all_known = false;
  };

  explicit Reading(const Document& document) : document(document) {}

  void Fail(const std::string& path, std::string_view message) {
    if (!mistake.ok()) return;
    const std::string where = document.Where(path);
    mistake = InvalidArgument(
        "{}", Escaped(where.empty() ? std::string(message)
                                    : fmt::format("{}: {}", where, message)));
  }

  void RefuseUnknown(const std::string& path, const Object& object) {
    if (object.all_known) return;
    for (const auto& [name, value] : object.value->items()) {
      if (object.known.contains(name)) continue;
      Fail(FieldPath(path, name), "unknown field" + Hint(object, name));
      return;
    }
  }

  // ", did you mean X?" for the one known field that is close.
  static std::string Hint(const Object& object, const std::string& name) {
    constexpr size_t kClose = 2;
    std::string hint;
    size_t least = std::min(kClose + 1, name.size());
    for (const std::string& known : object.known) {
      const size_t distance = EditDistance(name, known);
      if (distance > least) continue;
      hint = distance < least && !object.value->contains(known)
                 ? fmt::format(", did you mean {}?", known)
                 : "";
      least = distance;
    }
    return hint;
  }

  const Document& document;
  absl::Status mistake;
  std::map<std::string, Object> objects;  // by path
};

Fields::Fields(const Document& document, const json& value, std::string path)
    : Fields(std::make_shared<Reading>(document), &value, std::move(path)) {}

Fields::Fields(std::shared_ptr<Reading> reading, const json* value,
               std::string path)
    : reading_(std::move(reading)),
      value_(value->is_object() ? value : &EmptyObject()),
      path_(std::move(path)) {
  if (!value->is_object() && !value->is_null()) {
    Refuse(path_, *value, "an object");
  }
  reading_->objects.try_emplace(path_, Reading::Object{.value = value_});
}

const json* Fields::Take(std::string_view name) {
  reading_->objects.at(path_).known.emplace(name);
  const auto field = value_->find(name);
  const bool given = field != value_->end() && !field->is_null();
  return given && reading_->mistake.ok() ? &*field : nullptr;
}

void Fields::Refuse(const std::string& path, const json& value,
                    std::string_view wanted) {
  const bool quotable = wanted == "a string" && value.is_primitive();
  reading_->Fail(path, fmt::format("{} is not {}{}", Show(value), wanted,
                                   quotable ? ": quote it" : ""));
}

bool Fields::Has(std::string_view name) const {
  const auto field = value_->find(name);
  return field != value_->end() && !field->is_null();
}

std::string Fields::String(std::string_view name, std::string fallback) {
  const json* value = Take(name);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  Refuse(FieldPath(path_, name), *value, "a string");
  return fallback;
}

std::string Fields::RequiredString(std::string_view name) {
  std::string value = String(name);
  if (!Has(name)) {
    Fail(name, "missing");
  } else if (value.empty()) {
    Fail(name, "must not be empty");
  }
  return value;
}

bool Fields::Bool(std::string_view name, bool fallback) {
  const json* value = Take(name);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  Refuse(FieldPath(path_, name), *value, "true or false");
  return fallback;
}

int64_t Fields::Int(std::string_view name, int64_t fallback, int64_t least,
                    int64_t most) {
  const json* value = Take(name);
  if (value == nullptr) return fallback;
  const bool fits = value->is_number_unsigned()
                        ? std::in_range<int64_t>(value->get<uint64_t>())
                        : value->is_number_integer();
  if (fits) {
    const auto number = value->get<int64_t>();
    if (number >= least && number <= most) return number;
  }
  const bool port = least == 1 && most == 65535;
  Refuse(FieldPath(path_, name), *value,
         port ? "a port (1-65535)"
              : fmt::format("a whole number from {} to {}", least, most));
  return fallback;
}

std::vector<std::string> Fields::Strings(std::string_view name) {
  const json* value = Take(name);
  if (value == nullptr) return {};
  const std::string path = FieldPath(path_, name);
  if (!value->is_array()) {
    Refuse(path, *value, "a list of strings");
    return {};
  }
  std::vector<std::string> strings;
  for (const json& item : *value) {
    if (!item.is_string()) {
      Refuse(ItemPath(path, strings.size()), item, "a string");
      return {};
    }
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::map<std::string, std::string> Fields::StringMap(std::string_view name) {
  const json* value = Take(name);
  if (value == nullptr) return {};
  const std::string path = FieldPath(path_, name);
  if (!value->is_object()) {
    Refuse(path, *value, "an object with strings");
    return {};
  }
  std::map<std::string, std::string> strings;
  for (const auto& [key, item] : value->items()) {
    if (!item.is_string()) {
      Refuse(FieldPath(path, key), item, "a string");
      return {};
    }
    strings.emplace(key, item.get<std::string>());
  }
  return strings;
}

Fields Fields::Object(std::string_view name) {
  const json* value = Take(name);
  return {reading_, value == nullptr ? &EmptyObject() : value,
          FieldPath(path_, name)};
}

std::vector<Fields> Fields::Objects(std::string_view name) {
  const json* value = Take(name);
  if (value == nullptr) return {};
  const std::string path = FieldPath(path_, name);
  if (!value->is_array()) {
    Refuse(path, *value, "a list of objects");
    return {};
  }
  std::vector<Fields> objects;
  for (const json& item : *value) {
    const std::string item_path = ItemPath(path, objects.size());
    if (!item.is_object()) {
      Refuse(item_path, item, "an object");
      return {};
    }
    objects.push_back(Fields(reading_, &item, item_path));
  }
  return objects;
}

void Fields::Ignore(std::string_view name) {
  reading_->objects.at(path_).known.emplace(name);
}

void Fields::IgnoreAll() { reading_->objects.at(path_).all_known = true; }

void Fields::Fail(std::string_view name, std::string_view message) {
  reading_->Fail(name.empty() ? path_ : FieldPath(path_, name), message);
}

const absl::Status& Fields::status() const { return reading_->mistake; }

absl::Status Fields::Finish() {
  for (const auto& [path, object] : reading_->objects) {
    const bool below = path_.empty() || path == path_ ||
                       (path.starts_with(path_) &&
                        path.find_first_of(".[", path_.size()) == path_.size());
    if (below) reading_->RefuseUnknown(path, object);
  }
  return reading_->mistake;
}

}  // namespace edged::config
