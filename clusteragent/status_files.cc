#include "clusteragent/status_files.h"

#include <utility>

#include "common/status.h"

namespace edged::agent {
namespace {

constexpr auto kTellAgain = std::chrono::seconds(2);  // after a failure

}  // namespace

StatusFiles::StatusFiles(EventLoop& loop, const StateFolder& state,
                         std::function<void(const absl::Status&)> saved)
    : loop_(loop), state_(state), saved_(std::move(saved)), writer_(loop) {}

StatusFiles::~StatusFiles() { loop_.Cancel(again_timer_); }

absl::Status StatusFiles::Unsaved::Save(const StateFolder& state) const {
  RETURN_IF_ERROR(state.SaveErrors(errors));
  if (whole) return state.SaveStatuses(Listed(statuses));
  for (const auto& [key, status] : statuses) {
    RETURN_IF_ERROR(state.SaveStatus(status));
  }
  for (const ObjectKey& key : gone) RETURN_IF_ERROR(state.RemoveStatus(key));
  return absl::OkStatus();
}

void StatusFiles::Tell(const ObjectStatuses& statuses,
                       const std::optional<std::set<ObjectKey>>& changed,
                       const std::vector<std::string>& errors) {
  ++told_;
  unsaved_.errors = errors;
  if (std::exchange(doubted_, false) || !changed) unsaved_.whole = true;
  if (unsaved_.whole) {
    unsaved_.statuses = statuses;
    unsaved_.gone.clear();
    return Write();
  }
  for (const ObjectKey& key : *changed) {
    const auto status = statuses.find(key);
    if (status == statuses.end()) {
      unsaved_.statuses.erase(key);
      unsaved_.gone.insert(key);
    } else {
      unsaved_.statuses.insert_or_assign(key, status->second);
      unsaved_.gone.erase(key);
    }
  }
  Write();
}

void StatusFiles::Write() {
  writer_.Write(
      [&state = state_, unsaved = unsaved_] { return unsaved.Save(state); },
      [this, told = told_](const absl::Status& saved) {
        OnSaved(told, saved);
      });
}

// Tried again by the same writer, with what is to be told by then.
void StatusFiles::OnSaved(uint64_t told, const absl::Status& saved) {
  saved_(saved);
  if (saved.ok()) {
    if (told == told_) unsaved_ = {};
    return;
  }
  if (again_timer_ != 0) return;
  again_timer_ = loop_.After(kTellAgain, [this] {
    again_timer_ = 0;
    Write();
  });
}

}  // namespace edged::agent
