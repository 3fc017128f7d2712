#include "edged/core/firewall_trials.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/protocol/overlay.h"
#include "edged/core/doctor_checks.h"
#include "edged/core/nft_names.h"
#include "edged/core/overflow_table.h"

namespace edged::edge {
namespace {

using nftables::AnyHook;
using nftables::AnyTable;

constexpr uint32_t kInetIngress = 5;

bool HasOverflow(const DoctorFacts& facts) {
  return facts.tables &&
         std::ranges::any_of(*facts.tables, [](const AnyTable& table) {
           return table.family == NFPROTO_INET && table.name == kOverflowTable;
         });
}

// All packets of ours on their way through one hook.
class Trials {
 public:
  explicit Trials(const DoctorFacts& facts) : facts_(facts) {
    for (const PublicAddressFacts& address : facts.addresses) {
      if (address.nic_address) Add(address.interface, *address.nic_address);
    }
    if (arrivals_.empty()) {
      for (const std::string& name : PublicInterfaces(facts)) {
        Add(name, std::nullopt);
      }
    }
    for (const auto& network :
         {facts.enrolment.network, facts.enrolment.network6}) {
      if (!network) continue;
      const auto overlay = protocol::Overlay::Create(*network);
      if (overlay.ok()) overlays_.emplace(network->family(), *overlay);
    }
    if (facts.uplinks) {
      for (const UplinkFacts& uplink : *facts.uplinks) {
        if (uplink.endpoint) sender_ = uplink.endpoint->address;
      }
    }
  }

  std::vector<Trial> Through(const AnyTable& table, const AnyHook& hook) const;

 private:
  struct Arrival {
    std::string interface;
    std::optional<IpAddress> address;
  };

  void Add(const std::string& interface, std::optional<IpAddress> address) {
    arrivals_.push_back({interface, address});
  }
  // nullptr: not known.
  const protocol::Overlay* OverlayOf(Family family) const {
    const auto found = overlays_.find(family);
    return found == overlays_.end() ? nullptr : &found->second;
  }
  uint32_t IndexOf(const std::string& name) const {
    const netlink::Link* link = FindLink(facts_, name);
    return link == nullptr ? 0 : static_cast<uint32_t>(link->index);
  }
  Probe Between(const std::string& in, const std::string& out) const {
    return {.in = in,
            .out = out,
            .in_index = IndexOf(in),
            .out_index = IndexOf(out)};
  }
  void AddArriving(const AnyHook& hook, bool early,
                   std::vector<Trial>& trials) const;
  void AddForwarded(std::vector<Trial>& trials) const;
  void AddLeaving(std::vector<Trial>& trials) const;
  static void AddUntracked(std::vector<Trial>& trials);
  Trial ApiTrial(Purpose purpose, Protocol protocol) const;
  void AddInto(const Arrival& arrival, bool translated, const std::string& out,
               std::vector<Trial>& trials) const;
  Trial Back(const Arrival& arrival) const;

  const DoctorFacts& facts_;
  std::vector<Arrival> arrivals_;
  std::map<Family, protocol::Overlay> overlays_;
  std::optional<IpAddress> sender_;  // of an uplink's encrypted packets
};

Trial Trials::ApiTrial(Purpose purpose, Protocol protocol) const {
  const bool in = purpose == Purpose::kApiIn;
  Trial trial{
      purpose, Between(in ? facts_.device : "", in ? "" : facts_.device), {}};
  trial.probe.family = Family::kIpv4;
  trial.probe.protocol = protocol;
  trial.probe.established = !in;
  trial.probe.to_this_host = in;
  (in ? trial.probe.destination_port : trial.probe.source_port) =
      protocol::kApiPort;
  const protocol::Overlay* overlay = OverlayOf(Family::kIpv4);
  if (!overlay) return trial;
  const IpAddress uplink = overlay->UplinkAddress(1);
  trial.probe.source = in ? uplink : overlay->EdgeAddress();
  trial.probe.destination = in ? overlay->EdgeAddress() : uplink;
  return trial;
}

// The mapped ports of one address, by protocol.
void Trials::AddInto(const Arrival& arrival, bool translated,
                     const std::string& out, std::vector<Trial>& trials) const {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    Trial trial{Purpose::kForwardIn, Between(arrival.interface, out), {}};
    for (const MappedPorts& mapped :
         facts_.mappings.value_or(std::vector<MappedPorts>())) {
      if (mapped.protocol == protocol &&
          mapped.nic_address == arrival.address) {
        trial.mapped.push_back(mapped);
      }
    }
    if (trial.mapped.empty()) continue;
    trial.probe.family = arrival.address->family();
    trial.probe.protocol = protocol;
    trial.probe.destination = arrival.address;
    trial.probe.translated = translated;
    trial.probe.to_this_host = !translated;
    const protocol::Overlay* overlay = OverlayOf(trial.probe.family);
    if (translated && overlay) {
      trial.probe.destination = overlay->MappingAddress(1, 1);
    }
    trials.push_back(std::move(trial));
  }
}

Trial Trials::Back(const Arrival& arrival) const {
  Trial trial{
      Purpose::kForwardBack, Between(facts_.device, arrival.interface), {}};
  if (arrival.address) trial.probe.family = arrival.address->family();
  trial.probe.protocol = Protocol::kTcp;
  trial.probe.established = true;
  trial.probe.translated = true;
  const protocol::Overlay* overlay = OverlayOf(trial.probe.family);
  if (overlay) trial.probe.source = overlay->MappingAddress(1, 1);
  return trial;
}

// Ingress, prerouting and input.
void Trials::AddArriving(const AnyHook& hook, bool early,
                         std::vector<Trial>& trials) const {
  const bool input = !early && hook.number == NF_INET_LOCAL_IN;
  for (const Arrival& arrival : arrivals_) {
    const bool here = !early || hook.devices.empty() ||
                      std::ranges::count(hook.devices, arrival.interface) > 0;
    if (!here) continue;
    Trial tunnel{Purpose::kTunnelIn, Between(arrival.interface, ""), {}};
    tunnel.probe.source = sender_;
    tunnel.probe.destination = arrival.address;
    if (arrival.address) tunnel.probe.family = arrival.address->family();
    tunnel.probe.destination_port = facts_.enrolment.listen_port;
    tunnel.probe.to_this_host = true;
    if (!sender_ || sender_->family() == tunnel.probe.family) {
      trials.push_back(tunnel);
    }
    if (input) continue;
    AddInto(arrival, !early && hook.priority > kDnatPriority, "", trials);
  }
  const bool device =
      !early || std::ranges::count(hook.devices, facts_.device) > 0;
  if (!device) return;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    trials.push_back(ApiTrial(Purpose::kApiIn, protocol));
  }
  if (input) return;
  std::set<Family> told;
  for (const Arrival& arrival : arrivals_) {
    Trial back = Back(arrival);
    if (!told.insert(back.probe.family).second) continue;
    back.probe.out.clear();
    back.probe.out_index = 0;
    trials.push_back(std::move(back));
  }
}

