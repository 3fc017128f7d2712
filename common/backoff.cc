#include "common/backoff.h"

#include <sodium.h>

#include <algorithm>

namespace edged {

Backoff::Duration Backoff::Next() {
  Duration ceiling = std::min(first_, most_);
  for (int i = 0; i < attempts_ && ceiling < most_; ++i) {
    ceiling = std::min(ceiling * 2, most_);
  }
  ++attempts_;
  const Duration least = ceiling / 2;
  const auto choices = static_cast<uint32_t>((ceiling - least).count()) + 1;
  return least + Duration(randombytes_uniform(choices));
}

}  // namespace edged
