#include "edged/core/trace_story.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>

#include "common/nftables/program_text.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::AnyRule;
using nftables::TracedPacket;
using nftables::TraceEvent;
using nftables::TraceStep;
using nftables::TraceVerdict;
using Lines = std::vector<std::string>;

constexpr uint8_t kTcpReset = 4;
constexpr uint8_t kIcmp = 1, kIcmpv6 = 58;
// A packet that no rule has told of for so long is not on its way any more.
constexpr TraceStory::Time kGone{500};
// An answer that takes longer counts as none.
constexpr TraceStory::Time kPatience{3'000};

SocketAddress SourceOf(const TracedPacket& packet) {
  return {packet.source, packet.source_port};
}

bool IsOurTrace(const TraceEvent& event) {
  return event.family == NFPROTO_INET && event.table == kTraceTable;
}

}  // namespace

// ---- which packet, and which flow ----

std::string TraceStory::Name(const Flow& flow) const {
  return fmt::format("{} to {}", flow.client.ToString(),
                     ToString(scene_.target));
}

std::optional<size_t> TraceStory::FlowOf(const SocketAddress& client,
                                         bool may_begin, Time now) {
  const auto known = std::ranges::find(flows_, client, &Flow::client);
  if (known != flows_.end()) {
    return static_cast<size_t>(known - flows_.begin());
  }
  if (!may_begin || flows_.size() == most_flows_) return std::nullopt;
  flows_.push_back({.client = client, .began = now});
  return flows_.size() - 1;
}

// A packet that our first chain tells of; null when it is of no flow here.
TraceStory::Packet* TraceStory::Begin(const TraceEvent& event, Time now) {
  const TracedPacket& seen = *event.packet;
  const bool arrives = event.chain == "prerouting" || event.chain == "output";
  if (!IsOurTrace(event) || !arrives) return nullptr;
  Packet packet{.first = seen, .last = seen, .seen = now};
  packet.icmp = seen.protocol == kIcmp || seen.protocol == kIcmpv6;
  const bool request = !packet.icmp &&
                       seen.destination == scene_.target.nic_address &&
                       seen.destination_port == scene_.target.port;
  packet.answer = !request;
  std::optional<size_t> flow;
  if (request) {
    flow = FlowOf(SourceOf(seen), true, now);
  } else if (packet.icmp) {
    // It does not tell of which port: the first one that waits.
    const auto waits = std::ranges::find_if(flows_, [&seen](const Flow& one) {
      return one.client.address == seen.destination && one.end == End::kNone;
    });
    if (waits != flows_.end()) flow = waits - flows_.begin();
  } else {
    flow = FlowOf({seen.destination, seen.destination_port}, false, now);
  }
  packets_.erase(event.id);
  if (!flow) return nullptr;
  packet.flow = *flow;
  ++packet_count_;
  return &packets_.emplace(event.id, std::move(packet)).first->second;
}

void TraceStory::Follow(Packet& packet, const TraceEvent& event, Time now) {
  packet.seen = now;
  if (event.packet) packet.last = *event.packet;
  const std::string hook = scene_.HookOf(event);
  if (!hook.empty()) packet.hook = hook;
  const bool ours = event.family == NFPROTO_INET && event.table == kTable;
  if (!ours) {
    // Whoever translates first decides; before routing that is the destination.
    const bool early = packet.hook == "prerouting" || packet.hook == "output";
    if (early && packet.taker.empty() && packet.group.empty()) {
      packet.taker = scene_.TakerOf(event);
    }
    return;
  }
  const std::string_view group = GroupOfChain(event.chain);
  if (!group.empty()) packet.group = group;
  const bool translates = event.chain == "translate";
  packet.judged |=
      translates || event.chain == "prerouting" || event.chain == "output";
  packet.reserved |= translates && event.step == TraceStep::kRule &&
                     event.verdict == TraceVerdict::kAccept;
}

bool TraceStory::IsAtEnd(const TraceEvent& event) const {
  return IsOurTrace(event) && event.step == TraceStep::kPolicy &&
         (event.chain == "input" || event.chain == "postrouting");
}

Lines TraceStory::Take(const TraceEvent& event, Time now) {
  auto found = packets_.find(event.id);
  const bool begins = event.packet && IsOurTrace(event) &&
                      (event.chain == "prerouting" || event.chain == "output");
  Packet* packet = nullptr;
  if (begins) {
    packet = Begin(event, now);
  } else if (found != packets_.end()) {
    packet = &found->second;
  }
  if (packet == nullptr) return {};
  Follow(*packet, event, now);
  const bool dropped = event.verdict == TraceVerdict::kDrop;
  if (!dropped && !IsAtEnd(event)) return {};
  const Packet done = *packet;
  packets_.erase(event.id);
  return dropped ? Dropped(done, event) : Passed(done, now);
}

// ---- what became of it ----

