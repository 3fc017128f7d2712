#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/wireguard/device.h"
#include "common/wireguard/diff.h"

// One interface, two backends: the kernel's WireGuard (generic netlink) and
// wireguard-go's UAPI socket (https://www.wireguard.com/xplatform/).

namespace edged::wireguard {

enum class Backend { kKernel, kUserspace };
std::string_view ToString(Backend backend);  // "kernel", "userspace"

// It works in the network namespace in which it was opened. Each call waits at
// most some seconds for the other side, and is Unavailable then.
class Client {
 public:
  virtual ~Client() = default;
  virtual Backend backend() const = 0;
  // Makes the network device when it is not there; OK when it is. For
  // userspace: finds its socket; starts the configured wireguard-go detached
  // when it is missing, or is FailedPrecondition with the line that starts it.
  // (That process is init's child: a container needs an init that reaps.)
  virtual absl::Status Ensure(const std::string& name) = 0;
  // NotFound when there is no such device.
  virtual absl::StatusOr<Device> Get(const std::string& name) = 0;
  // A change that is refused may have been made up to there: observe again.
  virtual absl::Status Apply(const std::string& name,
                             const DeviceChange& change) = 0;
  // Removes the device; OK when it is not there.
  virtual absl::Status Remove(const std::string& name) = 0;
};

// Unimplemented when this kernel has no WireGuard.
absl::StatusOr<std::unique_ptr<Client>> OpenKernelClient();

// `program`: path of wireguard-go to start when a device is missing; empty:
// never start one. `socket_folder` is where its sockets are.
inline constexpr char kSocketFolder[] = "/run/wireguard";
std::unique_ptr<Client> OpenUserspaceClient(
    std::string program, std::string socket_folder = kSocketFolder);

enum class BackendChoice { kAuto, kKernel, kUserspace };
absl::StatusOr<BackendChoice> ParseBackendChoice(std::string_view text);

// kAuto: the kernel where it has WireGuard, else userspace. When neither can
// work: FailedPrecondition that says how to start one.
absl::StatusOr<std::unique_ptr<Client>> OpenClient(BackendChoice choice,
                                                   std::string program);

}  // namespace edged::wireguard
