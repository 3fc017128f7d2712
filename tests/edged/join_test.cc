#include "edged/join.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "common/files.h"
#include "common/status.h"
#include "tests/common/temporary_folder.h"

namespace edged::edge {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr char kPrivate[] = "QAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAUE=";
constexpr char kControl[] = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const sys_seconds kNow{seconds(1'700'000'000)};

Join Sample() {
  return {.token_id = "0123456789abcdef",
          .cluster_uid = "7a1c",
          .edge = "paris",
          .listen_port = 51820,
          .network = *IpPrefix::Parse("10.200.0.0/22"),
          .private_key = *PrivateKey::Parse(kPrivate),
          .control_key = *PublicKey::Parse(kControl)};
}

protocol::Token Token(std::string id = "0123456789abcdef") {
  const Join join = Sample();
  return {.id = std::move(id),
          .cluster_uid = join.cluster_uid,
          .edge = join.edge,
          .expires = kNow + seconds(60),
          .listen_port = join.listen_port,
          .network = join.network,
          .edge_key = join.private_key,
          .control_key = join.control_key};
}

using Lines = std::map<std::string, std::string>;

// join.yaml with some values replaced; "" leaves the line out.
std::string JoinYaml(const Lines& replaced = {}) {
  Lines lines = {
      {"version", "v1"},          {"tokenId", "\"0123456789abcdef\""},
      {"clusterUID", "\"7a1c\""}, {"edge", "\"paris\""},
      {"listenPort", "51820"},    {"network", "10.200.0.0/22"},
      {"privateKey", kPrivate},   {"controlPublicKey", kControl}};
  for (const auto& [key, value] : replaced) lines[key] = value;
  std::string text;
  for (const auto& [key, value] : lines) {
    if (!value.empty()) text += key + ": " + value + "\n";
  }
  return text;
}

std::string Refusal(const std::string& text) {
  const absl::Status status = ParseJoin(text, "join.yaml").status();
  if (status.ok()) return "accepted";
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  const std::string message(Message(status));
  UNSCOPED_INFO(message);
  CHECK(message.find("AQEBAQ") == std::string::npos);
  return message;
}

std::string WordsOf(const absl::Status& status) {
  return absl::StatusCodeToString(status.code()) + ": " +
         std::string(Message(status));
}

TEST_CASE("join.yaml: what was written is read again", "[join]") {
  const auto join = ParseJoin(FormatJoin(Sample()), "join.yaml");
  REQUIRE(join.status() == absl::OkStatus());
  CHECK(*join == Sample());

  Join free = Sample();
  free.cluster_uid.clear();
  free.network = *IpPrefix::Parse("172.16.0.0/16");
  CHECK(*ParseJoin(FormatJoin(free), "join.yaml") == free);
}

TEST_CASE("join.yaml: names with any letters are read again", "[join]") {
  for (const char* name :
       {"a\"b", "a\\b", "a\\", "#", ": ", "null", "a\nb", "\xc3\xa9", "{x}"}) {
    Join join = Sample();
    join.edge = name;
    join.cluster_uid = name;
    const auto read = ParseJoin(FormatJoin(join), "join.yaml");
    INFO(FormatJoin(join));
    REQUIRE(read.status() == absl::OkStatus());
    CHECK(*read == join);
  }
}

TEST_CASE("join.yaml: an unnamed owner is whoever calls first", "[join]") {
  const auto join = ParseJoin(JoinYaml({{"clusterUID", ""}}), "join.yaml");
  REQUIRE(join.status() == absl::OkStatus());
  CHECK(join->cluster_uid.empty());
}

// In JoinYaml the keys stand in alphabetical order.
TEST_CASE("join.yaml: each wrong field is named with its line", "[join]") {
  CHECK(Refusal(JoinYaml()) == "accepted");
  CHECK(Refusal(JoinYaml({{"version", "v2"}})) ==
        "join.yaml:8: version: \"v2\" is not v1");
  CHECK(Refusal(JoinYaml({{"tokenId", "\"\""}})) ==
        "join.yaml:7: tokenId: must not be empty");
  CHECK(Refusal(JoinYaml({{"clusterUID", "12"}})) ==
        "join.yaml:1: clusterUID: 12 is not a string: quote it");
  CHECK(Refusal(JoinYaml({{"edge", "\"\""}})) ==
        "join.yaml:3: edge: must not be empty");
  CHECK(Refusal(JoinYaml({{"listenPort", "0"}})) ==
        "join.yaml:4: listenPort: 0 is not a port (1-65535)");
  CHECK(Refusal(JoinYaml({{"listenPort", "70000"}})) ==
        "join.yaml:4: listenPort: 70000 is not a port (1-65535)");
  CHECK(Refusal(JoinYaml({{"listenPort", "-1"}})) ==
        "join.yaml:4: listenPort: -1 is not a port (1-65535)");
  CHECK(Refusal(JoinYaml({{"network", "not-a-cidr"}})) ==
        "join.yaml:5: network: \"not-a-cidr\" is not a prefix: it has no "
        "/length");
  CHECK(Refusal(JoinYaml({{"network", "10.200.0.1/22"}})) ==
        "join.yaml:5: network: \"10.200.0.1/22\" has host bits set: "
        "10.200.0.0/22 was meant?");
  CHECK(Refusal(JoinYaml({{"network", "\"fd00:1::/64\""}})) ==
        "join.yaml:5: network: fd00:1::/64 is not an IPv4 network; the one for "
        "IPv6 comes from the agent");
  CHECK(Refusal(JoinYaml({{"network", "10.200.0.0/26"}}))
            .starts_with("join.yaml:5: network: "));
  CHECK(Refusal(JoinYaml({{"privateKey", "AQEB"}})) ==
        "join.yaml:6: privateKey: not a private key (base64 of 32 bytes)");
  CHECK(Refusal(JoinYaml({{"controlPublicKey", "AQEB"}})) ==
        "join.yaml:2: controlPublicKey: \"AQEB\" is not a public key (base64 "
        "of 32 bytes)");
  CHECK(Refusal(JoinYaml({{"zone", "x"}})) ==
        "join.yaml:9: zone: unknown field");
}

TEST_CASE("join.yaml: each missing field is named", "[join]") {
  for (const char* key : {"version", "tokenId", "edge", "listenPort", "network",
                          "privateKey", "controlPublicKey"}) {
    CHECK_THAT(Refusal(JoinYaml({{key, ""}})),
               Catch::StartsWith("join.yaml:1: ") &&
                   Catch::EndsWith(fmt::format("{}: missing", key)));
  }
}

TEST_CASE("join.yaml: no wrong field repeats the private key", "[join]") {
  const std::string key = kPrivate;
  for (const std::string& value :
       {key + "AA", key.substr(0, 30), "[" + key + "]", "\"" + key,
        "{" + key + ": 1}", "|\n  " + key + "\n  x", "!!binary " + key,
        "&a " + key, key + ": " + key, key + "\nprivateKey: " + key}) {
    CHECK(Refusal(JoinYaml({{"privateKey", value}})) != "accepted");
  }
  CHECK(Refusal("privateKey " + key) != "accepted");
  CHECK(Refusal("privateKey:" + key) != "accepted");
  CHECK(Refusal(JoinYaml({{"privateKey", ""}}) + "privateKey:" + key) !=
        "accepted");
  CHECK(Refusal(key) != "accepted");
  CHECK(Refusal("- " + key) != "accepted");
}

TEST_CASE("join.yaml: holds one document", "[join]") {
  CHECK(Refusal("") == "join.yaml: holds 0 documents, not one");
  CHECK(Refusal(JoinYaml() + "---\n" + JoinYaml()) ==
        "join.yaml: holds 2 documents, not one");
}

TEST_CASE("join: a token enrols once", "[join]") {
  const TemporaryFolder state;
  CHECK(absl::IsNotFound(LoadJoin(state.path()).status()));
  const auto join =
      JoinWithToken(state.path(), protocol::Encode(Token()), kNow);
  REQUIRE(join.status() == absl::OkStatus());
  CHECK(*join == Sample());
  CHECK(*LoadJoin(state.path()) == Sample());
  struct stat file;
  REQUIRE(stat(JoinPath(state.path()).c_str(), &file) == 0);
  CHECK((file.st_mode & 0777) == 0600);

  CHECK(WordsOf(JoinWithToken(state.path(), protocol::Encode(Token()), kNow)
                    .status()) ==
        "FAILED_PRECONDITION: token 0123456789abcdef: was used here before, "
        "and a token is good once; make a new one with `clusteragent token "
        "paris`");
  CHECK(WordsOf(JoinWithToken(state.path(),
                              protocol::Encode(Token("fedcba9876543210")), kNow)
                    .status()) ==
        "FAILED_PRECONDITION: this edge is enrolled already, as paris of "
        "cluster 7a1c; `edged reset` removes that");
}

TEST_CASE("join: a used token stays used after leaving", "[join]") {
  const TemporaryFolder state;
  REQUIRE(JoinWithToken(state.path(), protocol::Encode(Token()), kNow).ok());
  REQUIRE(Leave(state.path()).ok());
  CHECK(Leave(state.path()).ok());
  CHECK(absl::IsNotFound(LoadJoin(state.path()).status()));
  CHECK(absl::IsFailedPrecondition(
      JoinWithToken(state.path(), protocol::Encode(Token()), kNow).status()));
  // A refused token was not used up, though.
  const std::string other = protocol::Encode(Token("fedcba9876543210"));
  CHECK(JoinWithToken(state.path(), other, kNow).ok());
  REQUIRE(Leave(state.path()).ok());
  CHECK(absl::IsFailedPrecondition(
      JoinWithToken(state.path(), protocol::Encode(Token()), kNow).status()));
}

TEST_CASE("join: a token that was refused is not used up", "[join]") {
  const TemporaryFolder state;
  const std::string other = protocol::Encode(Token("fedcba9876543210"));
  REQUIRE(JoinWithToken(state.path(), protocol::Encode(Token()), kNow).ok());
  REQUIRE(!JoinWithToken(state.path(), other, kNow).ok());
  REQUIRE(Leave(state.path()).ok());
  CHECK(JoinWithToken(state.path(), other, kNow).status() == absl::OkStatus());
}

TEST_CASE("join: an expired token is refused", "[join]") {
  const TemporaryFolder state;
  const std::string text = protocol::Encode(Token());
  CHECK(
      WordsOf(JoinWithToken(state.path(), text, kNow + seconds(90)).status()) ==
      "FAILED_PRECONDITION: token 0123456789abcdef: expired 30 s ago; make a "
      "new one with `clusteragent token paris`");
  CHECK(!JoinWithToken(state.path(), text, kNow + seconds(60)).ok());
  CHECK(absl::IsNotFound(LoadJoin(state.path()).status()));
  CHECK(JoinWithToken(state.path(), text, kNow + seconds(59)).ok());
}

TEST_CASE("join: a damaged token changes nothing", "[join]") {
  const TemporaryFolder state;
  const std::string text = protocol::Encode(Token());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    CHECK(!JoinWithToken(state.path(), damaged, kNow).ok());
    CHECK(!JoinWithToken(state.path(), text.substr(0, i), kNow).ok());
  }
  CHECK(std::filesystem::is_empty(state.path()));
}

TEST_CASE("join: a token whose join.yaml would not be read is refused",
          "[join]") {
  const TemporaryFolder state;
  protocol::Token token = Token();
  token.network = *IpPrefix::Parse("10.200.0.0/30");
  const absl::Status status =
      JoinWithToken(state.path(), protocol::Encode(token), kNow).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(
      std::string(Message(status)),
      Catch::StartsWith("token 0123456789abcdef: join.yaml:7: network: "));
  CHECK(std::filesystem::is_empty(state.path()));
}

TEST_CASE("join: nothing is overwritten while the enrolment cannot be read",
          "[join]") {
  const TemporaryFolder state;
  REQUIRE(WriteFileAtomically(JoinPath(state.path()), "half a fi").ok());
  const absl::Status status =
      JoinWithToken(state.path(), protocol::Encode(Token()), kNow).status();
  CHECK(WordsOf(status).starts_with("FAILED_PRECONDITION: "));
  CHECK_THAT(std::string(Message(status)), Catch::Contains("edged reset"));
  CHECK(*ReadFile(JoinPath(state.path())) == "half a fi");
}

TEST_CASE("join: a folder that cannot be written is an error that names it",
          "[join]") {
  const TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "file", "").ok());
  const std::string below = folder / "file/state";
  const absl::Status status =
      JoinWithToken(below, protocol::Encode(Token()), kNow).status();
  CHECK_THAT(std::string(Message(status)), Catch::Contains(folder / "file"));
}

