#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace edged::edge {

// While it lives, a process of root acts as the owner of `folder`: the daemon
// runs as a user of its own and must be able to read what `edged join` writes,
// and a link in that user's folder leads root nowhere. For others, and while
// there is no such folder, nothing changes.
class ActAsOwner {
 public:
  static absl::StatusOr<ActAsOwner> Of(const std::string& folder);

  ActAsOwner(ActAsOwner&& other) noexcept;
  ActAsOwner& operator=(ActAsOwner&&) = delete;
  ~ActAsOwner();

 private:
  explicit ActAsOwner(bool switched) : switched_(switched) {}

  bool switched_;
};

}  // namespace edged::edge