void Trials::AddForwarded(std::vector<Trial>& trials) const {
  for (const Arrival& arrival : arrivals_) {
    trials.push_back(Back(arrival));
    AddInto(arrival, true, facts_.device, trials);
  }
}

void Trials::AddLeaving(std::vector<Trial>& trials) const {
  for (const Arrival& arrival : arrivals_) {
    Trial tunnel{Purpose::kTunnelOut, Between("", arrival.interface), {}};
    tunnel.probe.source = arrival.address;
    tunnel.probe.destination = sender_;
    if (arrival.address) tunnel.probe.family = arrival.address->family();
    tunnel.probe.source_port = facts_.enrolment.listen_port;
    tunnel.probe.destination_port = 40'000;
    tunnel.probe.established = true;
    if (!sender_ || sender_->family() == tunnel.probe.family) {
      trials.push_back(std::move(tunnel));
    }
  }
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    trials.push_back(ApiTrial(Purpose::kApiOut, protocol));
  }
}

// The same of an uplink that moves, or starts anew.
void Trials::AddUntracked(std::vector<Trial>& trials) {
  const size_t count = trials.size();
  for (size_t i = 0; i < count; ++i) {
    const Purpose purpose = trials[i].purpose;
    if (purpose == Purpose::kForwardIn || purpose == Purpose::kForwardBack) {
      continue;
    }
    Trial trial = trials[i];
    trial.probe.untracked = true;
    trials.push_back(std::move(trial));
  }
}

std::vector<Trial> Trials::Through(const AnyTable& table,
                                   const AnyHook& hook) const {
  std::vector<Trial> trials;
  const bool netdev = table.family == NFPROTO_NETDEV;
  if (netdev && hook.number != 0) return {};  // egress
  if (netdev || hook.number == kInetIngress) {
    AddArriving(hook, true, trials);
  } else if (hook.number == NF_INET_PRE_ROUTING ||
             hook.number == NF_INET_LOCAL_IN) {
    AddArriving(hook, false, trials);
  } else if (hook.number == NF_INET_FORWARD) {
    AddForwarded(trials);
  } else if (hook.number == NF_INET_LOCAL_OUT) {
    AddLeaving(trials);
  } else if (hook.number == NF_INET_POST_ROUTING) {
    AddForwarded(trials);
    AddLeaving(trials);
  }
  const auto other_family = [&table](const Trial& trial) {
    const bool ipv4 = trial.probe.family == Family::kIpv4;
    return (table.family == NFPROTO_IPV4 && !ipv4) ||
           (table.family == NFPROTO_IPV6 && ipv4);
  };
  std::erase_if(trials, other_family);
  if (!netdev && hook.number != kInetIngress &&
      hook.priority > kOverflowPriority && HasOverflow(facts_)) {
    AddUntracked(trials);
  }
  return trials;
}

}  // namespace

std::string TextOf(Purpose purpose, const DoctorFacts& facts) {
  switch (purpose) {
    case Purpose::kTunnelIn:
      return fmt::format("udp {} of the tunnel", facts.enrolment.listen_port);
    case Purpose::kTunnelOut:
      return "what the tunnel sends";
    case Purpose::kApiIn:
      return fmt::format("port {} on {} (uplinks' calls and heartbeats)",
                         protocol::kApiPort, facts.device);
    case Purpose::kApiOut:
      return "answers to uplinks";
    case Purpose::kForwardIn:
      return "connections to mapped ports";
    case Purpose::kForwardBack:
      return fmt::format("answers out of {}", facts.device);
  }
  return "";
}

std::string MeaningOf(Purpose purpose) {
  switch (purpose) {
    case Purpose::kTunnelIn:
      return "No uplink reaches this host.";
    case Purpose::kTunnelOut:
      return "This host cannot answer uplinks.";
    case Purpose::kApiIn:
    case Purpose::kApiOut:
      return "Uplinks count as dead, and nothing can be changed.";
    case Purpose::kForwardIn:
      return "Clients get no connection.";
    case Purpose::kForwardBack:
      return "Clients get no answer.";
  }
  return "";
}

std::vector<Trial> TrialsThrough(const AnyTable& table, const AnyHook& hook,
                                 const DoctorFacts& facts) {
  return Trials(facts).Through(table, hook);
}

}  // namespace edged::edge
