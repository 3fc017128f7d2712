#include "edged/trace.h"

#include <sys/epoll.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/event_loop.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/any_table_reader.h"
#include "common/nftables/trace.h"
#include "common/nftables/transaction.h"
#include "common/status.h"
#include "edged/core/nft_names.h"
#include "edged/core/trace_story.h"
#include "edged/core/trace_table.h"
#include "edged/service/local_facts.h"
#include "edged/system/way_questions.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Lines = std::vector<std::string>;

// A busy port would fill the terminal and keep the kernel telling.
constexpr size_t kMostPackets = 1'000;
constexpr milliseconds kTick{100};

// The uplinks by their addresses for the target; empty without our table.
absl::StatusOr<std::map<IpAddress, std::string>> UplinksOf(
    nftables::Client& client, const TraceTarget& target,
    const DoctorFacts& facts) {
  std::map<IpAddress, std::string> uplinks;
  const absl::Status status = client.ForEachElement(
      kTable, BackSet(target.nic_address.family()),
      [&](const nftables::Element& element) {
        const size_t size = target.nic_address.bytes().size();
        if (element.key.size() != size || element.data.size() != size) return;
        if (IpAddress::FromBytes(element.data) != target.nic_address) return;
        const auto mapping = IpAddress::FromBytes(element.key);
        uplinks.emplace(mapping, UplinkName(mapping, facts));
      });
  if (!status.ok() && !absl::IsNotFound(status)) return status;
  return uplinks;
}

absl::Status LookAtNetwork(TraceScene& scene) {
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(const auto links, rtnetlink.ListLinks());
  const bool is_ipv4 = scene.target.nic_address.is_ipv4();
  ASSIGN_OR_RETURN(const bool all_ipv6,
                   rtnetlink.ForwardingEverywhere(Family::kIpv6));
  for (const netlink::Link& link : links) {
    const bool forwards =
        is_ipv4 ? link.ipv4.forwarding
                : all_ipv6 || link.ipv6.force_forwarding.value_or(false);
    scene.interfaces[static_cast<uint32_t>(link.index)] = {link.name, forwards,
                                                           link.loopback};
  }
  ASSIGN_OR_RETURN(const auto addresses, rtnetlink.ListAddresses());
  scene.address_is_local =
      std::ranges::find(addresses, scene.target.nic_address,
                        &netlink::Address::address) != addresses.end();
  return absl::OkStatus();
}

std::optional<OtherWay> OtherWayOf(netlink::Rtnetlink& rtnetlink,
                                   RoutingMemory& routing,
                                   const DoctorFacts& facts,
                                   const nftables::TracedPacket& arrived,
                                   const IpAddress& mapping) {
  const auto recalled = routing.Recall();
  if (!recalled.ok()) return std::nullopt;
  const HostRouting& host = **recalled;
  const auto in = std::ranges::find(host.links, static_cast<int>(arrived.in),
                                    &netlink::Link::index);
  const AskedWay way =
      AskWay(rtnetlink, host, mapping, in == host.links.end() ? "" : in->name,
             arrived.source);
  return FindOtherWay(
      way, host, facts.device,
      mapping.is_ipv4() ? facts.enrolment.network : facts.enrolment.network6);
}

// The table for as long as this lives.
class OwnTable {
 public:
  static absl::StatusOr<std::unique_ptr<OwnTable>> Make(
      nftables::Client& client, const nftables::Table& table) {
    RETURN_IF_ERROR(RemoveTraceTable(client));
    nftables::Transaction transaction(table.name);
    transaction.Add(nftables::AddTable{.owned = true});
    for (const nftables::Chain& chain : table.chains) {
      transaction.AddChainWithRules(chain);
    }
    RETURN_IF_ERROR(client.Apply(transaction));
    return std::unique_ptr<OwnTable>(new OwnTable(client));
  }
  ~OwnTable() { (void)RemoveTraceTable(client_); }

 private:
  explicit OwnTable(nftables::Client& client) : client_(client) {}

  nftables::Client& client_;
};

// Hands events to the story until it is complete.
class Follower {
 public:
  Follower(EventLoop& loop, nftables::TraceEvents& events, TraceStory& story,
           const TraceOptions& options,
           const std::function<void(const std::string&)>& say)
      : loop_(loop),
        events_(events),
        story_(story),
        options_(options),
        say_(say) {}

