#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/unique_fd.h"
#include "common/wireguard/client.h"

// Hosts with WireGuard between them, for tests with a real kernel.

namespace edged::wireguard {

inline constexpr char kProgram[] = "/usr/bin/wireguard-go";

// Prints why, when a backend cannot be tried here.
bool Skips(Backend backend);

// One end: a network namespace with a veth to the other, a WireGuard device,
// and an overlay address on it. The device goes with it.
class Host {
 public:
  Host(Backend backend, char suffix, std::string_view underlay,
       std::string_view overlay);
  ~Host();

  void ConnectTo(const Host& other);
  void PlugIn();
  void MakeDevice(const Host& other);
  // Makes the device as wanted, and checks that it is.
  void Reconcile();
  Device Observe();

  const UniqueFd network;
  const std::string device;
  const PrivateKey key;
  const IpAddress underlay;
  const IpAddress overlay;
  std::unique_ptr<Client> client;
  Device wanted;
};

struct TwoHosts {
  explicit TwoHosts(Backend backend);
  Host left;
  Host right;
};

// Whether a datagram from one overlay address reaches the other within 10 s.
bool Passes(const Host& from, const Host& to);

// The device as `wg show DEVICE dump` prints it.
Device SeenByTool(const Host& host);
// As we read it, with handshakes in whole seconds like the tool's.
Device SeenByUs(Host& host);
// Whether both are the same, some time within a second: counters may move
// between two looks.
bool AgreesWithTool(Host& host);

}  // namespace edged::wireguard
