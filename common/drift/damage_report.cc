#include "common/drift/damage_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace edged {
namespace {

using nftables::Event;
using nftables::EventKind;
using nftables::EventObject;

constexpr size_t kWordsKept = 3;

}  // namespace

std::string DescribeEvent(const Event& event) {
  const std::string_view verb =
      event.kind == EventKind::kAdded ? "added" : "deleted";
  const auto counted = [&](std::string_view what) {
    return fmt::format("{} {}{} of {} {}", event.count, what,
                       event.count == 1 ? "" : "s", event.name, verb);
  };
  switch (event.object) {
    case EventObject::kTable:
      return fmt::format("table {}", verb);
    case EventObject::kChain:
      return fmt::format("chain {} {}", event.name, verb);
    case EventObject::kRule:
      return counted("rule");
    case EventObject::kSet:
      return fmt::format("set {} {}", event.name, verb);
    case EventObject::kElements:
      return counted("element");
    case EventObject::kOther:
      break;
  }
  return fmt::format("object {} {}", event.name, verb);
}

void DamageReport::Add(const std::string& what, const Culprit& by) {
  ++changes_;
  if (by_ == Culprit()) by_ = by;
  if (std::ranges::find(first_, what) != first_.end()) return;
  if (first_.size() < kWordsKept) {
    first_.push_back(what);
  } else {
    ++more_;
  }
}

void DamageReport::AddWhole(const std::string& what, const Culprit& by) {
  Add(what, by);
  whole_ = what;
}

std::string DamageReport::What() const {
  if (!whole_.empty()) return whole_;
  std::string text = fmt::format("{}", fmt::join(first_, ", "));
  if (more_ > 0) text += fmt::format(" and {} more", more_);
  return text;
}

}  // namespace edged
