#include "edged/core/nft_names.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

namespace edged::edge {
namespace {

using nftables::Field;
using nftables::Set;
using nftables::Type;

constexpr std::string_view kGroupPrefix = "group-";

constexpr FamilyNames kIpv4Names{
    .family = Family::kIpv4,
    .address_type = Type::kIpv4Addr,
    .source = Field::kIpSaddr,
    .destination = Field::kIpDaddr,
    .ports = "ports4",
    .ranges = "ranges4",
    .back = "back4",
    .switched = "switched",
    .nfproto = NFPROTO_IPV4,
    .icmp_type = Field::kIcmpType,
    .echo_request = 8,
};
constexpr FamilyNames kIpv6Names{
    .family = Family::kIpv6,
    .address_type = Type::kIpv6Addr,
    .source = Field::kIp6Saddr,
    .destination = Field::kIp6Daddr,
    .ports = "ports6",
    .ranges = "ranges6",
    .back = "back6",
    .switched = "switched6",
    .nfproto = NFPROTO_IPV6,
    .icmp_type = Field::kIcmpv6Type,
    .echo_request = 128,
};

}  // namespace

const FamilyNames& NamesOf(Family family) {
  return family == Family::kIpv4 ? kIpv4Names : kIpv6Names;
}

Set PortsSet(Family family) {
  const FamilyNames& names = NamesOf(family);
  return {.name = names.ports,
          .key = {names.address_type, Type::kInetProto, Type::kInetService},
          .data = {Type::kMark},
          .counter = true};
}

Set RangesSet(Family family) {
  Set set = PortsSet(family);
  set.name = NamesOf(family).ranges;
  set.interval = true;
  return set;
}

Set BackSet(Family family) {
  const FamilyNames& names = NamesOf(family);
  return {.name = names.back,
          .key = {names.address_type},
          .data = {names.address_type}};
}

Set CallersSet() { return {.name = "callers4", .key = {Type::kIpv4Addr}}; }

Set GroupsSet() {
  return {.name = "groups", .key = {Type::kMark}, .data = {Type::kVerdict}};
}

Set ClientsSet() {
  return {.name = "clients", .key = {Type::kMark}, .data = {Type::kVerdict}};
}

Set ReservedSet() {
  return {.name = "reserved", .key = {Type::kInetProto, Type::kInetService}};
}

Set ServicesSet() {
  return {.name = "services", .key = {Type::kInetProto, Type::kInetService}};
}

Set SwitchedSet(Family family) {
  return {.name = NamesOf(family).switched, .key = {Type::kIfname}};
}

std::string GroupChainName(std::string_view group) {
  return fmt::format("{}{}", kGroupPrefix, group);
}

std::string_view GroupOfChain(std::string_view chain) {
  return chain.starts_with(kGroupPrefix) ? chain.substr(kGroupPrefix.size())
                                         : std::string_view();
}

std::string ClientsChainName(std::string_view group) {
  return fmt::format("clients-{}", group);
}

Set AllowSet(const protocol::Group& group) {
  return {.name = fmt::format("allow-{}", group.name),
          .key = {NamesOf(group.public_address.family()).address_type},
          .interval = true};
}

Set DenySet(const protocol::Group& group) {
  Set set = AllowSet(group);
  set.name = fmt::format("deny-{}", group.name);
  return set;
}

}  // namespace edged::edge
