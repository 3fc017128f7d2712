#pragma once

#include <string>

#include "absl/strings/str_replace.h"

namespace edged {

// A list of changes, one a line, as one line for the log: "a; b".
inline std::string OneLine(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return absl::StrReplaceAll(text, {{"\n", "; "}});
}

}  // namespace edged
