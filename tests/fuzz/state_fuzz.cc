// The state file, as edged finds it after a restart. The input is taken twice:
// as the file, and as content with the right checksum in front.

#include <stdlib.h>
#include <unistd.h>

#include "common/files.h"
#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "edged/core/edge_model.h"
#include "edged/system/state_store.h"
#include "edged/v1/state.pb.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

using edge::StateStore;

// Memory, not a disk: every input is a file.
class Folder {
 public:
  Folder() { Require(mkdtemp(path_) != nullptr, "a folder in /dev/shm"); }
  ~Folder() {
    for (const char* name : {"/state", "/state.damaged"}) {
      unlink((path() + name).c_str());
    }
    rmdir(path_);
  }
  std::string path() const { return path_; }

 private:
  char path_[32] = "/dev/shm/edged-fuzz-XXXXXX";
};

bool TryFile(const std::string& folder) {
  StateStore store(folder);
  const auto state = store.Load();
  if (!state.ok()) {
    Require(absl::IsDataLoss(state.status()), Message(state.status()));
    Require(store.Load().ok(), "a damaged file is out of the way");
    return false;
  }
  Require(store.Save(*state).ok(), "a state that was read can be saved");
  const auto again = store.Load();
  Require(again.ok() && *again == *state, "a state is read as it was saved");
  // As the daemon takes it over.
  (void)edge::EdgeModel()
      .JudgeSnapshot(state->state, edge::SampleLimits())
      .status();
  return true;
}

v1::StoredState Sample() {
  v1::StoredState state;
  state.mutable_epoch()->set_cluster_uid("home");
  state.mutable_epoch()->set_number(7);
  protocol::EdgeState records = edge::SampleState();
  *state.mutable_settings() = record_proto::ToProto(records.settings);
  for (const auto& uplink : records.uplinks) {
    *state.add_uplinks() = record_proto::ToProto(uplink);
  }
  for (const auto& group : records.groups) {
    *state.add_groups() = record_proto::ToProto(group);
  }
  *state.add_mappings() =
      record_proto::ToProto(protocol::Mapping{edge::Tcp(443), "g1"});
  v1::StoredEndpoint& endpoint = *state.add_endpoints();
  endpoint.set_public_key(edge::Key(1).ToString());
  endpoint.set_endpoint("198.51.100.7:40123");
  state.add_switched_interfaces("eth0");
  return state;
}

}  // namespace

bool Try(Input input) {
  static const Folder folder;
  const std::string path = folder.path() + "/state";
  Require(WriteFileAtomically(path, AsText(input)).ok(), "a file");
  const bool as_file = TryFile(folder.path());
  Require(WriteChecksummed(path, AsText(input)).ok(), "a file");
  const bool as_content = TryFile(folder.path());
  return as_file || as_content;
}

std::vector<std::string> Seeds() {
  const Folder folder;
  const std::string content = Sample().SerializeAsString();
  const std::string path = folder.path() + "/state";
  Require(WriteChecksummed(path, content).ok(), "a file");
  return {content, *ReadFile(path)};
}

}  // namespace edged::fuzz
