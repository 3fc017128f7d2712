#include "clusteragent/status_files.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "common/files.h"
#include "tests/clusteragent/edge/loop_runner.h"
#include "tests/common/temporary_folder.h"

namespace edged::agent {
namespace {

ObjectKey KeyOf(const std::string& name) {
  return {Kind::kPortBinding, "default", name};
}

// A state folder whose status files are told of, and what it says of them.
struct Told {
  Told() {
    files.emplace(runner.loop(), state, [this](const absl::Status& saved) {
      ++ended;
      last = saved;
    });
  }
  void Put(const std::string& name, const std::string& reason) {
    statuses[KeyOf(name)] = {
        .object = KeyOf(name),
        .conditions = {{"Ready", ConditionStatus::kTrue, reason, ""}}};
  }
  // Until it is written, or was refused.
  void Tell(const std::optional<std::set<ObjectKey>>& changed) {
    const int before = ended;
    files->Tell(statuses, changed, {"an error"});
    REQUIRE(runner.Until([&] { return ended > before; }));
  }
  std::string PathOf(const std::string& name) const {
    return folder / ("status/portbindings/default." + name + ".json");
  }
  // "web=one mail=two"
  std::string Written() const {
    std::string text;
    const auto loaded = state.LoadStatuses();
    REQUIRE(loaded.ok());
    for (const ObjectStatus& status : *loaded) {
      if (!text.empty()) text += " ";
      text += status.object.name + "=" + status.conditions[0].reason;
    }
    return text;
  }

  TemporaryFolder folder;
  const StateFolder state{folder.path()};
  LoopRunner runner;
  ObjectStatuses statuses;
  int ended = 0;
  absl::Status last;
  std::optional<StatusFiles> files;
};

TEST_CASE("status_files: of what changed alone a file is written",
          "[status_files]") {
  Told told;
  told.Put("web", "one");
  told.Put("mail", "one");
  told.Tell(std::nullopt);
  CHECK(told.Written() == "mail=one web=one");
  CHECK(told.state.LoadErrors() == std::vector<std::string>{"an error"});

  std::filesystem::remove(told.PathOf("mail"));
  told.Put("web", "two");
  told.Tell(std::set{KeyOf("web")});
  CHECK(told.Written() == "web=two");
  // Which somebody has removed is seen when all are looked at.
  told.files->Doubt();
  told.Tell(std::set<ObjectKey>());
  CHECK(told.Written() == "mail=one web=two");
}

TEST_CASE("status_files: an object that went takes its file with it",
          "[status_files]") {
  Told told;
  told.Put("web", "one");
  told.Put("mail", "one");
  told.Tell(std::nullopt);
  told.statuses.erase(KeyOf("mail"));
  told.Tell(std::set{KeyOf("mail")});
  CHECK(told.Written() == "web=one");
}

TEST_CASE("status_files: what is told in a row is written, nothing forgotten",
          "[status_files]") {
  Told told;
  told.Tell(std::nullopt);
  for (int i = 0; i < 100; ++i) {
    const std::string name = "o" + std::to_string(i);
    told.Put(name, "one");
    told.files->Tell(told.statuses, std::set{KeyOf(name)}, {});
  }
  CHECK(told.runner.Until(
      [&] { return told.state.LoadStatuses().value().size() == 100; }));
}

TEST_CASE("status_files: what the disk refuses is written when it can be",
          "[status_files]") {
  Told told;
  told.Put("mail", "one");
  told.Tell(std::nullopt);
  // A folder where the file should be.
  REQUIRE(std::filesystem::create_directories(told.PathOf("web") + "/x"));
  told.Put("web", "one");
  told.Tell(std::set{KeyOf("web")});
  CHECK_FALSE(told.last.ok());
  told.Put("mail", "two");
  told.Tell(std::set{KeyOf("mail")});
  std::filesystem::remove_all(told.PathOf("web"));
  REQUIRE(told.runner.Until([&] { return told.last.ok(); }));
  CHECK(told.Written() == "mail=two web=one");
}

}  // namespace
}  // namespace edged::agent