// From its arrival to where it went; each flow is told once.
Lines TraceStory::WayOf(const Packet& packet) {
  Flow& flow = flows_[packet.flow];
  Lines lines;
  if (std::exchange(flow.told, true)) {
    lines.push_back(Name(flow) + ", a later packet");
  } else {
    lines.push_back(Name(flow));
  }
  lines.push_back(packet.first.in == 0
                      ? "  made on this host"
                      : fmt::format("  arrived on {}",
                                    scene_.InterfaceName(packet.first.in)));
  const SocketAddress to{packet.last.destination, packet.last.destination_port};
  if (!packet.taker.empty()) {
    lines.push_back(fmt::format("  taken: sent to {}", to.ToString()));
    lines.insert(lines.end(), packet.taker.begin(), packet.taker.end());
    return lines;
  }
  if (packet.last.destination == packet.first.destination) return lines;
  const auto uplink = scene_.uplinks.find(packet.last.destination);
  const bool known = uplink != scene_.uplinks.end();
  flow.uplink = known ? uplink->second : to.ToString();
  lines.push_back(fmt::format(
      "  translated to {}{}{}", to.ToString(),
      known ? fmt::format(", uplink {}", uplink->second) : "",
      !packet.group.empty() ? fmt::format(", by group {}", packet.group)
      : known               ? " (as its connection's first packet)"
              : " (as its connection's first packet; no address of edged's)"));
  return lines;
}

// Empty when this host's routing is not to blame.
Lines TraceStory::Elsewhere(const Packet& packet) const {
  if (packet.answer || !scene_.other_way) return {};
  const bool into_tunnel =
      packet.last.out != 0 &&
      scene_.InterfaceName(packet.last.out) == scene_.device;
  if (into_tunnel) return {};
  // What vanishes right after its translation never told its new destination.
  const bool hidden = packet.last.destination == packet.first.destination &&
                      !packet.group.empty();
  std::optional<OtherWay> other;
  for (const auto& [mapping, name] : scene_.uplinks) {
    if (other || !(hidden || mapping == packet.last.destination)) continue;
    other = scene_.other_way(packet.first, mapping);
  }
  if (!other) return {};
  Lines lines{
      fmt::format("  led away from {} by {}", scene_.device, other->what)};
  for (const std::string& line : other->mend) lines.push_back("  $ " + line);
  return lines;
}

std::string TraceStory::WhyNotTranslated(const Packet& packet) const {
  const std::string target = ToString(scene_.target);
  if (packet.reserved) {
    return target + " is reserved, by edged.yaml or for the tunnel";
  }
  if (packet.judged) return target + " is not mapped here";
  return "it belongs to a connection from before the mapping, or edged's table "
         "is not there";
}

Lines TraceStory::Dropped(const Packet& packet, const TraceEvent& event) {
  Flow& flow = flows_[packet.flow];
  // A drop that repeats for each try is told once.
  if (flow.end == End::kDropped || flow.end == End::kRefused) return {};
  Lines lines;
  if (packet.answer) {
    lines.push_back(
        fmt::format("{}: the answer came out of the tunnel", Name(flow)));
  } else {
    lines = WayOf(packet);
  }
  std::string rule = "by the policy";
  bool refuses = false;
  if (event.step == TraceStep::kRule) {
    rule = fmt::format("by a rule with handle {}", event.rule_handle);
    if (const AnyRule* each = scene_.RuleOf(event)) {
      refuses = nftables::Refuses(each->program);
      rule = fmt::format(
          "by `{}` (handle {})",
          nftables::ProgramText(each->program, *scene_.TableOf(event)),
          each->handle);
    }
  }
  flow.end = refuses ? End::kRefused : End::kDropped;
  lines.push_back(fmt::format("  {} {} of {}", refuses ? "refused" : "dropped",
                              rule, scene_.PlaceOf(event)));
  // Where it was going is not what the rule is for.
  if (const Lines why = Elsewhere(packet);
      !why.empty() && packet.hook != "prerouting") {
    lines.insert(lines.end(), why.begin(), why.end());
    return lines;
  }
  if (!packet.group.empty() && event.table == kTable && refuses) {
    lines.push_back(fmt::format(
        "  that is how group {} says that none of its uplinks is alive",
        packet.group));
  }
  lines.push_back(fmt::format("  $ nft -a list chain {} {} {}",
                              nftables::FamilyName(event.family), event.table,
                              event.chain));
  return lines;
}

// It went through the rules of one hook and never came to the next.
Lines TraceStory::Vanished(const Packet& packet) {
  Flow& flow = flows_[packet.flow];
  if (flow.end != End::kNone) return {};
  Lines lines;
  if (packet.answer) {
    lines.push_back(
        fmt::format("{}: the answer came out of the tunnel", Name(flow)));
  } else {
    lines = WayOf(packet);
  }
  flow.end = End::kLost;
  const Lines elsewhere = Elsewhere(packet);
  if (!elsewhere.empty()) flow.end = End::kElsewhere;
  lines.push_back(
      fmt::format("  went no further after the rules of {}", packet.hook));
  if (packet.hook != "prerouting") {
    lines.push_back(
        "  no rule dropped it; it may be too big for the next interface");
    return lines;
  }
  if (!elsewhere.empty()) {
    lines.insert(lines.end(), elsewhere.begin(), elsewhere.end());
    return lines;
  }
  const Lines why = scene_.WhyNotRouted(packet.first.in);
  lines.insert(lines.end(), why.begin(), why.end());
  return lines;
}

