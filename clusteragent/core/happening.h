#pragma once

#include <string>

namespace edged::agent {

// What a person should know, once, when it happens.
struct Happening {
  bool warning = false;
  std::string reason;   // a word
  std::string message;  // a sentence
  bool operator==(const Happening&) const = default;
};

}  // namespace edged::agent
