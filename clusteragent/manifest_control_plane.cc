#include "clusteragent/manifest_control_plane.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "common/status.h"

namespace edged::agent {
namespace {

constexpr auto kResyncInterval = std::chrono::seconds(30);

}  // namespace

ManifestControlPlane::ManifestControlPlane(EventLoop& loop,
                                           const StateFolder& state,
                                           StateKeeper& keeper,
                                           std::string manifests)
    : loop_(loop),
      state_(state),
      keeper_(keeper),
      folder_(std::move(manifests)),
      source_(folder_),
      status_files_(loop, state, [&keeper](const absl::Status& saved) {
        keeper.Hear("status files", saved);
      }) {}

ManifestControlPlane::~ManifestControlPlane() { loop_.Cancel(resync_timer_); }

absl::Status ManifestControlPlane::Start(std::function<void()> changed,
                                         std::function<void()>) {
  changed_ = std::move(changed);
  RETURN_IF_ERROR(MakeFolders(state_.path() + "/tokens"));
  RETURN_IF_ERROR(ListFolder(folder_).status());
  ASSIGN_OR_RETURN(identity_, state_.Identity());
  ASSIGN_OR_RETURN(const uint64_t last_epoch, state_.LastEpoch());
  epoch_ = last_epoch + 1;
  // Not durable, it is given out again at the next start: an edge takes the
  // same one twice.
  keeper_.Keep("epoch", [this] { return state_.SetEpoch(epoch_); });
  RETURN_IF_ERROR(WatchFolders());
  resync_timer_ = loop_.Every(kResyncInterval, [this] {
    objects_.ChangeEverything();
    status_files_.Doubt();
    reader_->ReadSoon();
  });
  Take(source_.Read());
  reader_ =
      std::make_unique<SourceReader>(loop_, source_, [this](Snapshot snapshot) {
        Take(std::move(snapshot));
        changed_();
      });
  return absl::OkStatus();
}

absl::Status ManifestControlPlane::WatchFolders() {
  ASSIGN_OR_RETURN(manifests_watch_, FolderWatch::Start(loop_, folder_, [this] {
                     reader_->ReadSoon();
                   }));
  ASSIGN_OR_RETURN(tokens_watch_,
                   FolderWatch::Start(loop_, state_.path() + "/tokens", [this] {
                     objects_.ChangeEverything();
                     changed_();
                   }));
  return absl::OkStatus();
}

void ManifestControlPlane::Take(Snapshot snapshot) {
  objects_.Replace(snapshot.world);
  mistakes_ = {.errors = std::move(snapshot.errors),
               .invalid = {},
               .partial = snapshot.partial};
}

// Where the disk refuses what was allocated, it goes on from memory.
absl::StatusOr<Allocation> ManifestControlPlane::AllocateFor(
    const Facts& facts) {
  std::optional<Allocation> allocation;
  const auto updated = state_.UpdateRecords([&](const Records& on_disk) {
    const bool durable = keeper_.IsDurable("records");
    allocation =
        Allocate(durable ? on_disk : records_, objects_.EdgeWorld(), facts);
    return allocation->records;
  });
  if (!allocation) return updated.status();
  records_ = allocation->records;
  keeper_.Keep("records", updated.status(), [this] {
    return state_.UpdateRecords([this](const Records&) { return records_; })
        .status();
  });
  return *std::move(allocation);
}

void ManifestControlPlane::Tell(const Telling& telling) {
  status_files_.Tell(telling.statuses, telling.changed, mistakes_.errors);
}

// The log is the place for it.
void ManifestControlPlane::Announce(const std::string& edge,
                                    const Happening& news) {
  spdlog::log(news.warning ? spdlog::level::warn : spdlog::level::info,
              "edge {}: {}: {}", edge, news.reason, news.message);
}

}  // namespace edged::agent
