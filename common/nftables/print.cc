#include "common/nftables/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "common/nftables/values.h"

namespace edged::nftables {
namespace {

std::string_view Name(ChainType type) {
  switch (type) {
    case ChainType::kFilter:
      return "filter";
    case ChainType::kNat:
      return "nat";
    case ChainType::kRoute:
      return "route";
  }
  return "";
}

std::string_view Name(HookPoint point) {
  switch (point) {
    case HookPoint::kPrerouting:
      return "prerouting";
    case HookPoint::kInput:
      return "input";
    case HookPoint::kForward:
      return "forward";
    case HookPoint::kOutput:
      return "output";
    case HookPoint::kPostrouting:
      return "postrouting";
  }
  return "";
}

// nft names a priority within 10 of a known one after that.
std::string PriorityText(const Hook& hook) {
  struct Known {
    int priority;
    std::string_view name;
    std::optional<HookPoint> only;
  };
  static constexpr Known kKnown[] = {
      {-300, "raw", std::nullopt},
      {-150, "mangle", std::nullopt},
      {-100, "dstnat", HookPoint::kPrerouting},
      {0, "filter", std::nullopt},
      {50, "security", std::nullopt},
      {100, "srcnat", HookPoint::kPostrouting},
  };
  for (const Known& known : kKnown) {
    if (known.only.value_or(hook.point) != hook.point) continue;
    const int distance = hook.priority - known.priority;
    if (distance == 0) return std::string(known.name);
    if (std::abs(distance) > 10) continue;
    return fmt::format("{} {} {}", known.name, distance < 0 ? '-' : '+',
                       std::abs(distance));
  }
  return fmt::format("{}", hook.priority);
}

std::string HookText(const Hook& hook) {
  return fmt::format("type {} hook {} priority {}; policy accept;",
                     Name(hook.type), Name(hook.point), PriorityText(hook));
}

std::string TypesText(const std::vector<Type>& types) {
  std::string text;
  for (const Type type : types) {
    text += fmt::format("{}{}", text.empty() ? "" : " . ", Name(type));
  }
  return text;
}

// `type KEY` or `type KEY : DATA`.
std::string TypeText(const Set& set) {
  if (set.data.empty()) return "type " + TypesText(set.key);
  return fmt::format("type {} : {}", TypesText(set.key), TypesText(set.data));
}

std::string_view Kind(bool map) { return map ? "map" : "set"; }

std::string KeyText(const Element& element, const Set& set) {
  return ConcatenationText(set.key, element.key, element.key_end);
}

std::string DataText(const Element& element, const Set& set) {
  if (element.verdict) return " : " + Print(*element.verdict);
  if (set.data.empty()) return "";
  return " : " + ConcatenationText(set.data, element.data, {});
}

// As nft sorts elements: by the key as one number, a concatenation's in the
// byte order of the host. Of concatenations with intervals it keeps the
// kernel's order, which is that of their addition.
std::vector<const Element*> Sorted(const SetWithElements& set) {
  std::vector<const Element*> sorted;
  sorted.reserve(set.elements.size());
  for (const Element& element : set.elements) sorted.push_back(&element);
  const bool concatenated = set.set.key.size() > 1;
  if (concatenated && set.set.interval) return sorted;
  const bool little = std::endian::native == std::endian::little &&
                      (concatenated || IsHostOrder(set.set.key[0]));
  std::ranges::stable_sort(sorted, [little](const Element* left,
                                            const Element* right) {
    if (!little) return left->key < right->key;
    return std::lexicographical_compare(left->key.rbegin(), left->key.rend(),
                                        right->key.rbegin(), right->key.rend());
  });
  return sorted;
}

// How many elements of a named set nft lists on one line.
size_t ElementsPerLine(const Set& set) {
  if (set.key.size() > 1) return 1;
  switch (set.key[0]) {
    case Type::kInetProto:
    case Type::kInetService:
    case Type::kMark:
      return 5;
    case Type::kIpv4Addr:
      return 2;
    default:
      return 1;
  }
}

std::string SetText(const SetWithElements& with_elements) {
  const Set& set = with_elements.set;
  std::string text = fmt::format(
      "\t{} {} {{\n\t\t{}\n", Kind(!set.data.empty()), set.name, TypeText(set));
  if (set.interval) text += "\t\tflags interval\n";
  if (set.counter) text += "\t\tcounter\n";
  const size_t per_line = ElementsPerLine(set);
  size_t count = 0;
  for (const Element* element : Sorted(with_elements)) {
    if (count == 0) {
      text += "\t\telements = { ";
    } else {
      text += count % per_line == 0 ? ",\n\t\t\t     " : ", ";
    }
    ++count;
    text += KeyText(*element, set);
    if (set.counter) text += " counter packets 0 bytes 0";
    text += DataText(*element, set);
  }
  if (count > 0) text += " }\n";
  return text + "\t}\n";
}

// `established : 3600`; states that nft takes for granted are not listed.
std::string PolicyText(const CtTimeout& timeout) {
  std::string text;
  for (const TimeoutState& state : TimeoutStates(timeout.protocol)) {
    const auto found = timeout.seconds.find(state.state);
    if (found == timeout.seconds.end() || found->second == state.seconds) {
      continue;
    }
    text += fmt::format("{}{} : {}", text.empty() ? "" : ", ", state.name,
                        found->second);
  }
  return text;
}

std::string TimeoutText(const CtTimeout& timeout) {
  return fmt::format(
      "\tct timeout {} {{\n\t\tprotocol {}\n\t\tl3proto inet\n"
      "\t\tpolicy = {{ {} }}\n\t}}\n",
      timeout.name, edged::ToString(timeout.protocol), PolicyText(timeout));
}

// `inet TABLE SET { a, b }`.
std::string ElementsText(const std::string& table, const Set& set,
                         const std::vector<Element>& elements, bool with_data) {
  std::string text = fmt::format("inet {} {} {{ ", table, set.name);
  bool first = true;
  for (const Element& element : elements) {
    if (!first) text += ", ";
    first = false;
    text += KeyText(element, set);
    if (with_data) text += DataText(element, set);
  }
  return text + " }";
}

// Each operation as one nft command.
struct Command {
  const std::string& table;

