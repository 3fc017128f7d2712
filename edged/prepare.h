#pragma once

#include <string>
#include <vector>

#include "edged/system/host_network.h"

namespace edged::edge {

// What `edged prepare` found to do on this host.
struct Preparation {
  std::vector<std::string> changes;   // "net.netfilter.x: 0 -> 1"
  std::vector<std::string> warnings;  // what is missing or could not be set
};

// Sets what the daemon may not and the network needs: the size of the
// connection table by this machine's memory (never lowered), its accounting and
// loose pick-up of TCP, the smallest path MTU that an ICMP error may tell of
// (1280), no heed to ICMP redirects where a device forwards, and IPv6
// forwarding without losing routes that come by router advertisements. Loads
// conntrack when it is not there. Where it, and nobody before it, makes this
// host forward IPv6, it leaves the file `prepared`: edged then keeps the host
// from being a router for others. Needs root; `proc` is where procfs is
// mounted.
Preparation PrepareHost(const std::string& proc = "/proc",
                        const std::string& prepared = kPreparedFile);

}  // namespace edged::edge
