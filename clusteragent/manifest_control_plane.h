#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clusteragent/control_plane.h"
#include "clusteragent/source/manifest_dir.h"
#include "clusteragent/source/source_reader.h"
#include "clusteragent/state_folder.h"
#include "clusteragent/state_keeper.h"
#include "clusteragent/status_files.h"
#include "common/event_loop.h"
#include "common/files.h"

namespace edged::agent {

// A folder of manifests, and the state folder as memory. The one replica there
// is leads, in a term that begins with the process.
class ManifestControlPlane final : public ControlPlane {
 public:
  // All but the folder's name are borrowed.
  ManifestControlPlane(EventLoop& loop, const StateFolder& state,
                       StateKeeper& keeper, std::string manifests);
  ~ManifestControlPlane() override;

  absl::Status Start(std::function<void()> changed,
                     std::function<void()> heard) override;
  bool ready() const override { return true; }
  const ClusterIdentity& identity() const override { return identity_; }
  ObjectStore& objects() override { return objects_; }
  const Mistakes& mistakes() const override { return mistakes_; }
  bool may_flicker() const override { return true; }
  std::optional<Epoch> epoch() const override {
    return Epoch{identity_.uid, epoch_};
  }
  // Somebody else has a copy of the state folder, or it was put back: which of
  // them should go on is a person's to say.
  void Exceed(const std::string&, uint64_t) override {}
  Labels own_labels() const override { return {}; }
  std::vector<UplinkFacts> other_uplinks() const override { return {}; }
  absl::StatusOr<Allocation> AllocateFor(const Facts& facts) override;
  absl::StatusOr<std::optional<IssuedToken>> Token(
      const std::string& edge) const override {
    return state_.LoadToken(edge);
  }
  std::optional<EdgeEnrolment> Shared(const std::string&) const override {
    return std::nullopt;
  }
  // The state folder has it already.
  void Share(const std::string&, const EdgeEnrolment&,
             std::function<void()> done) override {
    done();
  }
  void Tell(const Telling& telling) override;
  void Announce(const std::string& edge, const Happening& news) override;
  void AnnounceOwn(const Happening&) override {}
  bool drains() const override { return false; }
  void Stop(std::function<void()> done) override { done(); }

 private:
  absl::Status WatchFolders();
  void Take(Snapshot snapshot);

  EventLoop& loop_;
  const StateFolder& state_;
  StateKeeper& keeper_;
  const std::string folder_;
  std::function<void()> changed_;
  ClusterIdentity identity_;
  uint64_t epoch_ = 0;
  ManifestDir source_;
  ObjectStore objects_;  // as last read
  Mistakes mistakes_;    // likewise
  Records records_;      // as last allocated
  StatusFiles status_files_;
  std::unique_ptr<SourceReader> reader_;
  std::unique_ptr<FolderWatch> manifests_watch_;
  std::unique_ptr<FolderWatch> tokens_watch_;
  EventLoop::TimerId resync_timer_ = 0;
};

}  // namespace edged::agent
