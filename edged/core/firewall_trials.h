#pragma once

#include <optional>
#include <string>
#include <vector>

#include "edged/core/doctor.h"
#include "edged/core/rule_walk.h"

// Which packets of ours pass a hook, to be tried on the rules that others have
// there. Pure.

namespace edged::edge {

// What of ours passes a chain.
enum class Purpose {
  kTunnelIn,     // uplinks' encrypted packets
  kTunnelOut,    // ours
  kApiIn,        // heartbeats and the API, out of the tunnel
  kApiOut,       // their answers
  kForwardIn,    // clients' packets, into the tunnel
  kForwardBack,  // the answers
};

struct Trial {
  Purpose purpose = Purpose::kTunnelIn;
  Probe probe;
  // Of kForwardIn: what arrives at the probe's address by its protocol; the
  // probe's port is not set.
  std::vector<MappedPorts> mapped;
};

std::string TextOf(Purpose purpose, const DoctorFacts& facts);
std::string MeaningOf(Purpose purpose);  // that it is dropped

// While the table of connections is full those of uplinks come twice: with an
// entry in it, and untracked (overflow_table.h).
std::vector<Trial> TrialsThrough(const nftables::AnyTable& table,
                                 const nftables::AnyHook& hook,
                                 const DoctorFacts& facts);

}  // namespace edged::edge
