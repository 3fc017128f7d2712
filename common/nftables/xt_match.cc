#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_pkttype.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "common/nftables/program_codec.h"

namespace edged::nftables {
namespace {

constexpr uint32_t kSportOffset = 0, kDportOffset = 2, kTcpFlagsOffset = 13;
// nft's bits of `ct state` are the same as iptables'.
constexpr uint32_t kStates =
    kCtInvalid | kCtEstablished | kCtRelated | kCtNew | kCtUntracked;

// The kernel's structure, or nothing when `info` is too short for it.
template <typename Info>
std::optional<Info> InfoAs(std::span<const uint8_t> info) {
  Info copy;
  if (info.size() < sizeof copy) return std::nullopt;
  std::memcpy(&copy, info.data(), sizeof copy);
  return copy;
}

// Any of `bits` is set in a value that was loaded to word 0.
void AddBitTest(uint32_t bits, bool negate, Program& program) {
  program.push_back(MaskBits{.mask = MarkBytes(bits), .flip = MarkBytes(0)});
  program.push_back(Compare{negate ? Comparison::kEqual : Comparison::kNotEqual,
                            MarkBytes(0)});
}

std::optional<Program> TestState(uint32_t states, bool negate) {
  if (states == 0 || (states & ~kStates) != 0) return std::nullopt;
  Program program{LoadCt{.key = NFT_CT_STATE}};
  AddBitTest(states, negate, program);
  return program;
}

std::optional<Program> OfConntrack(std::span<const uint8_t> bytes) {
  const auto info = InfoAs<xt_conntrack_mtinfo2>(bytes);
  if (!info) return std::nullopt;
  const uint32_t flags = info->match_flags;
  const auto inverts = [&](uint32_t flag) {
    return (info->invert_flags & flag) != 0;
  };
  constexpr uint32_t kKnown =
      XT_CONNTRACK_STATE | XT_CONNTRACK_STATUS | XT_CONNTRACK_STATE_ALIAS;
  if ((flags & ~kKnown) != 0) return std::nullopt;
  Program program;
  if ((flags & XT_CONNTRACK_STATE) != 0) {
    const bool negate = inverts(XT_CONNTRACK_STATE);
    if (info->state_mask == XT_CONNTRACK_STATE_DNAT ||
        info->state_mask == XT_CONNTRACK_STATE_SNAT) {
      program.push_back(LoadCt{.key = NFT_CT_STATUS});
      AddBitTest(info->state_mask == XT_CONNTRACK_STATE_DNAT ? kCtStatusDnat
                                                             : kCtStatusSnat,
                 negate, program);
    } else {
      auto states = TestState(info->state_mask, negate);
      if (!states) return std::nullopt;
      program = *std::move(states);
    }
  }
  if ((flags & XT_CONNTRACK_STATUS) != 0) {
    program.push_back(LoadCt{.key = NFT_CT_STATUS});
    AddBitTest(info->status_mask, inverts(XT_CONNTRACK_STATUS), program);
  }
  return program;
}

void AddPortTest(uint32_t offset,
                 std::vector<std::pair<uint16_t, uint16_t>> ports, bool negate,
                 Program& program) {
  const bool all =
      ports.size() == 1 && ports[0].first == 0 && ports[0].second == 65535;
  if (all && !negate) return;
  CompareRanges compare{.negate = negate};
  for (const auto& [first, last] : ports) {
    compare.ranges.emplace_back(PortBytes(first), PortBytes(last));
  }
  program.push_back(LoadPayload{Header::kTransport, offset, 2, 0});
  program.push_back(std::move(compare));
}

std::optional<Program> OfTcp(std::span<const uint8_t> bytes) {
  const auto info = InfoAs<xt_tcp>(bytes);
  if (!info || info->option != 0) return std::nullopt;
  Program program;
  AddPortTest(kSportOffset, {{info->spts[0], info->spts[1]}},
              (info->invflags & XT_TCP_INV_SRCPT) != 0, program);
  AddPortTest(kDportOffset, {{info->dpts[0], info->dpts[1]}},
              (info->invflags & XT_TCP_INV_DSTPT) != 0, program);
  if (info->flg_mask != 0) {
    program.push_back(LoadPayload{Header::kTransport, kTcpFlagsOffset, 1, 0});
    program.push_back(MaskBits{.mask = {info->flg_mask}, .flip = {0}});
    program.push_back(Compare{(info->invflags & XT_TCP_INV_FLAGS) != 0
                                  ? Comparison::kNotEqual
                                  : Comparison::kEqual,
                              {info->flg_cmp}});
  }
  return program;
}

std::optional<Program> OfUdp(std::span<const uint8_t> bytes) {
  const auto info = InfoAs<xt_udp>(bytes);
  if (!info) return std::nullopt;
  Program program;
  AddPortTest(kSportOffset, {{info->spts[0], info->spts[1]}},
              (info->invflags & XT_UDP_INV_SRCPT) != 0, program);
  AddPortTest(kDportOffset, {{info->dpts[0], info->dpts[1]}},
              (info->invflags & XT_UDP_INV_DSTPT) != 0, program);
  return program;
}

std::optional<Program> OfMultiport(std::span<const uint8_t> bytes) {
  const auto info = InfoAs<xt_multiport_v1>(bytes);
  if (!info || info->flags == XT_MULTIPORT_EITHER) return std::nullopt;
  std::vector<std::pair<uint16_t, uint16_t>> ports;
  const int count = std::min<int>(info->count, XT_MULTI_PORTS);
  for (int i = 0; i < count; ++i) {
    const uint16_t first = info->ports[i];
    const bool range = info->pflags[i] != 0 && i + 1 < count;
    ports.emplace_back(first, range ? info->ports[++i] : first);
  }
  if (ports.empty()) return std::nullopt;
  Program program;
  AddPortTest(info->flags == XT_MULTIPORT_SOURCE ? kSportOffset : kDportOffset,
              std::move(ports), info->invert != 0, program);
  return program;
}

// `types` has a bit for each RTN_*.
void AddTypeTest(uint32_t flag, uint16_t types, bool negate, Program& program) {
  if (types == 0) return;
  CompareRanges compare{.negate = negate};
  for (uint32_t type = 0; type < 16; ++type) {
    if ((types >> type & 1) == 0) continue;
    compare.ranges.emplace_back(MarkBytes(type), MarkBytes(type));
  }
  program.push_back(LoadFib{NFT_FIB_RESULT_ADDRTYPE, flag, 0});
  program.push_back(std::move(compare));
}

std::optional<Program> OfAddrtype(uint32_t revision,
                                  std::span<const uint8_t> bytes) {
  if (revision == 0) return std::nullopt;
  const auto info = InfoAs<xt_addrtype_info_v1>(bytes);
  constexpr uint32_t kKnown =
      XT_ADDRTYPE_INVERT_SOURCE | XT_ADDRTYPE_INVERT_DEST;
  if (!info || (info->flags & ~kKnown) != 0) return std::nullopt;
  Program program;
  AddTypeTest(NFTA_FIB_F_SADDR, info->source,
              (info->flags & XT_ADDRTYPE_INVERT_SOURCE) != 0, program);
  AddTypeTest(NFTA_FIB_F_DADDR, info->dest,
              (info->flags & XT_ADDRTYPE_INVERT_DEST) != 0, program);
  return program;
}

std::optional<Program> OfMark(std::span<const uint8_t> bytes) {
  const auto info = InfoAs<xt_mark_mtinfo1>(bytes);
  if (!info) return std::nullopt;
  return Program{
      LoadMeta{NFT_META_MARK, 0},
      MaskBits{.mask = MarkBytes(info->mask), .flip = MarkBytes(0)},
      Compare{info->invert != 0 ? Comparison::kNotEqual : Comparison::kEqual,
              MarkBytes(info->mark)}};
}

std::optional<Program> OfPkttype(std::span<const uint8_t> bytes) {
  const auto info = InfoAs<xt_pkttype_info>(bytes);
  if (!info) return std::nullopt;
  return Program{
      LoadMeta{NFT_META_PKTTYPE, 0},
      Compare{info->invert != 0 ? Comparison::kNotEqual : Comparison::kEqual,
              {static_cast<uint8_t>(info->pkttype)}}};
}

std::optional<Program> Translated(std::string_view name, uint32_t revision,
                                  std::span<const uint8_t> info) {
  if (name == "comment") return Program();
  if (name == "tcp") return OfTcp(info);
  if (name == "udp") return OfUdp(info);
  if (name == "multiport" && revision == 1) return OfMultiport(info);
  if (name == "conntrack" && revision >= 2) return OfConntrack(info);
  if (name == "addrtype") return OfAddrtype(revision, info);
  if (name == "mark" && revision == 1) return OfMark(info);
  if (name == "pkttype") return OfPkttype(info);
  if (name == "limit") return Program{LimitRate{}};
  if (name == "state") {
    const auto state = InfoAs<xt_state_info>(info);
    if (state) return TestState(state->statemask, false);
  }
  return std::nullopt;
}

bool IsOneOf(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Program ProgramOfXtMatch(std::string_view name, uint32_t revision,
                         std::span<const uint8_t> info) {
  auto program = Translated(name, revision, info);
  if (program) return *std::move(program);
  return {UnknownMatch{"xt match " + std::string(name)}};
}

Instruction InstructionOfXtTarget(std::string_view name) {
  constexpr std::string_view kTranslations[] = {"DNAT", "SNAT", "MASQUERADE",
                                                "REDIRECT", "NETMAP"};
  constexpr std::string_view kActs[] = {
      "LOG",      "NFLOG", "ULOG",     "AUDIT",    "TRACE", "MARK",
      "CONNMARK", "SET",   "TCPMSS",   "DSCP",     "TOS",   "TTL",
      "HL",       "CT",    "CLASSIFY", "CHECKSUM", "TEE"};
  if (name == "REJECT") return Refuse{NFT_REJECT_ICMP_UNREACH, 3};
  if (IsOneOf(name, kTranslations)) return Translate{std::string(name)};
  if (IsOneOf(name, kActs)) return Act{std::string(name)};
  return UnknownVerdict{"xt target " + std::string(name)};
}

}  // namespace edged::nftables