  absl::Status Run() {
    for (const int signal : {SIGINT, SIGTERM}) {
      RETURN_IF_ERROR(loop_.OnSignal(signal, [this] { loop_.Stop(); }));
    }
    RETURN_IF_ERROR(
        loop_.Watch(events_.fd(), EPOLLIN, [this](uint32_t) { Read(); }));
    loop_.Every(kTick, [this] {
      Say(story_.Wait(Now()));
      StopWhenDone();
    });
    loop_.After(options_.patience, [this] { loop_.Stop(); });
    loop_.Run();
    Read();
    Say(story_.Finish(Now(), lost_));
    return status_;
  }

 private:
  TraceStory::Time Now() const {
    return std::chrono::duration_cast<TraceStory::Time>(Clock::now() - begin_);
  }
  void Say(const Lines& lines) {
    for (const std::string& line : lines) say_(line);
  }
  void Read() {
    const absl::Status status =
        events_.Read([this](const nftables::TraceEvent& event) {
          Say(story_.Take(event, Now()));
        });
    if (absl::IsUnavailable(status)) {
      lost_ = true;
    } else if (!status.ok()) {
      status_ = status;
      loop_.Stop();
    }
    StopWhenDone();
  }
  void StopWhenDone() {
    if (story_.complete() || story_.packets() >= kMostPackets) loop_.Stop();
  }

  EventLoop& loop_;
  nftables::TraceEvents& events_;
  TraceStory& story_;
  const TraceOptions& options_;
  const std::function<void(const std::string&)>& say_;
  const Clock::time_point begin_ = Clock::now();
  bool lost_ = false;
  absl::Status status_;
};

// Where packets for the address that clients know arrive.
void ResolveNicAddress(const DoctorFacts& facts, TraceTarget& target) {
  for (const PublicAddressFacts& address : facts.addresses) {
    if (address.address == target.public_address && address.nic_address) {
      target.nic_address = *address.nic_address;
    }
  }
}

}  // namespace

absl::Status RemoveTraceTable(nftables::Client& client) {
  nftables::Transaction removal(kTraceTable);
  removal.Add(nftables::DeleteTable{});
  const absl::Status status = client.Apply(removal);
  if (absl::IsNotFound(status)) return absl::OkStatus();
  if (absl::IsPermissionDenied(status)) {
    return FailedPrecondition("table inet {} belongs to a trace that runs",
                              kTraceTable);
  }
  return status;
}

absl::StatusOr<bool> Trace(const TraceOptions& options,
                           const std::function<void(const std::string&)>& say) {
  ASSIGN_OR_RETURN(TraceTarget target, ParseTraceTarget(options.target));
  DoctorFacts facts;
  AskEdged(options.socket, facts);
  ResolveNicAddress(facts, target);
  ASSIGN_OR_RETURN(const auto client, nftables::Client::Open());
  TraceScene scene{.target = target, .device = facts.device};
  ASSIGN_OR_RETURN(scene.uplinks, UplinksOf(*client, target, facts));
  RETURN_IF_ERROR(LookAtNetwork(scene));
  std::vector<IpAddress> mapping_addresses;
  for (const auto& [address, name] : scene.uplinks) {
    mapping_addresses.push_back(address);
  }
  ASSIGN_OR_RETURN(auto loop, EventLoop::Create());
  ASSIGN_OR_RETURN(auto events, nftables::TraceEvents::Open());
  ASSIGN_OR_RETURN(const auto table,
                   OwnTable::Make(*client, TraceTableFor(target, facts.device,
                                                         mapping_addresses)));
  ASSIGN_OR_RETURN(
      scene.tables,
      nftables::ReadAllTables([](const nftables::AnyTable&) { return false; }));
  say(fmt::format("following {}{} for {} s or {} connections; make one now",
                  ToString(target),
                  target.nic_address == target.public_address
                      ? ""
                      : fmt::format(", here {}", target.nic_address.ToString()),
                  options.patience.count(), options.flows));
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(auto routing, RoutingMemory::Open([&rtnetlink] {
                     return ObserveRouting(rtnetlink);
                   }));
  scene.other_way = [&](const nftables::TracedPacket& arrived,
                        const IpAddress& mapping) {
    return OtherWayOf(rtnetlink, routing, facts, arrived, mapping);
  };
  TraceStory story(std::move(scene), options.flows);
  RETURN_IF_ERROR(Follower(*loop, events, story, options, say).Run());
  return story.all_answered();
}

}  // namespace edged::edge
