#include "edged/core/rule_walk.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/nftables/program_text.h"
#include "edged/core/probe_bytes.h"

namespace edged::edge {
namespace {

using nftables::AnyChain;
using nftables::AnyRule;
using nftables::AnySet;
using nftables::AnyTable;
using nftables::Bytes;
using nftables::Comparison;
using nftables::Element;
using nftables::Header;
using nftables::Verdict;
using nftables::VerdictKind;

constexpr int kDeepest = 16;           // jumps, as in the kernel
constexpr size_t kTriedVerdicts = 64;  // of a verdict map with an unknown key
constexpr size_t kRegisterBytes = nftables::kWords * nftables::kWordSize;

// How a chain is left.
enum class Exit { kNextRule, kReturned, kDecided };

class Walker {
 public:
  Walker(const AnyTable& table, const Probe& probe)
      : table_(table),
        probe_(probe),
        network_(NetworkHeader(probe)),
        transport_(TransportHeader(probe)) {}

  WalkEnd Walk(const AnyChain& base) {
    if (Through(base, Truth::kYes) != Exit::kDecided && base.drops_by_policy) {
      end_.dropped_by = RulePlace{.chain = base.name, .text = "policy drop"};
    }
    return std::move(end_);
  }

 private:
  Exit Through(const AnyChain& chain, Truth ambient);
  Exit Try(const AnyChain& chain, const AnyRule& rule, Truth ambient);
  // The truth of a condition or the effect of a load; verdicts are apart.
  Truth Do(const nftables::LoadMeta& load) {
    return Store(load.word, MetaValue(probe_, load.key));
  }
  Truth Do(const nftables::LoadCt& load) {
    // Of what is not tracked there is nothing else, and the rule ends.
    if (probe_.untracked && load.key != NFT_CT_STATE) return Truth::kNo;
    return Store(load.word, CtValue(probe_, load.key));
  }
  Truth Do(const nftables::LoadFib& load) {
    return Store(load.word, FibValue(probe_, load));
  }
  Truth Do(const nftables::LoadPayload& load);
  Truth Do(const nftables::LoadConstant& load) {
    return Store(load.word, Known(load.value));
  }
  Truth Do(const nftables::LoadUnknown& load) {
    if (!load.word) registers_.fill({});
    return Store(load.word.value_or(0), Filled(Byte::kUnknown, 16));
  }
  Truth Do(const nftables::MaskBits& mask);
  Truth Do(const nftables::Compare& compare);
  Truth Do(const nftables::CompareRanges& compare);
  Truth Do(const nftables::LookUp& lookup);
  Truth Do(const nftables::LimitRate& limit) {
    return limit.over ? Truth::kSome : Truth::kYes;
  }
  Truth Do(const nftables::UnknownMatch&) { return Truth::kPerhaps; }
  Truth Do(const nftables::Act&) { return Truth::kYes; }

  Exit Decide(const AnyChain& chain, const AnyRule& rule,
              const Verdict& verdict, Truth truth);
  Exit DecideByMap(const AnyChain& chain, const AnyRule& rule,
                   const nftables::LookUp& lookup, Truth truth);
  Exit Drop(const AnyChain& chain, const AnyRule& rule, Truth truth);
  Exit Accept(const AnyChain& chain, const AnyRule& rule, Truth truth);
  RulePlace PlaceOf(const AnyChain& chain, const AnyRule& rule) const {
    return {.chain = chain.name,
            .handle = rule.handle,
            .text = nftables::ProgramText(rule.program, table_),
            .refuses = nftables::Refuses(rule.program)};
  }

  Truth Store(uint32_t word, const Value& value) {
    const size_t begin = word * nftables::kWordSize;
    for (size_t i = 0; i < value.size() && begin + i < kRegisterBytes; ++i) {
      registers_[begin + i] = value[i];
    }
    return Truth::kYes;
  }
  Value Fetch(uint32_t word, size_t size) const {
    const size_t begin =
        std::min<size_t>(word * nftables::kWordSize, kRegisterBytes);
    const size_t end = std::min(begin + size, kRegisterBytes);
    return Value(registers_.begin() + begin, registers_.begin() + end);
  }
  const AnySet* FindSet(const std::string& name) const {
    const auto found = table_.sets.find(name);
    return found == table_.sets.end() ? nullptr : &found->second;
  }
  // The best match, and its element; null: not known which.
  std::pair<Truth, const Element*> Find(const nftables::LookUp& lookup) const;