TEST_CASE("join: a forgotten owner leaves the tunnel as it is", "[join]") {
  const TemporaryFolder state;
  CHECK(absl::IsNotFound(ForgetOwner(state.path())));
  REQUIRE(JoinWithToken(state.path(), protocol::Encode(Token()), kNow).ok());
  REQUIRE(ForgetOwner(state.path()) == absl::OkStatus());
  Join free = Sample();
  free.cluster_uid.clear();
  CHECK(*LoadJoin(state.path()) == free);
  // The old owner's epochs mean nothing to the next.
  CHECK(TakeForgetEpochRequest(state.path()));
}

TEST_CASE("join: a request to forget the epoch is taken once", "[join]") {
  const TemporaryFolder state;
  CHECK(!TakeForgetEpochRequest(state.path()));
  REQUIRE(RequestForgetEpoch(state.path()) == absl::OkStatus());
  REQUIRE(RequestForgetEpoch(state.path()) == absl::OkStatus());
  CHECK(TakeForgetEpochRequest(state.path()));
  CHECK(!TakeForgetEpochRequest(state.path()));
}

TEST_CASE("join: keys read as they were written, in each phase", "[join]") {
  const TemporaryFolder state;
  const Join join = Sample();
  CHECK(*LoadKeys(state.path(), join) == OwnKeys{.key = join.private_key});
  OwnKeys keys{.key = PrivateKey::Generate()};
  const auto survives = [&] {
    REQUIRE(SaveKeys(state.path(), join, keys) == absl::OkStatus());
    return *LoadKeys(state.path(), join) == keys;
  };
  CHECK(survives());
  keys.phase = OwnKeys::Phase::kProposed;
  keys.next = PrivateKey::Generate();
  CHECK(survives());
  keys.phase = OwnKeys::Phase::kSwitching;
  keys.switched = kNow;
  CHECK(survives());
}

