#pragma once

#include <string>
#include <string_view>

namespace edged {

// Text that must not be told: a token, a key. It has no ToString and no way
// into a log line, is wiped when it goes, and compares in constant time for
// texts of one length. Reveal() is for whoever must send it.
class Secret {
 public:
  Secret() = default;  // empty: none
  explicit Secret(std::string_view text) : text_(text) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret other) noexcept;
  ~Secret();

  bool empty() const { return text_.empty(); }
  const std::string& Reveal() const { return text_; }
  bool operator==(const Secret& other) const;

 private:
  std::string text_;
};

}  // namespace edged
