#pragma once

#include <string>

#include "absl/status/status.h"
#include "edged/config.h"

namespace edged::edge {

// `edged reset`: removes the enrolment and everything that was made in the
// kernel, through the running daemon when there is one. Without one it may be
// repeated until nothing is left; FailedPrecondition when a daemon runs and is
// not enrolled.
absl::Status Reset(const Config& config, const std::string& wireguard_program);

// Only what was made in the kernel: the enrolment stays, and `edged run` puts
// all back. FailedPrecondition while a daemon runs.
absl::Status ResetKernel(const Config& config,
                         const std::string& wireguard_program);

}  // namespace edged::edge
