// The small files of both state folders: keys, the cluster's identity, tokens
// given out, epoch. The input takes the place of each.

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "clusteragent/state_folder.h"
#include "common/files.h"
#include "common/status.h"
#include "edged/join.h"
#include "tests/fuzz/one_line.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

// Memory, not a disk: every input is a file.
class Folder {
 public:
  Folder() { Require(mkdtemp(path_) != nullptr, "a folder in /dev/shm"); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_; }

 private:
  char path_[32] = "/dev/shm/edged-fuzz-XXXXXX";
};

PrivateKey Key(uint8_t byte) {
  std::array<uint8_t, kKeySize> key;
  key.fill(byte);
  return PrivateKey(key);
}

const edge::Join& Enrolment() {
  static const edge::Join join{.token_id = "0123456789abcdef",
                               .private_key = Key(0x40)};
  return join;
}

bool TryEdgeKeys(const std::string& folder) {
  const auto keys = edge::LoadKeys(folder, Enrolment());
  if (!keys.ok()) {
    RequireOneLine(Message(keys.status()));
    return false;
  }
  Require(edge::SaveKeys(folder, Enrolment(), *keys).ok(), "keys are saved");
  const auto again = edge::LoadKeys(folder, Enrolment());
  Require(again.ok() && *again == *keys, "keys are read as they were saved");
  return true;
}

bool TryUplinkKey(const agent::StateFolder& folder) {
  const auto key = folder.LoadKey("a");
  if (!key.ok()) {
    RequireOneLine(Message(key.status()));
    return false;
  }
  Require(folder.SaveKey("a", *key).ok(), "a key is saved");
  const auto again = folder.LoadKey("a");
  Require(again.ok() && *again == *key, "a key is read as it was saved");
  return true;
}

bool TryToken(const agent::StateFolder& folder) {
  const auto token = folder.LoadToken("a");
  if (!token.ok()) {
    RequireOneLine(Message(token.status()));
    return false;
  }
  Require(token->has_value(), "a token is there");
  return true;
}

void Put(const std::string& folder, const std::string& name, Input input) {
  Require(WriteFileAtomically(folder + "/" + name, AsText(input)).ok(),
          "a file");
}

}  // namespace

bool Try(Input input) {
  static const Folder place;
  const agent::StateFolder folder(place.path());
  for (const char* name :
       {"key.yaml", "keys/a.yaml", "tokens/a.yaml", "cluster.yaml", "epoch"}) {
    Put(place.path(), name, input);
  }
  const bool edge_keys = TryEdgeKeys(place.path());
  const bool uplink_key = TryUplinkKey(folder);
  const bool token = TryToken(folder);
  const bool identity = folder.Identity().ok();
  const bool epoch = folder.LastEpoch().ok();
  return edge_keys || uplink_key || token || identity || epoch;
}

std::vector<std::string> Seeds() {
  const Folder place;
  const agent::StateFolder folder(place.path());
  const auto read = [&place](const char* name) {
    return *ReadFile(place.path() + "/" + name);
  };
  std::vector<std::string> seeds{"41\n"};
  edge::OwnKeys keys{.phase = edge::OwnKeys::Phase::kSwitching,
                     .key = Key(0x41),
                     .next = Key(0x42)};
  Require(edge::SaveKeys(place.path(), Enrolment(), keys).ok(), "a seed");
  seeds.push_back(read("key.yaml"));
  agent::UplinkKey key{
      .own = Key(0x43),
      .registered_with = Key(0x44).Public(),
      .edge = {.key = Key(0x44).Public(), .other = Key(0x45).Public()}};
  Require(folder.SaveKey("a", key).ok(), "a seed");
  seeds.push_back(read("keys/a.yaml"));
  Require(folder.SaveToken("a", {.id = "0123", .edge_key = key.edge.key}).ok(),
          "a seed");
  seeds.push_back(read("tokens/a.yaml"));
  Require(folder.Identity().ok(), "a seed");
  seeds.push_back(read("cluster.yaml"));
  return seeds;
}

}  // namespace edged::fuzz
