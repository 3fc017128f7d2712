#pragma once

#include <map>
#include <string>

#include "common/netlink/rtnetlink.h"
#include "common/wireguard/client.h"

namespace edged::wireguard {

// WireGuard that carries no packets: devices are kept in memory, and in the
// kernel each is one end of a veth pair, so that addresses and routes can be
// set on it. A prefix belongs to one peer, as in the kernel.
class FakeClient final : public Client {
 public:
  // `rtnetlink` is borrowed.
  explicit FakeClient(netlink::Rtnetlink& rtnetlink) : rtnetlink_(rtnetlink) {}

  Backend backend() const override { return Backend::kKernel; }
  absl::Status Ensure(const std::string& name) override;
  absl::StatusOr<Device> Get(const std::string& name) override;
  absl::Status Apply(const std::string& name,
                     const DeviceChange& change) override;
  absl::Status Remove(const std::string& name) override;

  // A device as it is observed from now on, in memory alone.
  void Put(const Device& device) { devices_[device.name] = device; }
  // The next Apply() changes nothing and returns `failure`.
  void FailNext(absl::Status failure) { failure_ = std::move(failure); }
  // How many changes were applied.
  int applied() const { return applied_; }

 private:
  netlink::Rtnetlink& rtnetlink_;
  std::map<std::string, Device> devices_;
  absl::Status failure_;
  int applied_ = 0;
};

}  // namespace edged::wireguard
