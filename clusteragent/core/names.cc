#include "clusteragent/core/names.h"

#include <algorithm>

namespace edged::agent {
namespace {

bool IsLetter(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool IsDnsLabel(std::string_view name) {
  return !name.empty() && name.size() <= 63 && name.front() != '-' &&
         name.back() != '-' && std::ranges::all_of(name, [](char c) {
           return IsLetter(c) || IsDigit(c) || c == '-';
         });
}

bool IsDnsSubdomain(std::string_view name) {
  if (name.size() > 253) return false;
  while (true) {
    const size_t dot = name.find('.');
    if (!IsDnsLabel(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

bool IsPortName(std::string_view name) {
  return IsDnsLabel(name) && std::ranges::any_of(name, IsLetter);
}

}  // namespace edged::agent
