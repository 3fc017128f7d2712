#pragma once

#include <string>

#include "edged/core/doctor.h"

namespace edged::edge {

// What the kernel and files of this host tell, into `facts`. Nothing is changed
// (but that the kernel may load a module when it is asked for one), and nothing
// is an error: what cannot be seen goes into `unseen`. Call it after edged was
// asked: it fills in what that did not tell, from the kernel.
void LookAtHost(DoctorFacts& facts);

}  // namespace edged::edge
