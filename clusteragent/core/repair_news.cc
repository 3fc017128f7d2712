#include "clusteragent/core/repair_news.h"

#include <fmt/format.h>

#include <utility>

namespace edged::agent {
namespace {

// As the edge's log has it.
std::string Sentence(std::string text) {
  constexpr std::string_view kPrefix = "drift: ";
  if (text.starts_with(kPrefix)) text.erase(0, kPrefix.size());
  return text;
}

Happening NewsOf(const Drift& drift) {
  return {.warning = true,
          .reason = drift.error.empty() ? "Repaired" : "NotRepaired",
          .message = Sentence(drift.ToString())};
}

Happening NewsOf(const Flood& flood) {
  return {.warning = true,
          .reason = flood.over ? "Repaired" : "TooManyRepairs",
          .message = Sentence(flood.ToString())};
}

uint64_t RepairsOf(const Drift& drift) { return drift.error.empty() ? 1 : 0; }
uint64_t RepairsOf(const Flood& flood) { return flood.repairs; }
bool Fails(const Drift& drift) { return !drift.error.empty(); }
bool Fails(const Flood&) { return false; }

}  // namespace

std::optional<Happening> RepairNews::Add(
    const std::variant<Drift, Flood>& event, Time now) {
  Happening news =
      std::visit([](const auto& what) { return NewsOf(what); }, event);
  if (!told_ || (!last_ && now - *told_ >= kQuiet)) {
    told_ = now;
    return news;
  }
  repairs_ +=
      std::visit([](const auto& what) { return RepairsOf(what); }, event);
  failures_ += std::visit([](const auto& what) { return Fails(what); }, event);
  last_ = std::move(news);
  return std::nullopt;
}

std::optional<RepairNews::Time> RepairNews::due() const {
  if (!last_) return std::nullopt;
  return *told_ + kQuiet;
}

std::optional<Happening> RepairNews::Due(Time now) {
  if (!last_ || now < *due()) return std::nullopt;
  Happening news = *std::exchange(last_, std::nullopt);
  const uint64_t repairs = std::exchange(repairs_, 0);
  const uint64_t failures = std::exchange(failures_, 0);
  told_ = now;
  if (repairs + failures <= 1) return news;
  news.message = fmt::format(
      "{} more repairs{}; the last: {}", repairs,
      failures == 0 ? "" : fmt::format(", {} failed", failures), news.message);
  return news;
}

}  // namespace edged::agent
