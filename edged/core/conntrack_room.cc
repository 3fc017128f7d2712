#include "edged/core/conntrack_room.h"

#include <fmt/format.h>

namespace edged::edge {

void ConntrackRoom::Saw(const ConntrackFill& fill) {
  constexpr int kFull = 95, kRoom = 85;  // percent
  most_ = fill.most;
  is_full_ = fill.most > 0 &&
             fill.count * 100 >= fill.most * (is_full_ ? kRoom : kFull);
}

std::string ConntrackRoom::Warning(bool uplinks_pass) const {
  if (!is_full_) return "";
  return fmt::format(
      "the table of connections is full (net.netfilter.nf_conntrack_max {}): "
      "those that are there go on, new ones are dropped, {}",
      most_, uplinks_pass ? "but not those of uplinks" : "of uplinks too");
}

}  // namespace edged::edge
