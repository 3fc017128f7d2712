#include "edged/system/dataplane.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/drift/repair_text.h"
#include "common/netlink/ipv6_settings.h"
#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "common/nftables/timeout_probe.h"
#include "common/one_line.h"
#include "common/status.h"
#include "common/wireguard/diff.h"
#include "edged/core/arrival_ways.h"
#include "edged/core/drift_table.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_delta.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"
#include "edged/core/route_plan.h"
#include "edged/core/underlay.h"

namespace edged::edge {
namespace {

void AddLine(const std::string& line, std::string& text) {
  if (line.empty()) return;
  if (!text.empty()) text += "; ";
  text += line;
}

// What the table is compiled from, but for the health.
auto TableFacts(const HostFacts& facts) {
  return std::tuple(facts.nic_addresses, facts.forwarding_everywhere,
                    facts.switched_interfaces, facts.ipv6, facts.arrivals.ways,
                    facts.arrivals.exits);
}

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
  const netlink::Link* device = FindLink(facts_.device);
  return device ? device->index : 0;
}

std::set<IpAddress> Dataplane::OwnAddresses() const {
  std::set<IpAddress> own;
  for (const netlink::Address& address : host_.routes.addresses) {
    own.insert(address.address);
  }
  return own;
}

bool Dataplane::HasPeer(const PublicKey& key) const {
  const auto device = kernel_.wireguard.Get(facts_.device);
  return device.ok() &&
         std::ranges::find(device->peers, key, &wireguard::Peer::key) !=
             device->peers.end();
}

absl::StatusOr<std::string> Dataplane::Reconcile(const EdgeModel& model,
                                                 UplinkHealth health,
                                                 const Endpoints& endpoints) {
  facts_.health = std::move(health);
  endpoints_ = endpoints;
  RETURN_IF_ERROR(kernel_.wireguard.Ensure(facts_.device));
  RETURN_IF_ERROR(ObserveHost(model));
  ASSIGN_OR_RETURN(std::string written, ReconcileTable(model));
  ASSIGN_OR_RETURN(const std::string tunnel, ReconcileTunnel(model, endpoints));
  AddLine(tunnel, written);
  return written;
}

absl::StatusOr<std::string> Dataplane::WhyNoTimeouts() {
  if (!timeouts_known_) {
    ASSIGN_OR_RETURN(facts_.no_timeouts, nftables::WhyNoTimeouts(kernel_.nft));
    timeouts_known_ = true;
  }
  return facts_.no_timeouts;
}

absl::Status Dataplane::ObserveHost(const EdgeModel& model) {
  const bool has_timeouts = std::ranges::any_of(
      model.groups(),
      [](const auto& entry) { return !entry.second.timeouts.empty(); });
  if (has_timeouts) RETURN_IF_ERROR(WhyNoTimeouts().status());
  ASSIGN_OR_RETURN(host_, Observe(kernel_.rtnetlink));
  facts_.forwarding_everywhere = host_.forwarding_everywhere;
  LookAtUnderlay(model);
  const auto switched6 = std::move(facts_.ipv6.switched_interfaces);
  facts_.ipv6 = Ipv6Facts(model.settings(), host_.ipv6, FindLink(facts_.device),
                          facts_.mtu);
  unserved_ = ResolveAddresses(model.settings(), host_.routes, facts_);
  RETURN_IF_ERROR(FindWays(model));
  const auto& links = host_.routes.links;
  facts_.switched_interfaces =
      SwitchedInterfaces(facts_, links, facts_.switched_interfaces);
  facts_.ipv6.switched_interfaces =
      SwitchedInterfaces6(facts_, links, switched6);
  return absl::OkStatus();
}

const netlink::Link* Dataplane::FindLink(const std::string& name) const {
  const auto& links = host_.routes.links;
  const auto found = std::ranges::find(links, name, &netlink::Link::name);
  return found == links.end() ? nullptr : &*found;
}

absl::Status Dataplane::FindWays(const EdgeModel& model) {
  FindArrivalWays(model.settings(), host_.routes, facts_);
  RETURN_IF_ERROR(ObserveNeighbours());
  FindArrivalWays(model.settings(), host_.routes, facts_);
  return absl::OkStatus();
}

absl::Status Dataplane::ObserveNeighbours() {
  if (facts_.arrivals.unnamed.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(host_.routes.neighbours, kernel_.rtnetlink.ListNeighbours());
  return absl::OkStatus();
}

bool Dataplane::HasHiddenChange(const EdgeModel& model) const {
  const auto link = kernel_.rtnetlink.GetLink(facts_.device);
  const netlink::Link* known = FindLink(facts_.device);
  if (link.ok() && known && link->ipv6 != known->ipv6) return true;
  if (facts_.arrivals.unnamed.empty()) return false;
  auto neighbours = kernel_.rtnetlink.ListNeighbours();
  if (!neighbours.ok()) return false;
  ObservedRoutes now = host_.routes;
  now.neighbours = *std::move(neighbours);
  HostFacts facts = facts_;
  FindArrivalWays(model.settings(), now, facts);
  return facts.arrivals != facts_.arrivals;
}

void Dataplane::LookAtUnderlay(const EdgeModel& model) {
  std::erase_if(facts_.uplink_mtus, [&model](const auto& entry) {
    return !model.uplinks().contains(entry.first);
  });
  std::vector<RouteToPeer> peers;
  for (const auto& [name, uplink] : model.uplinks()) {
    const auto known = endpoints_.find(uplink.key);
    if (known == endpoints_.end()) continue;
    const IpAddress& address = known->second.address;
    const auto route = kernel_.rtnetlink.RouteTo(address);
    if (route.ok()) peers.push_back({address, *route});
  }
  JudgeUnderlay(model.settings(), peers, host_.routes, facts_);
}

bool Dataplane::TakeUplinkMtu(const std::string& uplink, uint32_t mtu) {
  uint32_t& told = facts_.uplink_mtus[uplink];
  return std::exchange(told, mtu) != mtu;
}

absl::StatusOr<std::string> Dataplane::ReconcileTable(const EdgeModel& model) {
  ASSIGN_OR_RETURN(const nftables::Listing listing, kernel_.nft.List(kTable));
  if (!marks_known_) {
    ASSIGN_OR_RETURN(marks_, GroupMarks::TakeOver(listing, model));
    marks_known_ = true;
    // Beside those of the state file: somebody may have deleted the table while
    // no edged ran.
    const auto& links = host_.routes.links;
    auto switched = SwitchedInterfacesOf(listing, Family::kIpv4);
    switched.merge(facts_.switched_interfaces);
    facts_.switched_interfaces = SwitchedInterfaces(facts_, links, switched);
    auto switched6 = SwitchedInterfacesOf(listing, Family::kIpv6);
    switched6.merge(facts_.ipv6.switched_interfaces);
    facts_.ipv6.switched_interfaces =
        SwitchedInterfaces6(facts_, links, switched6);
  }
  const nftables::Transaction change =
      nftables::Diff(listing, CompileTable(model, marks_, facts_));
  if (change.empty()) return "";
  RETURN_IF_ERROR(kernel_.nft.Apply(change));
  return Summary(change);
}

absl::StatusOr<std::string> Dataplane::RepairTable(const EdgeModel& model,
                                                   const TableDamage& damage) {
  const auto repair = PlanPartialRepair(model, marks_, facts_, damage);
  if (!repair) return ReconcileTable(model);
  std::vector<std::vector<nftables::Element>> found;
  for (const DamagedElements& part : repair->elements) {
    ASSIGN_OR_RETURN(found.emplace_back(),
                     kernel_.nft.GetElements(kTable, part.set, part.keys));
  }
  const nftables::Transaction change = CompileRepair(*repair, found);
  if (change.empty()) return "";
  RETURN_IF_ERROR(kernel_.nft.Apply(change));
  return Summary(change);
}

absl::StatusOr<std::string> Dataplane::RepairNetwork(
    const EdgeModel& model, const Endpoints& endpoints) {
  const auto before = TableFacts(facts_);
  endpoints_ = endpoints;
  RETURN_IF_ERROR(kernel_.wireguard.Ensure(facts_.device));
  RETURN_IF_ERROR(ObserveHost(model));
  std::string written;
  if (TableFacts(facts_) != before) {
    ASSIGN_OR_RETURN(written, ReconcileTable(model));
  }
  ASSIGN_OR_RETURN(const std::string tunnel, ReconcileTunnel(model, endpoints));
  AddLine(tunnel, written);
  return written;
}

bool Dataplane::Concerns(const EdgeModel& model,
                         const netlink::RouteEvent& event) const {
  return ConcernsEdge(event, model.settings(), facts_, host_.routes);
}

absl::Status Dataplane::ApplyDelta(const EdgeModel& before,
                                   const protocol::EdgeDelta& accepted) {
  if (!marks_.HasRoomFor(accepted))
    return ApplyWithFreedMarks(before, accepted);
  RETURN_IF_ERROR(marks_.Reserve(accepted));
  if (NeedsWholeTable(before, accepted)) {
    RETURN_IF_ERROR(ApplyWhole(before, accepted));
  } else {
    const nftables::Transaction change =
        CompileDelta(before, marks_, facts_, accepted);
    if (!change.empty()) RETURN_IF_ERROR(kernel_.nft.Apply(change));
  }
  RETURN_IF_ERROR(Mapped().Check(accepted));
  marks_.Release(accepted);
  return absl::OkStatus();
}

absl::Status Dataplane::ApplyWhole(const EdgeModel& before,
                                   const protocol::EdgeDelta& accepted) {
  EdgeModel after = before;
  after.Commit(accepted);
  RETURN_IF_ERROR(ObserveHost(after));
  return ReconcileTable(after).status();
}

// Groups come in the place of others, whose marks they need in the same batch.
absl::Status Dataplane::ApplyWithFreedMarks(
    const EdgeModel& before, const protocol::EdgeDelta& accepted) {
  const GroupMarks kept = marks_;
  marks_.Release(accepted);
  absl::Status status = marks_.Reserve(accepted);
  if (status.ok()) status = ApplyWhole(before, accepted);
  if (!status.ok()) {
    marks_ = kept;
    return status;
  }
  return Mapped().Check(accepted);
}

absl::Status Dataplane::WriteKey() {
  wireguard::DeviceChange change;
  change.private_key = identity_.key;
  return kernel_.wireguard.Apply(facts_.device, change);
}

absl::StatusOr<std::string> Dataplane::RepairTunnel(
    const EdgeModel& model, const Endpoints& endpoints,
    const wireguard::Device& observed) {
  const wireguard::DeviceChange change = wireguard::Diff(
      observed, WantedDevice(identity_, model, facts_, endpoints));
  if (change.empty()) return "";
  RETURN_IF_ERROR(Annotate(kernel_.wireguard.Apply(facts_.device, change),
                           "device " + facts_.device));
  return OneLine(change.ToString());
}

absl::Status Dataplane::RenewSilentPeers(const EdgeModel& model,
                                         const Endpoints& endpoints) {
  ASSIGN_OR_RETURN(const wireguard::Device observed, Tunnel());
  const wireguard::DeviceChange change = SilentPeersAnew(
      observed, WantedDevice(identity_, model, facts_, endpoints));
  if (change.empty()) return absl::OkStatus();
  return Annotate(kernel_.wireguard.Apply(facts_.device, change),
                  "device " + facts_.device);
}

absl::StatusOr<std::string> Dataplane::ReconcileTunnel(
    const EdgeModel& model, const Endpoints& endpoints) {
  RETURN_IF_ERROR(kernel_.wireguard.Ensure(facts_.device));
  ASSIGN_OR_RETURN(const wireguard::Device observed,
                   kernel_.wireguard.Get(facts_.device));
  ASSIGN_OR_RETURN(std::string written,
                   RepairTunnel(model, endpoints, observed));
  ASSIGN_OR_RETURN(host_, Observe(kernel_.rtnetlink));
  RETURN_IF_ERROR(ObserveNeighbours());
  ASSIGN_OR_RETURN(const RouteChange routes,
                   PlanRoutes(model, facts_, host_.routes));
  const Applied applied = Apply(kernel_.rtnetlink, routes);
  RETURN_IF_ERROR(applied.status);
  facts_.ways_trouble = std::string(Message(applied.ways));
  LookForAstray(model);
  if (routes.empty()) return written;
  for (const ConfChange& change : routes.confs) {
    std::ranges::find(host_.routes.links, change.link, &netlink::Link::index)
        ->ipv4 = change.conf;
  }
  for (const Ipv6ConfChange& change : routes.ipv6_confs) {
    std::ranges::find(host_.routes.links, change.interface,
                      &netlink::Link::name)
        ->ipv6.force_forwarding = change.force_forwarding;
  }
  AddLine(OneLine(routes.ToString(facts_.device)), written);
  return written;
}

void Dataplane::LookForAstray(const EdgeModel& model) {
  astray_.clear();
  const int device = device_index();
  for (const auto& [name, uplink] : model.uplinks()) {
    for (const Family family : facts_.families()) {
      const IpAddress address =
          facts_.OverlayOf(family)->UplinkAddress(uplink.block);
      const auto route = kernel_.rtnetlink.Match({.destination = address});
      if (route.ok() ? route->link == device
                     : !absl::IsNotFound(route.status())) {
        continue;
      }
      astray_[{name, family}] =
          route.ok() ? fmt::format("somebody's route {} of table {} takes them",
                                   route->destination.ToString(), route->table)
                     : std::string(Message(route.status()));
    }
  }
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
    const EdgeModel& model, const std::set<std::string>& long_dead,
    const FlowSearch& search) {
  const StaleFlows stale(model, facts_, long_dead);
  std::vector<netlink::Flow> found;
  const auto judge = [&stale, &found](const netlink::Flow& flow) {
    if (stale.IsStale(flow)) found.push_back(flow);
  };
  if (const auto filters = search.Filters(model, facts_)) {
    for (const netlink::FlowFilter& filter : *filters) {
      RETURN_IF_ERROR(kernel_.conntrack.ForEachFlow(filter, judge));
    }
  } else {
    for (const Family family : facts_.families()) {
      RETURN_IF_ERROR(kernel_.conntrack.ForEachFlow(family, judge));
    }
  }
  return kernel_.conntrack.Delete(found);
}

absl::StatusOr<protocol::Digest> Dataplane::Audit(const EdgeModel& model) {
  ASSIGN_OR_RETURN(const protocol::Digest digest, Mapped().Digest(model));
  if (digest == ProgrammedDigest(model)) return digest;
  return Mapped().Digest(model);
}

bool Dataplane::HasWayTo(const IpAddress& address) const {
  return kernel_.rtnetlink.RouteTo(address).ok();
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
  std::set<std::string> switched6 = facts_.ipv6.switched_interfaces;
  if (listing.ok()) {
    switched.merge(SwitchedInterfacesOf(*listing, Family::kIpv4));
    switched6.merge(SwitchedInterfacesOf(*listing, Family::kIpv6));
  }
  if (host.ok()) {
    for (const netlink::Link& link : host->routes.links) {
      if (switched6.contains(link.name) &&
          link.ipv6.force_forwarding.value_or(false)) {
        note(netlink::SwitchIpv6Forwarding(link.name, false));
      }
      if (!switched.contains(link.name)) continue;
      netlink::Ipv4Conf conf = link.ipv4;
      conf.forwarding = false;
      note(kernel_.rtnetlink.SetIpv4Conf(link.index, conf));
    }
    note(Apply(kernel_.rtnetlink, RemovalOfWays(host->routes)).ways);
  }
  if (listing.ok() && listing->exists) {
    nftables::Transaction removal(kTable);
    removal.Add(nftables::DeleteTable{});
    note(kernel_.nft.Apply(removal));
  }
  return first;
}

}  // namespace edged::edge
