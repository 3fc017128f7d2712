#include "common/drift/drift.h"

#include <fmt/format.h>

namespace edged {
namespace {

double Milliseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::string Culprit::ToString() const {
  if (pid != 0) return fmt::format("{} (pid {})", process, pid);
  if (port != 0) return fmt::format("netlink port {}", port);
  return "somebody";
}

std::string_view ToString(DriftPart part) {
  switch (part) {
    case DriftPart::kTable:
      return "nf_tables";
    case DriftPart::kNetwork:
      return "network";
    case DriftPart::kTunnel:
      return "wireguard";
  }
  return "unknown";
}

std::string Drift::ToString() const {
  const std::string found = fmt::format(
      "drift: {}: {}, by {}", edged::ToString(part), what, by.ToString());
  if (!error.empty()) return fmt::format("{}; not repaired: {}", found, error);
  return fmt::format("{}; repaired in {:.2f} ms: {}", found, Milliseconds(took),
                     repair);
}

std::string Flood::ToString() const {
  if (!over) {
    return fmt::format(
        "drift: {} changes what is ours faster than it is repaired; repairs "
        "wait now, and are told when it is over",
        by.ToString());
  }
  return fmt::format(
      "drift: the flood is over after {:.1f} s: {} changes seen, {} repairs, "
      "begun by {}",
      Seconds(lasted), changes, repairs, by.ToString());
}

}  // namespace edged
