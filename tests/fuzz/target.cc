#include "tests/fuzz/target.h"

#include <cstdio>
#include <cstdlib>

namespace edged::fuzz {

void Require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(what.size()),
               what.data());
  std::abort();
}

std::string_view AsText(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

std::string AsString(Input input) { return std::string(AsText(input)); }

std::string Finished(netlink::MessageBuilder message) {
  const auto bytes = message.Finish();
  Require(bytes.ok(), "a seed fits into a message");
  return AsString(*bytes);
}

}  // namespace edged::fuzz
