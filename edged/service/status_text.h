#pragma once

#include <chrono>
#include <string>

#include "edged/v1/edge.pb.h"

namespace edged::edge {

// GetState for people: a few lines on the edge, then tables of its addresses,
// uplinks and refused mappings. Ages are counted from `now`. Pure.
std::string StatusText(const v1::GetStateResponse& state,
                       std::chrono::system_clock::time_point now);

}  // namespace edged::edge
