#pragma once

#include <string>

#include "edged/core/doctor.h"

namespace edged::edge {

// What the edged that serves `socket` tells of itself, into `facts`: whether it
// runs, its enrolment, uplinks, addresses and mappings. What it does not answer
// stays unset.
void AskEdged(const std::string& socket, DoctorFacts& facts);

}  // namespace edged::edge
