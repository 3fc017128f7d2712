#include "edged/config.h"

#include <catch2/catch.hpp>

#include "common/files.h"
#include "common/status.h"
#include "tests/common/temporary_folder.h"

namespace edged::edge {
namespace {

std::string Refusal(std::string_view text) {
  const absl::Status status = ParseConfig(text, "edged.yaml").status();
  if (status.ok()) return "accepted";
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(status));
}

std::string Ports(const Config& config) {
  std::string text;
  for (const ReservedPort& port : config.reserved_ports) {
    text += ToString(port) + " ";
  }
  return text;
}

TEST_CASE("edged.yaml: what is left out has its default", "[config]") {
  for (const char* text : {"", "# nothing yet\n", "version: v1\n"}) {
    const auto config = ParseConfig(text, "edged.yaml");
    REQUIRE(config.status() == absl::OkStatus());
    CHECK(config->wireguard == wireguard::BackendChoice::kAuto);
    CHECK(Ports(*config) == "22/tcp ");
    CHECK(config->ownership == Ownership::kGuard);
    CHECK(config->state == "/var/lib/edged");
  }
}

TEST_CASE("edged.yaml: every field is read", "[config]") {
  const auto config = ParseConfig(
      "version: v1\n"
      "wireguard: userspace\n"
      "reservedPorts: [2222/tcp, 53/udp]\n"
      "ownership: none\n"
      "state: /srv/edged\n"
      "log:\n"
      "  format: json\n"
      "  level: debug\n",
      "edged.yaml");
  REQUIRE(config.status() == absl::OkStatus());
  CHECK(config->wireguard == wireguard::BackendChoice::kUserspace);
  CHECK(Ports(*config) == "2222/tcp 53/udp ");
  CHECK(config->ownership == Ownership::kNone);
  CHECK(config->state == "/srv/edged");
  CHECK(config->log.format == "json");
  CHECK(config->log.level == "debug");
}

TEST_CASE("edged.yaml: nothing is reserved when the list is empty",
          "[config]") {
  CHECK(Ports(*ParseConfig("version: v1\nreservedPorts: []\n", "")) == "");
}

TEST_CASE("edged.yaml: a mistake is named by file, line and key", "[config]") {
  CHECK(Refusal("wireguard: auto\n") == "edged.yaml:1: version: missing");
  CHECK(Refusal("version: v2\n") == "edged.yaml:1: version: \"v2\" is not v1");
  CHECK(Refusal("version: \"\"\n") ==
        "edged.yaml:1: version: must not be empty");
  CHECK(Refusal("version: 1\n") ==
        "edged.yaml:1: version: 1 is not a string: quote it");
  CHECK(Refusal("version: v1\n\nwireguard: fast\n") ==
        "edged.yaml:3: wireguard: \"fast\" is not auto, kernel or userspace");
  CHECK(Refusal("version: v1\nreservedport: []\n") ==
        "edged.yaml:2: reservedport: unknown field, did you mean "
        "reservedPorts?");
  CHECK(Refusal("version: v1\nownership: all\n") ==
        "edged.yaml:2: ownership: \"all\" is not none or guard");
  CHECK(Refusal("version: v1\nlog:\n  format: xml\n")
            .starts_with("edged.yaml:3: log.format: "));
  CHECK(Refusal("version: v1\nlog:\n  level: loud\n")
            .starts_with("edged.yaml:3: log.level: "));
  CHECK(Refusal("version: v1\nlog:\n  colour: x\n") ==
        "edged.yaml:3: log.colour: unknown field");
  CHECK(Refusal("version: v1\nlog: text\n") ==
        "edged.yaml:2: log: \"text\" is not an object");
  CHECK(Refusal("version: v1\nstate: 7\n") ==
        "edged.yaml:2: state: 7 is not a string: quote it");
  CHECK(Refusal("version: v1\nversion: v1\n").starts_with("edged.yaml:2: "));
  CHECK(Refusal("version: [\n").starts_with("edged.yaml:"));
  CHECK(Refusal("- version: v1\n") == "edged.yaml:1: a list is not an object");
  CHECK(Refusal("version: v1\n---\nversion: v1\n") ==
        "edged.yaml: holds 2 documents, not one");
}

TEST_CASE("edged.yaml: a reserved port is PORT/tcp or PORT/udp", "[config]") {
  for (const char* port :
       {"22", "22/", "/tcp", "0/tcp", "65536/udp", "70000/tcp", "-1/tcp",
        "22/sctp", "22/TCP", "22 /tcp", "22/tcp ", "ssh/tcp", "",
        "99999999999999999999/tcp"}) {
    CHECK(Refusal(fmt::format(
              "version: v1\nreservedPorts:\n- 22/tcp\n- \"{}\"\n", port)) ==
          fmt::format("edged.yaml:4: reservedPorts[1]: \"{}\" is not PORT/tcp "
                      "or PORT/udp",
                      port));
  }
  CHECK(Refusal("version: v1\nreservedPorts: 22/tcp\n") ==
        "edged.yaml:2: reservedPorts: \"22/tcp\" is not a list of strings");
  CHECK(Refusal("version: v1\nreservedPorts: [22]\n") ==
        "edged.yaml:2: reservedPorts[0]: 22 is not a string: quote it");
}

TEST_CASE("edged.yaml: the state folder is an absolute path", "[config]") {
  CHECK(Refusal("version: v1\nstate: \"\"\n") ==
        "edged.yaml:2: state: \"\" is not an absolute path");
  CHECK(Refusal("version: v1\nstate: var/edged\n") ==
        "edged.yaml:2: state: \"var/edged\" is not an absolute path");
}

TEST_CASE("edged.yaml: a missing file means the defaults", "[config]") {
  const TemporaryFolder folder;
  const auto config = LoadConfig(folder / "edged.yaml");
  REQUIRE(config.status() == absl::OkStatus());
  CHECK(Ports(*config) == "22/tcp ");
}

TEST_CASE("edged.yaml: a file that cannot be read is not a missing one",
          "[config]") {
  const TemporaryFolder folder;
  CHECK(!LoadConfig(folder.path()).ok());
}

TEST_CASE("edged.yaml: errors name the path that was loaded", "[config]") {
  const TemporaryFolder folder;
  const std::string path = folder / "edged.yaml";
  REQUIRE(WriteFileAtomically(path, "version: v3\n").ok());
  CHECK(Message(LoadConfig(path).status()) ==
        path + ":1: version: \"v3\" is not v1");
}

}  // namespace
}  // namespace edged::edge
