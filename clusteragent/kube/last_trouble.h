#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/status.h"

namespace edged::kube {

// What went wrong last, in words, for whoever tells each word once.
class LastTrouble {
 public:
  // False: it is what it was. OK is no trouble.
  bool Becomes(const absl::Status& status) {
    std::string text = status.ok() ? "" : std::string(Message(status));
    return std::exchange(text_, text) != text;
  }
  const std::string& text() const { return text_; }  // empty: nothing

 private:
  std::string text_;
};

}  // namespace edged::kube