  const AnyTable& table_;
  const Probe& probe_;
  const Value network_;
  const Value transport_;
  std::array<Byte, kRegisterBytes> registers_{};
  int depth_ = 0;
  WalkEnd end_;
};

Truth Walker::Do(const nftables::LoadPayload& load) {
  const Value* header = load.header == Header::kNetwork     ? &network_
                        : load.header == Header::kTransport ? &transport_
                                                            : nullptr;
  Value value;
  for (uint32_t i = 0; i < std::min<uint32_t>(load.size, 16); ++i) {
    const size_t at = size_t{load.offset} + i;
    value.push_back(header != nullptr && at < header->size() ? (*header)[at]
                                                             : Byte{});
  }
  return Store(load.word, value);
}

Truth Walker::Do(const nftables::MaskBits& mask) {
  Value value = Fetch(mask.from, mask.mask.size());
  for (size_t i = 0; i < value.size(); ++i) {
    const uint8_t flip = i < mask.flip.size() ? mask.flip[i] : 0;
    Byte& byte = value[i];
    byte.value = (byte.value & mask.mask[i]) ^ flip;
    if (mask.mask[i] == 0) byte.kind = Byte::kKnown;
  }
  return Store(mask.to, value);
}

Truth Walker::Do(const nftables::Compare& compare) {
  const Value value = Fetch(compare.word, compare.value.size());
  const Truth equal = Equals(value, compare.value);
  if (compare.comparison == Comparison::kEqual) return equal;
  if (compare.comparison == Comparison::kNotEqual) return Not(equal);
  const bool all_known = std::ranges::all_of(
      value, [](const Byte& byte) { return byte.kind == Byte::kKnown; });
  if (!all_known) return Truth::kPerhaps;
  Bytes known;
  for (const Byte& byte : value) known.push_back(byte.value);
  const bool below = known < compare.value;
  const bool above = compare.value < known;
  const bool holds = [&] {
    switch (compare.comparison) {
      case Comparison::kLess:
        return below;
      case Comparison::kAtMost:
        return !above;
      case Comparison::kGreater:
        return above;
      default:
        return !below;
    }
  }();
  return holds ? Truth::kYes : Truth::kNo;
}

Truth Walker::Do(const nftables::CompareRanges& compare) {
  Truth best = Truth::kNo;
  for (const auto& [first, last] : compare.ranges) {
    const Value value = Fetch(compare.word, first.size());
    best = std::max(best, Within(value, first, last));
  }
  return compare.negate ? Not(best) : best;
}

std::pair<Truth, const Element*> Walker::Find(
    const nftables::LookUp& lookup) const {
  const AnySet* set = FindSet(lookup.set);
  if (set == nullptr) return {Truth::kPerhaps, nullptr};
  std::pair<Truth, const Element*> best{Truth::kNo, nullptr};
  const size_t size = set->elements.empty() ? 0 : set->elements[0].key.size();
  const Value key = Fetch(lookup.word, size);
  for (const Element& element : set->elements) {
    const Truth truth = Matches(*set, element, key);
    if (truth > best.first) best = {truth, &element};
    if (truth == Truth::kYes) return best;
  }
  if (best.first == Truth::kNo && set->rest) return {Truth::kYes, &*set->rest};
  // A set that others fill, with elements that are not known here.
  if (!set->complete) best = {std::max(best.first, Truth::kPerhaps), nullptr};
  return best;
}

Truth Walker::Do(const nftables::LookUp& lookup) {
  const auto [truth, element] = Find(lookup);
  if (lookup.to) {
    const bool known = truth == Truth::kYes && element != nullptr;
    Store(*lookup.to,
          known ? Known(element->data) : Filled(Byte::kUnknown, 16));
  }
  return lookup.negate ? Not(truth) : truth;
}

Exit Walker::Drop(const AnyChain& chain, const AnyRule& rule, Truth truth) {
  if (truth == Truth::kYes) {
    end_.dropped_by = PlaceOf(chain, rule);
    return Exit::kDecided;
  }
  if (truth == Truth::kPerhaps && !end_.perhaps_dropped_by) {
    end_.perhaps_dropped_by = PlaceOf(chain, rule);
  }
  return Exit::kNextRule;
}

Exit Walker::Accept(const AnyChain& chain, const AnyRule& rule, Truth truth) {
  if (truth == Truth::kYes) return Exit::kDecided;
  if (!end_.perhaps_accepted_by) {
    end_.perhaps_accepted_by = PlaceOf(chain, rule);
  }
  return Exit::kNextRule;
}

Exit Walker::Decide(const AnyChain& chain, const AnyRule& rule,
                    const Verdict& verdict, Truth truth) {
  switch (verdict.kind) {
    case VerdictKind::kAccept:
      return Accept(chain, rule, truth);
    case VerdictKind::kDrop:
      return Drop(chain, rule, truth);
    case VerdictKind::kReturn:
      return truth == Truth::kYes ? Exit::kReturned : Exit::kNextRule;
    case VerdictKind::kJump:
    case VerdictKind::kGoto:
      break;
  }
  const auto target = table_.chains.find(verdict.chain);
  if (target == table_.chains.end() || depth_ >= kDeepest) {
    return Exit::kNextRule;
  }
  ++depth_;
  const Exit exit = Through(target->second, truth);
  --depth_;
  if (exit == Exit::kDecided) return exit;
  const bool leaves =
      verdict.kind == VerdictKind::kGoto && truth == Truth::kYes;
  return leaves ? Exit::kReturned : Exit::kNextRule;
}

// Where the key is not known, every verdict of the map may come.
Exit Walker::DecideByMap(const AnyChain& chain, const AnyRule& rule,
                         const nftables::LookUp& lookup, Truth truth) {
  const auto [best, element] = Find(lookup);
  if (best == Truth::kYes) {
    return element->verdict ? Decide(chain, rule, *element->verdict, truth)
                            : Exit::kNextRule;
  }
  const AnySet* set = FindSet(lookup.set);
  if (best == Truth::kNo || set == nullptr) return Exit::kNextRule;
  const auto before = registers_;
  size_t tried = 0;
  for (const Element& each : set->elements) {
    registers_ = before;
    const Truth match =
        Matches(*set, each, Fetch(lookup.word, each.key.size()));
    if (match == Truth::kNo || !each.verdict) continue;
    Decide(chain, rule, *each.verdict, std::min(truth, match));
    if (++tried == kTriedVerdicts) break;
  }
  return Exit::kNextRule;
}

Exit Walker::Try(const AnyChain& chain, const AnyRule& rule, Truth ambient) {
  Truth truth = ambient;
  for (const nftables::Instruction& each : rule.program) {
    if (const auto* verdict = std::get_if<Verdict>(&each)) {
      return Decide(chain, rule, *verdict, truth);
    }
    if (std::holds_alternative<nftables::Refuse>(each)) {
      return Drop(chain, rule, truth);
    }
    if (std::holds_alternative<nftables::Translate>(each)) {
      auto& by = truth == Truth::kYes ? end_.translated_by
                                      : end_.perhaps_translated_by;
      if (!by && truth >= Truth::kPerhaps) by = PlaceOf(chain, rule);
      return Accept(chain, rule, truth);
    }
    if (std::holds_alternative<nftables::UnknownVerdict>(each)) {
      Drop(chain, rule, std::min(truth, Truth::kPerhaps));
      return Accept(chain, rule, truth);
    }
    const auto* lookup = std::get_if<nftables::LookUp>(&each);
    if (lookup != nullptr && lookup->verdict) {
      return DecideByMap(chain, rule, *lookup, truth);
    }
    truth = std::min(truth, std::visit(
                                [this](const auto& one) {
                                  if constexpr (requires { Do(one); })
                                    return Do(one);
                                  return Truth::kYes;  // verdicts, done above
                                },
                                each));
    if (truth == Truth::kNo) return Exit::kNextRule;
  }
  return Exit::kNextRule;
}

Exit Walker::Through(const AnyChain& chain, Truth ambient) {
  for (const AnyRule& rule : chain.rules) {
    registers_.fill({});
    const Exit exit = Try(chain, rule, ambient);
    if (exit != Exit::kNextRule) return exit;
  }
  return Exit::kReturned;
}

}  // namespace

WalkEnd WalkBaseChain(const AnyTable& table, const AnyChain& base,
                      const Probe& probe) {
  return Walker(table, probe).Walk(base);
}

}  // namespace edged::edge
