#include "edged/system/dataplane.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "common/one_line.h"
#include "common/status.h"
#include "common/wireguard/diff.h"
#include "edged/core/conntrack_plan.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"
#include "edged/core/route_plan.h"

namespace edged::edge {
namespace {

// Outer IPv6 header, UDP, WireGuard's own: what a packet grows by at most.
constexpr uint32_t kTunnelOverhead = 80;
constexpr uint32_t kUsualMtu = 1500;
constexpr uint32_t kLeastMtu = 1280;

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(
               std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
};

}  // namespace

Dataplane::Dataplane(const KernelClients& kernel, const Limits& limits,
                     TunnelIdentity identity)
    : kernel_(kernel),
      identity_(std::move(identity)),
      facts_{.limits = limits} {}

absl::StatusOr<bool> Dataplane::IsProgrammed() const {
  const auto device = kernel_.wireguard.Get(facts_.device);
  if (absl::IsNotFound(device.status())) return false;
  RETURN_IF_ERROR(device.status());
  const bool has_uplinks =
      std::ranges::any_of(device->peers, [this](const wireguard::Peer& peer) {
        return peer.key != identity_.control_key;
      });
  if (!has_uplinks) return false;
  ASSIGN_OR_RETURN(const nftables::Listing listing, kernel_.nft.List(kTable));
  return listing.exists;
}

int Dataplane::device_index() const {
  for (const netlink::Link& link : host_.routes.links) {
    if (link.name == facts_.device) return link.index;
  }
  return 0;
}

bool Dataplane::HasPeer(const PublicKey& key) const {
  const auto device = kernel_.wireguard.Get(facts_.device);
  return device.ok() &&
         std::ranges::find(device->peers, key, &wireguard::Peer::key) !=
             device->peers.end();
}

absl::Status Dataplane::Reconcile(const EdgeModel& model, UplinkHealth health,
                                  const Endpoints& endpoints) {
  facts_.health = std::move(health);
  RETURN_IF_ERROR(kernel_.wireguard.Ensure(facts_.device));
  RETURN_IF_ERROR(ObserveHost(model));
  RETURN_IF_ERROR(ReconcileTable(model));
  return ReconcileTunnel(model, endpoints);
}

absl::Status Dataplane::ObserveHost(const EdgeModel& model) {
  ASSIGN_OR_RETURN(host_, Observe(kernel_.rtnetlink));
  facts_.forwarding_everywhere = host_.forwarding_everywhere;
  facts_.nic_addresses.clear();
  unresolved_.clear();
  for (auto& [address, nic] :
       ResolveNicAddresses(model.settings(), host_.routes.links,
                           host_.routes.addresses, facts_.device)) {
    if (nic.ok()) {
      facts_.nic_addresses.emplace(address, *nic);
    } else {
      unresolved_.emplace(address, nic.status());
    }
  }
  facts_.mtu = TunnelMtu(model);
  facts_.switched_interfaces = SwitchedInterfaces(facts_, host_.routes.links,
                                                  facts_.switched_interfaces);
  return absl::OkStatus();
}

uint32_t Dataplane::TunnelMtu(const EdgeModel& model) const {
  if (model.settings().mtu != 0) return model.settings().mtu;
  uint32_t least = 0;
  for (const netlink::Link& link : host_.routes.links) {
    const bool carries = std::ranges::any_of(
        host_.routes.routes, [&link](const netlink::Route& route) {
          return route.link == link.index && route.destination.length() == 0 &&
                 route.table == 254;
        });
    if (carries && (least == 0 || link.mtu < least)) least = link.mtu;
  }
  if (least == 0) least = kUsualMtu;
  return std::max(least, kLeastMtu + kTunnelOverhead) - kTunnelOverhead;
}

absl::Status Dataplane::ReconcileTable(const EdgeModel& model) {
  const Stopwatch watch;
  ASSIGN_OR_RETURN(const nftables::Listing listing, kernel_.nft.List(kTable));
  if (!marks_known_) {
    ASSIGN_OR_RETURN(marks_, GroupMarks::TakeOver(listing, model));
    marks_known_ = true;
    facts_.switched_interfaces = SwitchedInterfaces(
        facts_, host_.routes.links, SwitchedInterfacesOf(listing));
  }
  const nftables::Transaction change =
      nftables::Diff(listing, CompileTable(model, marks_, facts_));
  if (change.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(kernel_.nft.Apply(change));
  spdlog::info("table inet {}: {} changes, {} mappings, {:.2f} ms", kTable,
               change.operations().size(), model.mapping_count(),
               watch.milliseconds());
  return absl::OkStatus();
}

absl::Status Dataplane::ApplyDelta(const EdgeModel& before,
                                   const protocol::EdgeDelta& accepted) {
  RETURN_IF_ERROR(marks_.Reserve(accepted));
  if (NeedsWholeTable(before, accepted)) {
    EdgeModel after = before;
    after.Commit(accepted);
    RETURN_IF_ERROR(ObserveHost(after));
    RETURN_IF_ERROR(ReconcileTable(after));
  } else {
    const nftables::Transaction change =
        CompileDelta(before, marks_, facts_, accepted);
    if (!change.empty()) RETURN_IF_ERROR(kernel_.nft.Apply(change));
  }
  for (const TouchedElements& touched : Touched(marks_, facts_, accepted)) {
    ASSIGN_OR_RETURN(
        const std::vector<nftables::Element> found,
        kernel_.nft.GetElements(kTable, touched.set, touched.Keys()));
    RETURN_IF_ERROR(CheckReadBack(touched, found));
  }
  marks_.Release(accepted);
  return absl::OkStatus();
}

absl::Status Dataplane::ReconcileTunnel(const EdgeModel& model,
                                        const Endpoints& endpoints) {
  RETURN_IF_ERROR(kernel_.wireguard.Ensure(facts_.device));
  ASSIGN_OR_RETURN(const wireguard::Device observed,
                   kernel_.wireguard.Get(facts_.device));
  const wireguard::DeviceChange change = wireguard::Diff(
      observed, WantedDevice(identity_, model, facts_, endpoints));
  if (!change.empty()) {
    RETURN_IF_ERROR(Annotate(kernel_.wireguard.Apply(facts_.device, change),
                             "device " + facts_.device));
    spdlog::info("device {}: {}", facts_.device, OneLine(change.ToString()));
  }
  ASSIGN_OR_RETURN(host_, Observe(kernel_.rtnetlink));
  ASSIGN_OR_RETURN(const RouteChange routes,
                   PlanRoutes(model, facts_, host_.routes));
  if (routes.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(Apply(kernel_.rtnetlink, routes));
  spdlog::info("routes: {}", OneLine(routes.ToString(facts_.device)));
  return absl::OkStatus();
}

absl::Status Dataplane::ApplyHealth(const EdgeModel& model,
                                    UplinkHealth health) {
  UplinkHealth previous = std::exchange(facts_.health, std::move(health));
  const nftables::Transaction change =
      CompileHealthChange(model, facts_, previous);
  if (change.empty()) return absl::OkStatus();
  const absl::Status status = kernel_.nft.Apply(change);
  if (!status.ok()) facts_.health = std::move(previous);
  return status;
}

absl::StatusOr<int> Dataplane::DeleteStaleFlows(
    const EdgeModel& model, const std::set<std::string>& long_dead) {
  const StaleFlows stale(model, facts_, long_dead);
  std::vector<netlink::Flow> found;
  RETURN_IF_ERROR(kernel_.conntrack.ForEachFlow(
      Family::kIpv4, [&stale, &found](const netlink::Flow& flow) {
        if (stale.IsStale(flow)) found.push_back(flow);
      }));
  for (const netlink::Flow& flow : found) {
    RETURN_IF_ERROR(kernel_.conntrack.Delete(flow));
  }
  return static_cast<int>(found.size());
}

absl::StatusOr<protocol::Digest> Dataplane::Audit(const EdgeModel& model) {
  ASSIGN_OR_RETURN(const protocol::Digest digest, AuditOnce(model));
  if (digest == ProgrammedDigest(model)) return digest;
  return AuditOnce(model);
}

absl::StatusOr<protocol::Digest> Dataplane::AuditOnce(
    const EdgeModel& model) const {
  KernelDigest digest(model, marks_, facts_);
  for (const nftables::Set& set : MappingSets(facts_)) {
    RETURN_IF_ERROR(kernel_.nft.ForEachElement(
        kTable, set,
        [&digest](const nftables::Element& element) { digest.Add(element); }));
  }
  return digest.digest();
}

protocol::Digest Dataplane::ProgrammedDigest(const EdgeModel& model) const {
  protocol::Digest digest = model.digest();
  for (const protocol::Listener& listener : Unprogrammable(model, facts_)) {
    const protocol::Group* group = model.FindMapping(listener);
    if (group) digest.Remove(protocol::Mapping{listener, group->name});
  }
  return digest;
}

std::vector<Refusal> Dataplane::NotProgrammed(const EdgeModel& model) const {
  std::vector<Refusal> refusals;
  for (const protocol::Listener& listener : Unprogrammable(model, facts_)) {
    const auto why = unresolved_.find(listener.public_address);
    refusals.push_back({listener, "AddressNotLocal",
                        why == unresolved_.end()
                            ? fmt::format("{} is not resolved",
                                          listener.public_address.ToString())
                            : std::string(Message(why->second))});
  }
  return refusals;
}

std::vector<ResolvedAddress> Dataplane::Addresses(
    const EdgeModel& model) const {
  std::vector<ResolvedAddress> addresses;
  for (const auto& wanted : model.settings().public_addresses) {
    ResolvedAddress& added = addresses.emplace_back();
    added.address = wanted.address;
    const auto nic = facts_.nic_addresses.find(wanted.address);
    if (nic != facts_.nic_addresses.end()) {
      added.nic_address = nic->second.nic;
      added.interface = nic->second.interface;
    } else if (const auto why = unresolved_.find(wanted.address);
               why != unresolved_.end()) {
      added.error = std::string(Message(why->second));
    }
  }
  return addresses;
}

absl::StatusOr<std::vector<MappingStatus>> Dataplane::Mappings() const {
  const Readback readback(marks_, facts_);
  std::vector<MappingStatus> mappings;
  for (const nftables::Set& set : MappingSets(facts_)) {
    RETURN_IF_ERROR(kernel_.nft.ForEachElement(
        kTable, set, [&](const nftables::Element& element) {
          const auto mapping = readback.MappingOf(element);
          if (!mapping.ok()) return;  // foreign; drift, not a mapping
          const IpAddress& address = mapping->listener.public_address;
          mappings.push_back({*mapping, facts_.nic_addresses.at(address).nic,
                              element.packets});
        }));
  }
  std::ranges::sort(mappings, {}, [](const MappingStatus& mapping) {
    return mapping.mapping.listener;
  });
  return mappings;
}

absl::StatusOr<wireguard::Device> Dataplane::Tunnel() const {
  return kernel_.wireguard.Get(facts_.device);
}

absl::Status Dataplane::Remove() {
  absl::Status first;
  const auto note = [&first](const absl::Status& status) {
    if (first.ok()) first = status;
  };
  const auto listing = kernel_.nft.List(kTable);
  note(listing.status());
  const auto host = Observe(kernel_.rtnetlink);
  note(host.status());
  // The device first: without it nothing reaches what the table guarded.
  note(kernel_.wireguard.Remove(facts_.device));
  std::set<std::string> switched = facts_.switched_interfaces;
  if (listing.ok()) switched.merge(SwitchedInterfacesOf(*listing));
  if (host.ok()) {
    for (const netlink::Link& link : host->routes.links) {
      if (!switched.contains(link.name)) continue;
      netlink::Ipv4Conf conf = link.ipv4;
      conf.forwarding = false;
      note(kernel_.rtnetlink.SetIpv4Conf(link.index, conf));
    }
  }
  if (listing.ok() && listing->exists) {
    nftables::Transaction removal(kTable);
    removal.Add(nftables::DeleteTable{});
    note(kernel_.nft.Apply(removal));
  }
  return first;
}

}  // namespace edged::edge
