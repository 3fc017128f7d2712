#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

// Reads JSON that others wrote: what is absent, or not what we expect, reads as
// nothing. Never throws. References live as long as the value.

namespace edged::kube {

// The field, or null.
inline const nlohmann::json& Field(const nlohmann::json& value,
                                   std::string_view name) {
  static const nlohmann::json kNull;
  if (!value.is_object()) return kNull;
  const auto found = value.find(name);
  return found == value.end() ? kNull : *found;
}

template <typename... More>
const nlohmann::json& Field(const nlohmann::json& value, std::string_view name,
                            std::string_view next, More... more) {
  return Field(Field(value, name), next, more...);
}

inline std::string Text(const nlohmann::json& value,
                        std::string_view fallback = "") {
  const auto* text = value.get_ptr<const std::string*>();
  return text != nullptr ? *text : std::string(fallback);
}

inline bool Truth(const nlohmann::json& value, bool fallback) {
  return value.is_boolean() ? value.get<bool>() : fallback;
}

inline int64_t Number(const nlohmann::json& value, int64_t fallback) {
  // One that does not fit reads as unsigned, or as floating point.
  if (!value.is_number_integer()) return fallback;
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return fallback;
  }
  return value.get<int64_t>();
}

// The items of a list; of anything else none.
inline const nlohmann::json& Items(const nlohmann::json& value) {
  static const nlohmann::json kNone = nlohmann::json::array();
  return value.is_array() ? value : kNone;
}

// The item of a list whose `key` is this text, or null.
inline const nlohmann::json& ItemWith(const nlohmann::json& list,
                                      std::string_view key,
                                      std::string_view value) {
  static const nlohmann::json kNull;
  for (const nlohmann::json& item : Items(list)) {
    if (Text(Field(item, key)) == value) return item;
  }
  return kNull;
}

// JSON, or null for a text that is none.
inline nlohmann::json ParseJson(std::string_view text) {
  auto value = nlohmann::json::parse(text, nullptr, false);
  return value.is_discarded() ? nlohmann::json() : value;
}

// Bytes that are no UTF-8 become U+FFFD.
inline std::string JsonText(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace edged::kube