TEST_CASE("join: keys of another token count for nothing", "[join]") {
  const TemporaryFolder state;
  Join join = Sample();
  REQUIRE(SaveKeys(state.path(), join, {.key = PrivateKey::Generate()}).ok());
  join.token_id = "fedcba9876543210";
  CHECK(LoadKeys(state.path(), join)->key == join.private_key);
}

TEST_CASE("join: a damaged key file is named, and not shown", "[join]") {
  const TemporaryFolder state;
  for (const std::string text :
       {std::string("privateKey: ") + kPrivate + "\n", std::string("- a\n"),
        std::string("version: v1\ntokenId: a\nprivateKey: ") + kPrivate +
            "\nswitched: 1\n"}) {
    REQUIRE(WriteFileAtomically(state / "key.yaml", text).ok());
    CHECK(WordsOf(LoadKeys(state.path(), Sample()).status()) ==
          "FAILED_PRECONDITION: " + (state / "key.yaml") +
              ": damaged; it holds a private key, so it is not shown");
  }
}

TEST_CASE("join: leaving takes the keys, too", "[join]") {
  const TemporaryFolder state;
  REQUIRE(
      SaveKeys(state.path(), Sample(), {.key = PrivateKey::Generate()}).ok());
  REQUIRE(Leave(state.path()) == absl::OkStatus());
  CHECK(absl::IsNotFound(ReadFile(state / "key.yaml").status()));
}

}  // namespace
}  // namespace edged::edge
