#include "common/secret.h"

#include <sodium.h>

namespace edged {

Secret::Secret(Secret&& other) noexcept { text_.swap(other.text_); }

Secret& Secret::operator=(Secret other) noexcept {
  text_.swap(other.text_);
  return *this;
}

Secret::~Secret() { sodium_memzero(text_.data(), text_.size()); }

bool Secret::operator==(const Secret& other) const {
  return text_.size() == other.text_.size() &&
         sodium_memcmp(text_.data(), other.text_.data(), text_.size()) == 0;
}

}  // namespace edged