  std::string operator()(const AddTable& add) const {
    return fmt::format("add table inet {}{}", table,
                       add.owned ? " { flags owner; }" : "");
  }
  std::string operator()(const DeleteTable&) const {
    return fmt::format("delete table inet {}", table);
  }
  std::string operator()(const AddSet& add) const {
    const Set& set = add.set;
    return fmt::format("add {} inet {} {} {{ {};{}{} }}",
                       Kind(!set.data.empty()), table, set.name, TypeText(set),
                       set.interval ? " flags interval;" : "",
                       set.counter ? " counter;" : "");
  }
  std::string operator()(const DeleteSet& removal) const {
    return fmt::format("delete {} inet {} {}", Kind(removal.map), table,
                       removal.set);
  }
  std::string operator()(const FlushSet& flush) const {
    return fmt::format("flush {} inet {} {}", Kind(flush.map), table,
                       flush.set);
  }
  std::string operator()(const AddElements& add) const {
    return "add element " + ElementsText(table, add.set, add.elements, true);
  }
  std::string operator()(const DeleteElements& removal) const {
    return "delete element " +
           ElementsText(table, removal.set, removal.elements, false);
  }
  std::string operator()(const AddChain& add) const {
    const std::string base =
        add.chain.hook ? HookText(*add.chain.hook) + " " : "";
    return fmt::format("add chain inet {} {} {{ {}}}", table, add.chain.name,
                       base);
  }
  std::string operator()(const FlushChain& flush) const {
    return fmt::format("flush chain inet {} {}", table, flush.chain);
  }
  std::string operator()(const DeleteChain& removal) const {
    return fmt::format("delete chain inet {} {}", table, removal.chain);
  }
  std::string operator()(const AddTimeout& add) const {
    return fmt::format(
        "add ct timeout inet {} {} {{ protocol {}; policy = {{ {} }}; }}",
        table, add.timeout.name, edged::ToString(add.timeout.protocol),
        PolicyText(add.timeout));
  }
  std::string operator()(const DeleteTimeout& removal) const {
    return fmt::format("delete ct timeout inet {} {}", table, removal.timeout);
  }
  std::string operator()(const AddRule& add) const {
    return fmt::format("add rule inet {} {} {}", table, add.chain,
                       Print(add.rule));
  }
};

}  // namespace

std::string Print(const Element& element, const Set& set) {
  return KeyText(element, set) + DataText(element, set);
}

std::string Print(const Chain& chain) {
  std::string text = fmt::format("\tchain {} {{\n", chain.name);
  if (chain.hook) text += fmt::format("\t\t{}\n", HookText(*chain.hook));
  for (const Rule& rule : chain.rules) {
    text += fmt::format("\t\t{}\n", Print(rule));
  }
  return text + "\t}\n";
}

std::string Print(const Table& table) {
  std::string text = fmt::format("table inet {} {{\n", table.name);
  std::string_view gap = "";
  for (const CtTimeout& timeout : table.timeouts) {
    text += fmt::format("{}{}", gap, TimeoutText(timeout));
    gap = "\n";
  }
  for (const SetWithElements& set : table.sets) {
    text += fmt::format("{}{}", gap, SetText(set));
    gap = "\n";
  }
  for (const Chain& chain : table.chains) {
    text += fmt::format("{}{}", gap, Print(chain));
    gap = "\n";
  }
  return text + "}\n";
}

std::string Print(const Operation& operation, const std::string& table) {
  return std::visit(Command{table}, operation);
}

std::string Print(const Transaction& transaction) {
  std::string text;
  for (const Operation& operation : transaction.operations()) {
    text += Print(operation, transaction.table());
    text += '\n';
  }
  return text;
}

}  // namespace edged::nftables
