#include "clusteragent/state_folder.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "tests/common/temporary_folder.h"

namespace edged::agent {
namespace {

PublicKey KeyOf(uint8_t byte) {
  std::array<uint8_t, kKeySize> bytes{};
  bytes.fill(byte);
  return PublicKey(bytes);
}

void Write(const std::string& path, const std::string& text) {
  REQUIRE(WriteFileAtomically(path, text).ok());
}

std::string Error(const absl::Status& status) {
  return std::string(Message(status));
}

// Adds an edge to the records.
absl::Status AddEdge(const StateFolder& state, const std::string& name) {
  return state
      .UpdateRecords([&name](const Records& before) {
        Records after = before;
        after.edges[name].uid = "uid of " + name;
        return after;
      })
      .status();
}

ObjectStatus StatusOf(Kind kind, const std::string& name,
                      const std::string& message) {
  return {
      .object = {kind, kind == Kind::kPortBinding ? "default" : "", name},
      .conditions = {{"Ready", ConditionStatus::kFalse, "Waiting", message}}};
}

ino_t FileNumber(const std::string& path) {
  struct stat found {};
  REQUIRE(stat(path.c_str(), &found) == 0);
  return found.st_ino;
}

TEST_CASE("state_folder: the identity is made once and stays",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder / "state");
  const auto first = state.Identity();
  REQUIRE(first.ok());
  CHECK(first->uid.size() == 36);
  CHECK(first->uid[14] == '4');
  CHECK_FALSE(first->control_key.is_zero());
  const auto second = StateFolder(folder / "state").Identity();
  REQUIRE(second.ok());
  CHECK(second->uid == first->uid);
  CHECK(second->control_key == first->control_key);
  CHECK(StateFolder(folder / "other").Identity()->uid != first->uid);
  struct stat found {};
  REQUIRE(stat((folder / "state/cluster.yaml").c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);
}

TEST_CASE("state_folder: two that need an identity at once make one",
          "[state_folder]") {
  const TemporaryFolder folder;
  std::vector<std::string> uids(4);
  std::vector<std::thread> threads;
  for (std::string& uid : uids) {
    threads.emplace_back([&folder, &uid] {
      const auto identity = StateFolder(folder / "state").Identity();
      uid = identity.ok() ? identity->uid : Error(identity.status());
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(uids == std::vector<std::string>(4, uids[0]));
  CHECK(uids[0].size() == 36);
}

TEST_CASE("state_folder: the epoch is kept", "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  CHECK(state.LastEpoch().value() == 0);
  REQUIRE(state.SetEpoch(40).ok());
  CHECK(StateFolder(folder.path()).LastEpoch().value() == 40);
}

TEST_CASE("state_folder: a damaged epoch does not begin at 1 again",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  for (const char* text : {"", "twelve\n", "-3\n"}) {
    Write(folder / "epoch", text);
    const auto epoch = state.LastEpoch();
    CHECK(absl::IsFailedPrecondition(epoch.status()));
    CHECK(Error(epoch.status()) ==
          (folder / "epoch") +
              ": holds no number; write one there that no edge has seen yet");
    CHECK(ReadFile(folder / "epoch").value() == text);
  }
}

TEST_CASE("state_folder: records survive", "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder / "state");
  CHECK(state.LoadRecords().value() == Records());
  REQUIRE(AddEdge(state, "a").ok());
  REQUIRE(AddEdge(state, "b").ok());
  const auto records = StateFolder(folder / "state").LoadRecords();
  REQUIRE(records.ok());
  REQUIRE(records->edges.size() == 2);
  CHECK(records->edges.at("a").uid == "uid of a");
}

TEST_CASE("state_folder: equal records are not written again",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  REQUIRE(AddEdge(state, "a").ok());
  const ino_t before = FileNumber(folder / "records.json");
  REQUIRE(AddEdge(state, "a").ok());
  CHECK(FileNumber(folder / "records.json") == before);
}

TEST_CASE("state_folder: damaged records are kept, each time under a new name",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  Write(folder / "records.json", "{\"version\": 1, \"edg");
  CHECK(absl::IsDataLoss(state.LoadRecords().status()));
  CHECK(Error(state.LoadRecords().status())
            .starts_with((folder / "records.json") + ": records: "));
  CHECK(ReadFile(folder / "records.json").ok());  // looking touched nothing

  REQUIRE(AddEdge(state, "a").ok());
  CHECK(ReadFile(folder / "records.json.damaged").value() ==
        "{\"version\": 1, \"edg");
  CHECK(state.LoadRecords()->edges.size() == 1);

  Write(folder / "records.json", "second");
  REQUIRE(AddEdge(state, "b").ok());
  CHECK(ReadFile(folder / "records.json.damaged").value() ==
        "{\"version\": 1, \"edg");
  CHECK(ReadFile(folder / "records.json.damaged.2").value() == "second");
}

TEST_CASE("state_folder: records that cannot be read are not overwritten",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  std::filesystem::create_directory(folder / "records.json");
  CHECK_FALSE(AddEdge(state, "a").ok());
  CHECK(std::filesystem::is_directory(folder / "records.json"));
}

TEST_CASE("state_folder: processes and threads that write at once all succeed",
          "[state_folder]") {
  constexpr int kEdges = 15;
  const TemporaryFolder folder;
  const auto add = [&folder](const std::string& writer) {
    const StateFolder state(folder.path());
    bool ok = true;
    for (int i = 0; i < kEdges; ++i) {
      ok = AddEdge(state, writer + std::to_string(i)).ok() && ok;
    }
    return ok;
  };
  const pid_t child = fork();
  if (child == 0) _exit(add("child") ? 0 : 1);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (const char* name : {"x", "y"}) {
    threads.emplace_back([&add, &good, name] { good += add(name) ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  int result = -1;
  REQUIRE(waitpid(child, &result, 0) == child);
  CHECK(result == 0);
  CHECK(good == 2);
  CHECK(StateFolder(folder.path()).LoadRecords()->edges.size() == 3 * kEdges);
}

TEST_CASE("state_folder: tokens and keys read as they were written",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  CHECK(state.LoadToken("vps").value() == std::nullopt);
  const IssuedToken token{"0123456789abcdef",
                          std::chrono::sys_seconds(std::chrono::seconds(1234)),
                          KeyOf(5)};
  REQUIRE(state.SaveToken("vps", token).ok());
  CHECK(state.LoadToken("vps").value() == token);
  CHECK(state.LoadToken("other").value() == std::nullopt);

  const auto made = state.LoadKey("vps");
  REQUIRE(made.ok());
  CHECK_FALSE(made->own.is_zero());
  CHECK(made->registered_with.is_zero());
  CHECK(state.LoadKey("vps").value() == *made);
  CHECK_FALSE(state.LoadKey("other")->own == made->own);
  UplinkKey registered{made->own, KeyOf(7), {KeyOf(7), {}}};
  REQUIRE(state.SaveKey("vps", registered).ok());
  CHECK(state.LoadKey("vps").value() == registered);
  registered.edge = {KeyOf(8), KeyOf(9)};
  REQUIRE(state.SaveKey("vps", registered).ok());
  CHECK(state.LoadKey("vps").value() == registered);
}

TEST_CASE("state_folder: a damaged token names its file and line",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  const std::string path = folder / "tokens/vps.yaml";
  Write(path, "tokenId: \"a\"\nexpires: soon\nedgePublicKey: \"\"\n");
  CHECK(Error(state.LoadToken("vps").status()) ==
        path +
            ":2: expires: \"soon\" is not a whole number from 0 to "
            "9223372036854775807");
  Write(path, "tokenId: \"a\"\nexpires: 1\nedgePublicKey: AAAA\n");
  CHECK(Error(state.LoadToken("vps").status()) ==
        path +
            ":3: edgePublicKey: \"AAAA\" is not a public key (base64 of 32 "
            "bytes)");
  Write(path, "");
  CHECK(Error(state.LoadToken("vps").status()) ==
        path + ": holds 0 documents, not one");
}

TEST_CASE("state_folder: a damaged key names its file and line, never the key",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  const std::string secret = PrivateKey::Generate().Reveal();
  const std::string path = folder / "keys/vps.yaml";
  const std::string zero = "registeredWith: " + PublicKey().ToString() + "\n";
  struct Damage {
    std::string text;
    std::string where;
  };
  const std::string start = secret.substr(0, 30);
  for (const auto& [text, where] : std::vector<Damage>{
           {"# ours\nprivateKey: " + start + "\n" + zero, ":2"},
           {"privateKey:" + secret + "\n", ""},      // one word: no object
           {secret + "\n", ""},                      // likewise
           {secret + ": x\nprivateKey: y\n", ":2"},  // a field of that name
           {"privateKey: [" + secret + "]\n" + zero, ":1"},
           {"privateKey: {" + secret + "\n", ""},  // not YAML
           {"privateKey: " + secret + "\n", ""},   // no registeredWith
           {"privateKey: " + secret + "\n" + zero + secret + ": 1\n", ":3"}}) {
    Write(path, text);
    const auto key = state.LoadKey("vps");
    INFO(text);
    CHECK(absl::IsDataLoss(key.status()));
    const std::string error = Error(key.status());
    CHECK(error.starts_with(path + where));
    CHECK(error.ends_with(
        ": damaged; it holds a private key, so it is not shown"));
    CHECK(error.find(secret.substr(0, 8)) == std::string::npos);
    CHECK(ReadFile(path).value() == text);  // no new key in its place
  }
  Write(folder / "cluster.yaml", "clusterUID: \"u\"\ncontrolPrivateKey: abc\n");
  CHECK(Error(state.Identity().status()) ==
        (folder / "cluster.yaml") +
            ":2: damaged; it holds a private key, so it is not shown");
}

TEST_CASE("state_folder: remembers links that it made to forward",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  CHECK(state.LoadSwitchedLinks().empty());
  const std::set<SwitchedLink> links{
      {"eth0"}, {"eth0", Family::kIpv6}, {"lan", Family::kIpv6}};
  REQUIRE(state.SaveSwitchedLinks(links).ok());
  CHECK(ReadFile(folder / "switched-links").value() ==
        "eth0\neth0 ipv6\nlan ipv6\n");
  CHECK(state.LoadSwitchedLinks() == links);
}

TEST_CASE("state_folder: remembers devices", "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  CHECK(state.LoadDevices().empty());
  REQUIRE(state.SaveDevices({"eu-1", "eu-2"}).ok());
  CHECK(state.LoadDevices() == std::vector<std::string>{"eu-1", "eu-2"});
  REQUIRE(state.SaveDevices({}).ok());
  CHECK(state.LoadDevices().empty());
}

TEST_CASE("state_folder: writes the statuses that changed, removes old ones",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  ObjectStatus edge = StatusOf(Kind::kEdgeNode, "vps", "one");
  const ObjectStatus web = StatusOf(Kind::kPortBinding, "web", "two");
  const ObjectStatus old = StatusOf(Kind::kPortBinding, "old", "three");
  REQUIRE(state.SaveStatuses({edge, old, web}).ok());
  CHECK(state.LoadStatuses().value() ==
        std::vector<ObjectStatus>{edge, old, web});
  const ino_t edge_file = FileNumber(folder / "status/edgenodes/vps.json");
  const std::string web_path = folder / "status/portbindings/default.web.json";
  const ino_t web_file = FileNumber(web_path);

  edge.conditions[0].status = ConditionStatus::kTrue;
  REQUIRE(state.SaveStatuses({edge, web}).ok());
  CHECK(state.LoadStatuses().value() == std::vector<ObjectStatus>{edge, web});
  CHECK(FileNumber(folder / "status/edgenodes/vps.json") != edge_file);
  CHECK(FileNumber(web_path) == web_file);
  CHECK(absl::IsNotFound(
      ReadFile(folder / "status/portbindings/default.old.json").status()));
}

TEST_CASE("state_folder: long names have a status, too", "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  const std::string name(250, 'a');
  const std::vector<ObjectStatus> statuses{
      StatusOf(Kind::kPortBinding, name + "b", "one"),
      StatusOf(Kind::kPortBinding, name + "c", "two")};
  REQUIRE(state.SaveStatuses(statuses) == absl::OkStatus());
  auto loaded = state.LoadStatuses().value();
  std::ranges::sort(loaded, {}, [](const ObjectStatus& status) {
    return status.object.name;
  });
  CHECK(loaded == statuses);
}

TEST_CASE("state_folder: statuses are read while the agent writes one",
          "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder.path());
  const ObjectStatus edge = StatusOf(Kind::kEdgeNode, "vps", "one");
  REQUIRE(state.SaveStatuses({edge}).ok());
  Write(folder / "status/edgenodes/.vps.json.Xy12ab", "{\"kind\": \"Ed");
  CHECK(state.LoadStatuses().value() == std::vector<ObjectStatus>{edge});
  Write(folder / "status/edgenodes/vps.json", "{");
  CHECK(Error(state.LoadStatuses().status())
            .starts_with((folder / "status/edgenodes/vps.json") + ": status"));
}

TEST_CASE("state_folder: belongs to one agent at a time", "[state_folder]") {
  const TemporaryFolder folder;
  const StateFolder state(folder / "state");
  {
    const auto lock = state.LockForAgent();
    REQUIRE(lock.ok());
    const auto second = StateFolder(folder / "state").LockForAgent();
    CHECK(absl::IsFailedPrecondition(second.status()));
    CHECK(Error(second.status()) == fmt::format("{}: locked by process {}",
                                                folder / "state/agent.lock",
                                                getpid()));
    CHECK(AddEdge(state, "a").ok());  // `clusteragent token` beside it
  }
  CHECK(state.LockForAgent().ok());
}

}  // namespace
}  // namespace edged::agent