// It came to the end of all rules.
Lines TraceStory::Passed(const Packet& packet, Time now) {
  Flow& flow = flows_[packet.flow];
  const std::string out = scene_.InterfaceName(packet.last.out);
  if (packet.answer) {
    if (flow.end != End::kNone) return {};
    const bool reset = (packet.last.tcp_flags & kTcpReset) != 0;
    flow.end = packet.icmp || reset ? End::kRefused : End::kAnswered;
    const std::string from =
        flow.uplink.empty() ? "" : fmt::format(" from {}", flow.uplink);
    const auto took = (now - flow.began).count();
    const std::string how = flow.end == End::kAnswered ? ""
                            : reset                    ? " as a TCP reset"
                                    : " as an ICMP error (unreachable)";
    Lines lines{fmt::format("{}: came back{}{} after {} ms, sent on by {}",
                            flow.client.ToString(), from, how, took, out)};
    if (flow.end == End::kAnswered) return lines;
    lines.push_back(
        "  nothing listens at the target, it has no ready endpoint, or a "
        "firewall there refuses");
    lines.push_back("  $ clusteragent status");
    return lines;
  }
  if (flow.told) return {};  // the first packet told the way
  const auto interface = scene_.interfaces.find(packet.last.out);
  const bool comes_in_again =
      interface != scene_.interfaces.end() && interface->second.loopback;
  if (comes_in_again) return {};
  Lines lines = WayOf(packet);
  const bool untouched = packet.last.destination == packet.first.destination &&
                         packet.taker.empty();
  if (packet.hook == "input" && untouched) {
    flow.end = End::kLocal;
    lines.push_back("  not translated: " + WhyNotTranslated(packet));
    lines.push_back("  given to this host's own programs");
    lines.push_back("  $ edged status");
    return lines;
  }
  lines.push_back(
      packet.hook == "input" ? "  given to this host's own programs"
      : out == scene_.device
          ? fmt::format("  sent into the tunnel by {}", out)
          : fmt::format("  sent on by {}, not into the tunnel", out));
  const Lines elsewhere = Elsewhere(packet);
  lines.insert(lines.end(), elsewhere.begin(), elsewhere.end());
  if (!packet.taker.empty() || !elsewhere.empty()) flow.end = End::kElsewhere;
  return lines;
}

// ---- time ----

Lines TraceStory::Wait(Time now) {
  Lines lines;
  for (auto each = packets_.begin(); each != packets_.end();) {
    if (now - each->second.seen < kGone) {
      ++each;
      continue;
    }
    const Lines more = Vanished(each->second);
    lines.insert(lines.end(), more.begin(), more.end());
    each = packets_.erase(each);
  }
  for (Flow& flow : flows_) {
    if (flow.end != End::kNone || now - flow.began < kPatience) continue;
    flow.end = End::kLost;
    lines.push_back(fmt::format(
        "{}: nothing came back{} within {} s", Name(flow),
        flow.uplink.empty() ? "" : fmt::format(" from {}", flow.uplink),
        kPatience.count() / 1000));
    lines.push_back(
        "  look at the uplink and the target: their firewalls, or "
        "a target that does not answer");
    lines.push_back("  $ clusteragent status");
  }
  return lines;
}

bool TraceStory::complete() const {
  return flows_.size() == most_flows_ &&
         std::ranges::none_of(
             flows_, [](const Flow& flow) { return flow.end == End::kNone; });
}

bool TraceStory::all_answered() const {
  return !flows_.empty() && std::ranges::all_of(flows_, [](const Flow& flow) {
    return flow.end == End::kAnswered;
  });
}

Lines TraceStory::Finish(Time now, bool lost) {
  Lines lines = Wait(now);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(now).count();
  if (flows_.empty()) {
    lines.push_back(fmt::format("nothing arrived in {} s", seconds));
    lines.push_back(scene_.WhyNothingArrived());
    return lines;
  }
  const auto count = [this](End end) {
    return std::ranges::count(flows_, end, &Flow::end);
  };
  std::string text = fmt::format("{} connection{} in {} s:", flows_.size(),
                                 flows_.size() == 1 ? "" : "s", seconds);
  const char* separator = " ";
  for (const auto& [end, word] : {std::pair(End::kAnswered, "answered"),
                                  {End::kRefused, "refused"},
                                  {End::kDropped, "dropped"},
                                  {End::kLocal, "not translated"},
                                  {End::kElsewhere, "led elsewhere"},
                                  {End::kLost, "lost"},
                                  {End::kNone, "not answered yet"}}) {
    if (count(end) == 0) continue;
    text += fmt::format("{}{} {}", separator, count(end), word);
    separator = ", ";
  }
  lines.push_back(text);
  if (lost) {
    lines.push_back("  (there were more packets than the kernel could tell)");
  }
  return lines;
}

}  // namespace edged::edge
