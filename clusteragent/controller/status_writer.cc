#include "clusteragent/controller/status_writer.h"

#include <utility>

#include "clusteragent/controller/status_json.h"
#include "clusteragent/kube/api_error.h"
#include "clusteragent/kube/json_reading.h"
#include "clusteragent/kube/watch_progress.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Text;
using nlohmann::json;

constexpr auto kAgain = std::chrono::seconds(5);  // after a failure

}  // namespace

StatusWriter::StatusWriter(EventLoop& loop, kube::RestClient& client,
                           Trouble trouble)
    : loop_(loop), client_(client), trouble_(std::move(trouble)) {}

StatusWriter::~StatusWriter() { Clear(); }

void StatusWriter::Clear() {
  loop_.Cancel(std::exchange(again_timer_, 0));
  for (auto& [key, slot] : slots_) client_.Cancel(slot.call);
  slots_.clear();
}

void StatusWriter::EndRound() {
  std::erase_if(slots_, [this](const auto& entry) {
    const bool unwanted = entry.second.round != round_;
    if (unwanted) client_.Cancel(entry.second.call);
    return unwanted;
  });
}

json StatusWriter::Known(const kube::ObjectRef& object, const Part& part,
                         const json& value, const std::string& version) const {
  const auto found = slots_.find(KeyOf(object, part));
  // The watch may be behind what was written.
  if (found != slots_.end() &&
      kube::IsOlderVersion(version, found->second.version)) {
    return found->second.known;
  }
  return part.ours(value);
}

void StatusWriter::Want(const kube::ObjectRef& object, const Part& part,
                        const json& value, const std::string& version,
                        json wanted) {
  const Key key = KeyOf(object, part);
  json known = Known(object, part, value, version);
  const auto found = slots_.find(key);
  if (found == slots_.end() && known == wanted) return;
  Slot& slot = slots_[key];
  if (slot.part.field.empty()) {
    slot.object = object;
    slot.part = part;
  }
  if (!kube::IsOlderVersion(version, slot.version)) {
    slot.known = std::move(known);
    slot.version = version;
  }
  slot.wanted = std::move(wanted);
  slot.round = round_;
  if (slot.call == 0 && !slot.failed) Write(key, slot);
}

// The slot may be gone afterwards.
void StatusWriter::Write(const Key& key, Slot& slot) {
  if (!slot.wanted || *slot.wanted == slot.known ||
      (*slot.wanted == slot.sent && slot.known == slot.answered)) {
    slot.wanted.reset();
    slot.missing_verb.clear();
    return;
  }
  slot.sent = *slot.wanted;
  json patch = {{slot.part.field, MergeDiff(slot.known, *slot.wanted)}};
  if (slot.part.guarded) patch["metadata"]["resourceVersion"] = slot.version;
  slot.call = client_.MergePatch(
      slot.object, patch, [this, key](const absl::StatusOr<json>& object) {
        OnWritten(key, object);
      });
}

void StatusWriter::OnWritten(const Key& key,
                             const absl::StatusOr<json>& object) {
  Slot& slot = slots_.at(key);
  slot.call = 0;
  // Deleted meanwhile, or changed by others: the next round will see.
  if (absl::IsNotFound(object.status()) ||
      (slot.part.guarded && absl::IsAborted(object.status()))) {
    slots_.erase(key);
    return;
  }
  slot.missing_verb = kube::MissingVerb(object.status());
  if (slot.trouble.Becomes(object.status())) {
    trouble_(slot.object, object.status());
  }
  if (!object.ok()) {
    slot.sent = nullptr;
    slot.failed = true;
    if (again_timer_ == 0) {
      again_timer_ = loop_.After(kAgain, [this] { TryAgain(); });
    }
    return;
  }
  slot.known = slot.part.ours(Field(*object, slot.part.field));
  slot.version = Text(Field(*object, "metadata", "resourceVersion"));
  slot.answered = slot.known;
  Write(key, slot);
}

std::set<std::string> StatusWriter::MissingVerbs() const {
  std::set<std::string> verbs;
  for (const auto& [key, slot] : slots_) {
    if (!slot.missing_verb.empty()) verbs.insert(slot.missing_verb);
  }
  return verbs;
}

void StatusWriter::TryAgain() {
  again_timer_ = 0;
  for (auto& [key, slot] : slots_) {
    slot.failed = false;
    if (slot.call == 0) Write(key, slot);
  }
}

}  // namespace edged::agent
