#include "edged/core/trace_scene.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <variant>

#include "common/nftables/program_text.h"
#include "edged/core/firewall_mend.h"

namespace edged::edge {
namespace {

using nftables::AnyRule;
using nftables::AnyTable;
using nftables::TraceEvent;
using nftables::TraceStep;
using nftables::TraceVerdict;
using Lines = std::vector<std::string>;

std::string_view HookName(uint32_t number) {
  switch (number) {
    case NF_INET_PRE_ROUTING:
      return "prerouting";
    case NF_INET_LOCAL_IN:
      return "input";
    case NF_INET_FORWARD:
      return "forward";
    case NF_INET_LOCAL_OUT:
      return "output";
    case NF_INET_POST_ROUTING:
      return "postrouting";
    default:
      return "";
  }
}

}  // namespace

std::string TraceScene::InterfaceName(uint32_t index) const {
  const auto found = interfaces.find(index);
  return found == interfaces.end() ? fmt::format("interface {}", index)
                                   : found->second.name;
}

const AnyTable* TraceScene::TableOf(const TraceEvent& event) const {
  const auto found =
      std::ranges::find_if(tables, [&event](const AnyTable& table) {
        return table.family == event.family && table.name == event.table;
      });
  return found == tables.end() ? nullptr : &*found;
}

std::string TraceScene::HookOf(const TraceEvent& event) const {
  const AnyTable* table = TableOf(event);
  if (table == nullptr) return "";
  const auto chain = table->chains.find(event.chain);
  if (chain == table->chains.end() || !chain->second.hook) return "";
  return std::string(HookName(chain->second.hook->number));
}

const AnyRule* TraceScene::RuleOf(const TraceEvent& event) const {
  const AnyTable* table = TableOf(event);
  if (table == nullptr || event.step != TraceStep::kRule) return nullptr;
  const auto chain = table->chains.find(event.chain);
  if (chain == table->chains.end()) return nullptr;
  const auto rule = std::ranges::find(chain->second.rules, event.rule_handle,
                                      &AnyRule::handle);
  return rule == chain->second.rules.end() ? nullptr : &*rule;
}

// "table ip nat (docker), chain DOCKER"
std::string TraceScene::PlaceOf(const TraceEvent& event) const {
  const AnyTable* table = TableOf(event);
  return fmt::format(
      "{}, chain {}",
      table == nullptr
          ? fmt::format("table {} {}", nftables::FamilyName(event.family),
                        event.table)
          : fmt::format("{}{}", table->ToString(), NameOf(OwnerOf(*table))),
      event.chain);
}

// Empty when the event is of no rule that translates.
Lines TraceScene::TakerOf(const TraceEvent& event) const {
  const AnyRule* rule = RuleOf(event);
  const bool translates =
      rule != nullptr &&
      std::ranges::any_of(rule->program, [](const auto& one) {
        return std::holds_alternative<nftables::Translate>(one);
      });
  if (!translates || event.verdict != TraceVerdict::kAccept) return {};
  return {fmt::format("  by `{}` (handle {}) of {}, which comes before edged",
                      nftables::ProgramText(rule->program, *TableOf(event)),
                      rule->handle, PlaceOf(event)),
          fmt::format("  $ nft -a list chain {} {} {}",
                      nftables::FamilyName(event.family), event.table,
                      event.chain)};
}

Lines TraceScene::WhyNotRouted(uint32_t in) const {
  const auto from = interfaces.find(in);
  if (from != interfaces.end() && !from->second.forwards) {
    const std::string& name = from->second.name;
    return {
        fmt::format("  {} does not forward", name),
        target.nic_address.is_ipv4()
            ? fmt::format("  $ sysctl -w net.ipv4.conf.{}.forwarding=1", name)
            : "  $ edged prepare"};
  }
  return {
      "  the kernel found no route for it, or its source came in by the "
      "wrong interface (rp_filter)",
      "  $ edged doctor"};
}

std::string TraceScene::WhyNothingArrived() const {
  if (target.nic_address.is_loopback()) {
    return fmt::format(
        "  {} is for this host's own programs, and edged maps nothing there; "
        "name the public address that clients ask",
        target.nic_address.ToString());
  }
  if (!address_is_local) {
    return fmt::format(
        "  {} is not an address of this host, and none that edged maps",
        target.nic_address.ToString());
  }
  const bool elsewhere = target.nic_address != target.public_address;
  return fmt::format(
      "  packets to {}{} do not reach this host: the provider's firewall "
      "must let {} {} in, or clients ask another address",
      ToString(target),
      elsewhere ? fmt::format(" (as {})", target.nic_address.ToString()) : "",
      ToString(target.protocol), target.port);
}

}  // namespace edged::edge
