#include "clusteragent/state_keeper.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace edged::agent {
namespace {

constexpr auto kAgain = std::chrono::seconds(2);

}  // namespace

StateKeeper::~StateKeeper() { loop_.Cancel(timer_); }

void StateKeeper::Keep(const std::string& part,
                       std::function<absl::Status()> save) {
  const absl::Status saved = save();
  Keep(part, saved, std::move(save));
}

void StateKeeper::Keep(const std::string& part, const absl::Status& saved,
                       std::function<absl::Status()> again) {
  Note(part, saved, std::move(again));
  Tell();
}

void StateKeeper::Note(const std::string& part, const absl::Status& saved,
                       std::function<absl::Status()> again) {
  if (saved.ok()) {
    refused_.erase(part);
  } else {
    refused_[part] = {std::move(again), std::string(Message(saved))};
  }
}

void StateKeeper::TryAgain() {
  timer_ = 0;
  for (auto& [part, refused] : std::exchange(refused_, {})) {
    if (!refused.save) {
      refused_[part] = std::move(refused);
      continue;
    }
    const absl::Status saved = refused.save();
    Note(part, saved, std::move(refused.save));
  }
  Tell();
}

void StateKeeper::Tell() {
  const std::string why = refused_.empty() ? "" : refused_.begin()->second.why;
  if (told_.empty() != why.empty()) {
    if (why.empty()) {
      spdlog::info("state is durable again");
    } else {
      spdlog::error("StateNotDurable: {}; going on without the disk", why);
    }
  }
  told_ = why;
  const bool again = std::ranges::any_of(
      refused_, [](const auto& entry) { return entry.second.save != nullptr; });
  if (again && timer_ == 0) {
    timer_ = loop_.After(kAgain, [this] { TryAgain(); });
  }
}

}  // namespace edged::agent
