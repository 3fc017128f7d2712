#include "clusteragent/core/stable_hash.h"

#include <fmt/format.h>
#include <sodium.h>

namespace edged::agent {

std::string StableHash(const std::vector<std::string>& parts, size_t digits) {
  std::string input;
  for (const std::string& part : parts) {
    input += fmt::format("{}:{}", part.size(), part);
  }
  unsigned char hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>(input.data()),
                     input.size());
  std::string text;
  for (const unsigned char byte : hash) text += fmt::format("{:02x}", byte);
  return text.substr(0, digits);
}

}  // namespace edged::agent
