#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <optional>
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
  // Keeps the names of our devices for the next run.
  using SaveDevices =
      std::function<absl::Status(const std::vector<std::string>&)>;

  // What came of a plan: the devices that are as it wants them, with their
  // indexes, and the first error. One device that fails holds up no other.
  struct Outcome {
    absl::Status status;
    std::map<std::string, int> devices;  // name → interface index
    // Whether the rules stand by which answers find the tunnel they came by;
    // without them a device carries nothing.
    bool returns = false;
    std::string written;  // for people; empty: nothing had to be
  };

  // All are borrowed. `devices`: those of an earlier run. A device's name is
  // saved before the device is made.
  Uplink(nftables::Client& nft, wireguard::Client& wireguard,
         netlink::Rtnetlink& rtnetlink, std::vector<std::string> devices,
         SaveDevices save_devices);

  // Also what RoutesTo() and WayTo() know of links.
  absl::StatusOr<UplinkHost> Observe();
  struct TargetRoutes {
    // By target the name of the link that it is reached over; empty: it is on
    // this host.
    std::map<IpAddress, std::string> links;
    std::vector<TargetLink> used;              // these links, sorted
    std::map<IpAddress, std::string> nowhere;  // targets without a route, why
  };
  absl::StatusOr<TargetRoutes> RoutesTo(const std::set<IpAddress>& targets);
  // Says which of all targets have no route: once when routes go, and when they
  // come back.
  void TellNowhere(std::map<IpAddress, std::string> nowhere);
  // Those of `links` that are there, sorted.
  absl::StatusOr<std::vector<TargetLink>> Find(
      const std::set<SwitchedLink>& links);
  // How packets to an address leave this host.
  struct Way {
    int link = 0;                     // its index
    std::optional<IpAddress> source;  // our address
    uint32_t mtu = 0;  // the least of the route and the link, in bytes
    bool operator==(const Way&) const = default;
  };
  // NotFound where there is none, or only one by a device of ours.
  absl::StatusOr<Way> WayTo(const IpAddress& address);

  // Which devices of a plan are compared with the kernel: all, or those that
  // are not as they were last made. Each takes some calls, and with userspace
  // WireGuard an answer of another process.
  enum class Compare { kAll, kChanged };
  // The table comes before any device. Devices that this object made and the
  // plan does not name are removed.
  Outcome Apply(const UplinkPlan& plan, Compare compare);
  // Parts of a plan that was applied, after others changed something.
  Outcome RepairTable(const UplinkPlan& plan);
  Outcome RepairDevices(const UplinkPlan& plan);  // with routes and rules
  Outcome RepairPeers(const UplinkDevice& device);
  // What we take from a device of a plan ourselves, by the following, the next
  // Apply() gives back; it is in no Outcome::written.

  // The short-lived device that introduces us; it takes over the route to the
  // edge's API address.
  absl::Status AddControlDevice(const UplinkDevice& device);
  absl::Status RemoveControlDevice(const std::string& name);

  // Of one device of ours. NotFound when it is not there.
  absl::StatusOr<wireguard::Device> Tunnel(const std::string& device);
  // Takes the peers of one device of ours away, and their sessions with them:
  // added anew, they shake hands anew.
  absl::Status ForgetPeers(const std::string& device);

  const std::vector<std::string>& devices() const { return devices_; }
  wireguard::Backend backend() const { return wireguard_.backend(); }

 private:
  // As last observed; nullptr: there is none.
  absl::StatusOr<const netlink::Link*> FindLink(int index);
  absl::Status ApplyTable(const nftables::Table& table);
  absl::Status ApplyLinks(const std::vector<LinkConf>& links);
  // What this namespace has, read once for all devices.
  struct Observed {
    std::vector<netlink::Address> addresses;
    std::vector<netlink::Route> routes;
  };
  absl::StatusOr<Observed> ObserveNetwork();
  Outcome ApplyDevices(const UplinkPlan& plan, Compare compare);
  absl::StatusOr<int> ApplyDevice(UplinkDevice device,
                                  const Observed& observed);
  absl::Status ApplyPeers(const UplinkDevice& device);
  absl::Status ApplyAddresses(const UplinkDevice& device, int link,
                              const std::vector<netlink::Address>& observed);
  absl::Status ApplyRoutes(const UplinkDevice& device, int link,
                           const std::vector<netlink::Route>& observed);
  absl::Status ApplyRules(const std::vector<netlink::Rule>& rules);
  absl::Status RemoveOldDevices(const UplinkPlan& plan);
  bool IsTakenByControlDevice(const IpPrefix& destination) const;
  absl::Status Remember(const std::string& device);
  absl::Status RemoveDevice(const std::string& device);
  void Disturb(const std::string& device);
  template <typename... Arguments>
  void Wrote(fmt::format_string<Arguments...> format, Arguments&&... arguments);

  nftables::Client& nft_;
  wireguard::Client& wireguard_;
  netlink::Rtnetlink& rtnetlink_;
  SaveDevices save_devices_;
  std::vector<std::string> devices_;
  // Of these the control devices in use: where alone they lead, and the devices
  // that led there before.
  struct ControlDevice {
    std::set<IpPrefix> destinations;
    std::set<std::string> displaced;
  };
  std::map<std::string, ControlDevice> control_devices_;
  // How each device's peer was last dialled. Only a change of it is written to
  // a live peer, which may have roamed since.
  struct Dialled {
    std::optional<SocketAddress> endpoint;
    std::optional<IpAddress> source;  // our address on the way there
    bool operator==(const Dialled&) const = default;
  };
  std::map<std::string, Dialled> dialled_;
  // Devices as they were last made, and their indexes.
  struct Made {
    UplinkDevice device;
    int link;
  };
  std::map<std::string, Made> made_;
  std::set<std::string> disturbed_;     // by ourselves, since they were made
  std::map<int, netlink::Link> links_;  // by index, as last observed
  std::vector<std::string> written_;    // by the call under way
  std::map<IpAddress, std::string> nowhere_;  // as last told
};

}  // namespace edged::agent
