#include "edged/core/trace_table.h"

#include <algorithm>

#include "common/status.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Chain;
using nftables::ChainType;
using nftables::Field;
using nftables::Hook;
using nftables::HookPoint;
using nftables::Match;
using nftables::MatchAnyOf;
using nftables::Rule;
using nftables::SetTrace;

// Before raw, which may drop, and after the last that anybody uses.
constexpr int kFirst = -350, kLast = 350;
constexpr uint8_t kUnreachable = 3, kUnreachable6 = 1;

Chain BaseChain(std::string name, HookPoint point, int priority,
                std::vector<Rule> rules) {
  return {.name = std::move(name),
          .hook = Hook{ChainType::kFilter, point, priority},
          .rules = std::move(rules)};
}

}  // namespace

absl::StatusOr<TraceTarget> ParseTraceTarget(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view protocol =
      slash == std::string_view::npos ? "tcp" : text.substr(slash + 1);
  if (protocol != "tcp" && protocol != "udp") {
    return InvalidArgument(
        "\"{}\" is not ADDRESS:PORT, ADDRESS:PORT/tcp or "
        "ADDRESS:PORT/udp",
        text);
  }
  ASSIGN_OR_RETURN(const SocketAddress address,
                   SocketAddress::Parse(text.substr(0, slash)));
  return TraceTarget{
      .public_address = address.address,
      .nic_address = address.address,
      .protocol = protocol == "tcp" ? Protocol::kTcp : Protocol::kUdp,
      .port = address.port};
}

std::string ToString(const TraceTarget& target) {
  return fmt::format("{} {}/{}", target.public_address.ToString(),
                     ToString(target.protocol), target.port);
}

nftables::Table TraceTableFor(const TraceTarget& target,
                              const std::string& device,
                              const std::vector<IpAddress>& mapping_addresses) {
  const FamilyNames& names = NamesOf(target.nic_address.family());
  const Match protocol{Field::kL4proto, nftables::ToBytes(target.protocol)};
  const Match from_tunnel{Field::kIifname, nftables::NameBytes(device)};
  const nftables::Bytes port = nftables::PortBytes(target.port);
  const Rule request{
      {Match{names.destination, nftables::ToBytes(target.nic_address)},
       protocol, Match{Field::kThDport, port}, SetTrace{}}};
  std::vector<Rule> arriving{request};
  MatchAnyOf sources{.field = names.source};
  for (const IpAddress& address : mapping_addresses) {
    sources.values.push_back(nftables::ToBytes(address));
  }
  std::ranges::sort(sources.values);
  if (!sources.values.empty()) {
    arriving.push_back({{from_tunnel, sources, protocol,
                         Match{Field::kThSport, port}, SetTrace{}}});
    const bool ipv4 = target.nic_address.is_ipv4();
    arriving.push_back(
        {{from_tunnel,
          Match{.field = ipv4 ? Field::kIcmpType : Field::kIcmpv6Type,
                .value = {ipv4 ? kUnreachable : kUnreachable6}},
          SetTrace{}}});
  }
  return {.name = kTraceTable,
          .chains = {
              BaseChain("prerouting", HookPoint::kPrerouting, kFirst,
                        std::move(arriving)),
              BaseChain("output", HookPoint::kOutput, kFirst, {request}),
              BaseChain("input", HookPoint::kInput, kLast, {}),
              BaseChain("postrouting", HookPoint::kPostrouting, kLast, {}),
          }};
}

}  // namespace edged::edge
