#include <net/if.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "common/status.h"
#include "common/wireguard/client.h"
#include "common/wireguard/detached_process.h"
#include "common/wireguard/uapi_codec.h"
#include "common/wireguard/uapi_socket.h"

namespace edged::wireguard {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStartPatience{3};
constexpr std::chrono::milliseconds kStep{10};

// Whether a link of that name is in our network namespace.
bool LinkExists(const std::string& name) {
  return if_nametoindex(name.c_str()) != 0;
}

// Whether `process`, a pidfd, ends within kStep.
bool EndsNow(const UniqueFd& process) {
  pollfd ended{.fd = process.get(), .events = POLLIN};
  return poll(&ended, 1, static_cast<int>(kStep.count())) > 0;
}

class UserspaceClient : public Client {
 public:
  UserspaceClient(std::string program, std::string socket_folder)
      : program_(std::move(program)), folder_(std::move(socket_folder)) {}

  Backend backend() const override { return Backend::kUserspace; }

  absl::Status Ensure(const std::string& name) override {
    ASSIGN_OR_RETURN(const std::string socket, SocketOf(name));
    const absl::Status probed = ProbeUapi(socket);
    if (absl::IsNotFound(probed)) return Start(name, socket);
    RETURN_IF_ERROR(probed);
    if (!LinkExists(name)) {
      return FailedPrecondition(
          "wireguard-go answers at {}, but its link is in another network "
          "namespace: the folder is shared, so names must differ",
          socket);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Device> Get(const std::string& name) override {
    ASSIGN_OR_RETURN(const std::string socket, SocketOf(name));
    ASSIGN_OR_RETURN(const SecretText reply, AskUapi(socket, kUapiGet));
    auto device = DecodeUapiGetReply(reply, name);
    if (!device.ok()) return Annotate(device.status(), "read " + name);
    return device;
  }

  absl::Status Apply(const std::string& name,
                     const DeviceChange& change) override {
    ASSIGN_OR_RETURN(const std::string socket, SocketOf(name));
    ASSIGN_OR_RETURN(const SecretText reply,
                     AskUapi(socket, EncodeUapiSet(change)));
    return Annotate(DecodeUapiSetReply(reply), "change " + name);
  }

  absl::Status Remove(const std::string& name) override {
    ASSIGN_OR_RETURN(const std::string socket, SocketOf(name));
    const absl::Status probed = ProbeUapi(socket);
    if (probed.ok()) {
      // Without a link, it is one of another network namespace.
      return LinkExists(name) ? Annotate(EndUapi(socket), "remove " + name)
                              : absl::OkStatus();
    }
    if (!absl::IsNotFound(probed)) return probed;
    if (unlink(socket.c_str()) < 0 && errno != ENOENT) {
      return ErrnoStatus(errno, "remove " + socket);
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<std::string> SocketOf(const std::string& name) const {
    RETURN_IF_ERROR(CheckDeviceName(name));
    return fmt::format("{}/{}.sock", folder_, name);
  }

  absl::Status Start(const std::string& name, const std::string& socket) {
    if (LinkExists(name)) {
      return FailedPrecondition(
          "link {} is there, but no wireguard-go serves it: remove it first "
          "(`ip link delete {}`)",
          name, name);
    }
    if (program_.empty()) {
      return FailedPrecondition(
          "no wireguard-go serves {}: start it with `wireguard-go {}`, or "
          "`systemctl start edged-wireguard@{}`",
          name, name, name);
    }
    const auto process =
        StartDetached({program_, "--foreground", name},
                      {"LOG_LEVEL=error",
                       "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                       "/usr/bin:/sbin:/bin"});
    if (!process.ok()) {
      return FailedPrecondition("wireguard-go for {}: {}", name,
                                Message(process.status()));
    }
    const auto deadline = Clock::now() + kStartPatience;
    while (Clock::now() < deadline) {
      if (ProbeUapi(socket).ok()) return absl::OkStatus();
      if (EndsNow(*process)) {
        return FailedPrecondition(
            "{} --foreground {} ended at once{}", program_, name,
            access("/dev/net/tun", R_OK | W_OK) == 0
                ? std::string("; run it by hand to see why")
                : fmt::format(": /dev/net/tun: {}", strerror(errno)));
      }
    }
    return Unavailable("{} --foreground {} has not opened {} after {} s",
                       program_, name, socket, kStartPatience.count());
  }

  std::string program_;
  std::string folder_;
};

}  // namespace

std::unique_ptr<Client> OpenUserspaceClient(std::string program,
                                            std::string socket_folder) {
  return std::make_unique<UserspaceClient>(std::move(program),
                                           std::move(socket_folder));
}

}  // namespace edged::wireguard
