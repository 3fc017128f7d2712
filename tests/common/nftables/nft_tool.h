#pragma once

#include <string>

// What kernel tests of this folder share: a network namespace of their own, and
// the nft tool as the second opinion.

namespace edged::nftables {

// Why they cannot run here; empty when they can. Moves the process to a network
// namespace of its own, once.
std::string WhyNot();

struct NftOutput {
  int code = 0;
  std::string text;  // both streams
};

NftOutput Nft(const std::string& arguments, const std::string& input = "");

}  // namespace edged::nftables

#define SKIP_IF_IMPOSSIBLE()                                  \
  if (const std::string reason = ::edged::nftables::WhyNot(); \
      !reason.empty()) {                                      \
    std::cout << "SKIPPED: " << reason << "\n";               \
    return;                                                   \
  }
