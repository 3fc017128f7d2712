#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clusteragent/core/uplink_plan.h"
#include "clusteragent/uplink/host.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/wireguard/client.h"

namespace edged::agent {

// This network namespace as an UplinkPlan wants it: observes and writes the
// differences. It owns the devices that it made (their names are kept by the
// caller), the table `inet clusteragent`, and routes and rules of our protocol
// number. Belongs to the loop thread.
class Uplink {
 public:
  // All are borrowed. `devices`: those of an earlier run.
  Uplink(nftables::Client& nft, wireguard::Client& wireguard,
         netlink::Rtnetlink& rtnetlink, std::vector<std::string> devices);

  absl::StatusOr<UplinkHost> Observe();
  // The links over which `targets` are reached; local ones have none.
  absl::StatusOr<std::vector<TargetLink>> LinksTo(
      const std::vector<IpAddress>& targets);
  // Of the link that leads to `address`, in bytes.
  absl::StatusOr<uint32_t> MtuTo(const IpAddress& address);

  // The table comes before any device. Devices that this object made and the
  // plan does not name are removed.
  absl::Status Apply(const UplinkPlan& plan);
  // The short-lived device that introduces us; it takes over the route to the
  // edge's API address.
  absl::Status AddControlDevice(const UplinkDevice& device);
  absl::Status RemoveControlDevice(const std::string& name);

  // Of one device of ours. NotFound when it is not there.
  absl::StatusOr<wireguard::Device> Tunnel(const std::string& device);

  // The devices that are there, for the next run.
  const std::vector<std::string>& devices() const { return devices_; }
  wireguard::Backend backend() const { return wireguard_.backend(); }

 private:
  absl::Status ApplyTable(const nftables::Table& table);
  absl::Status ApplyDevice(const UplinkDevice& device);
  absl::Status ApplyPeers(const UplinkDevice& device);
  absl::Status ApplyAddresses(const UplinkDevice& device, int link);
  absl::Status ApplyRoutes(const UplinkDevice& device, int link);
  absl::Status ApplyRules(const std::vector<netlink::Rule>& rules);
  absl::Status RemoveOldDevices(const UplinkPlan& plan);
  bool IsOurs(const std::string& device) const;

  nftables::Client& nft_;
  wireguard::Client& wireguard_;
  netlink::Rtnetlink& rtnetlink_;
  std::vector<std::string> devices_;
  std::set<std::string> control_devices_;  // of these, those in use
  // How each device's peer was last dialled. Only a change of it is written to
  // a live peer, which may have roamed since.
  struct Dialled {
    std::optional<SocketAddress> endpoint;
    std::optional<IpAddress> source;  // our address on the way there
    bool operator==(const Dialled&) const = default;
  };
  std::map<std::string, Dialled> dialled_;
};

}  // namespace edged::agent
