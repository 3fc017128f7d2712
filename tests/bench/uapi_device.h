#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/unique_fd.h"

// What stands in for wireguard-go keeps what it is told at its UAPI socket, and
// tells it again (https://www.wireguard.com/xplatform/).

namespace edged::bench {

// What a peer was given. An address is allowed to one peer at a time.
struct UapiPeer {
  std::map<std::string, std::string> values;  // told again as they are
  std::vector<std::string> allowed_ips;
};

struct UapiDevice {
  std::map<std::string, std::string> values;
  std::map<std::string, UapiPeer> peers;  // by public key, in hex

  // What a request gets as its answer; a set changes the device.
  std::string Answer(const std::string& request);

 private:
  std::string Get() const;
  void Set(const std::string& request);
};

// The socket that somebody asks at.
class UapiListener {
 public:
  // The error names `path`.
  static absl::StatusOr<UapiListener> Open(const std::string& path);

  int descriptor() const { return listener_.get(); }
  // Waits for one request and answers it. A connection without one is somebody
  // who looked whether we are here.
  void Serve(
      const std::function<std::string(const std::string& request)>& answer);

 private:
  explicit UapiListener(UniqueFd listener) : listener_(std::move(listener)) {}

  UniqueFd listener_;
};

}  // namespace edged::bench
