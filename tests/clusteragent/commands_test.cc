#include "clusteragent/commands.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "clusteragent/source/state_json.h"
#include "clusteragent/state_folder.h"
#include "common/files.h"
#include "common/protocol/token.h"
#include "common/status.h"
#include "tests/clusteragent/core/objects_for_test.h"
#include "tests/common/temporary_folder.h"

namespace edged::agent {
namespace {

using std::chrono::seconds;

constexpr char kEdges[] = R"(apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata: {name: vps}
spec:
  address: 203.0.113.1
  publicIPs: [{address: 203.0.113.1}]
)";

constexpr char kBindings[] = R"(apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata: {name: web}
spec:
  edgeNodeRef: {name: vps}
  bindings:
  - name: http
    protocol: TCP
    listenPort: 80
    target: {address: 192.168.1.10, port: 8080}
    clientIP: Preserve
  - name: ssh
    protocol: TCP
    listenPort: 22
    target: {address: 192.168.1.10, port: 22}
)";

// A private host with one address and the network that it is in.
UplinkHost HomeHost() {
  return {.local_addresses = {Ip("192.168.1.10")},
          .routes = {Prefix("192.168.1.0/24")}};
}

struct Setup {
  TemporaryFolder folder;
  const std::string manifests = folder / "manifests";
  const std::string state = folder / "state";

  Setup() { REQUIRE(MakeFolders(manifests).ok()); }
  void Write(const std::string& name, const std::string& text) const {
    REQUIRE(WriteFileAtomically(manifests + "/" + name, text).ok());
  }
  std::string Plan(const UplinkHost& host = HomeHost()) const {
    const auto text = PlanCommand(manifests, state, "home", host);
    return text.ok() ? *text : text.status().ToString();
  }
  // The text or the error.
  std::string Token(const std::string& edge,
                    const UplinkHost& host = HomeHost(),
                    seconds lifetime = seconds(60)) const {
    const auto text = TokenCommand(edge, manifests, state, host, lifetime);
    return text.ok() ? *text : text.status().ToString();
  }
  Records RecordsNow() const {
    return StateFolder(state).LoadRecords().value();
  }
};

// ---- plan ----

TEST_CASE("commands: plan says what each edge would get", "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  setup.Write("web.yaml", kBindings);
  CHECK(setup.Plan() == R"(EdgeNode vps
  dial       203.0.113.1 port 51820
  network    10.200.0.0/22
  network6   fdc8:abab:ab55:1::/64
  tunnel     mtu auto, keepalive 25 s
  heartbeat  every 250 ms, dead after 3 missed
  public     203.0.113.1 (index 1)
  uplink     home (10.200.0.16/28, key not known here)
  group      g-dd77e931a346: 203.0.113.1 to [home]
  map  203.0.113.1 tcp/80  to  192.168.1.10:8080  Preserve  default/web/http
Refused
  PortReserved: PortBinding default/web: spec.bindings[1] "ssh": tcp/22 touches tcp/22, a reserved port of EdgeNode vps
)");
}

TEST_CASE("commands: plan knows the host that it runs on", "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  setup.Write("web.yaml", kBindings);
  const std::string elsewhere =
      setup.Plan({.local_addresses = {Ip("10.7.0.1")},
                  .routes = {Prefix("10.200.0.0/16")}});
  CHECK(elsewhere.find("PreserveNotPossible") != std::string::npos);
  CHECK(elsewhere.find("network    10.201.0.0/22\n") != std::string::npos);
}

TEST_CASE("commands: plan names mistakes first and plans the rest",
          "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  setup.Write("broken.yaml", "kind: [\n");
  setup.Write("wrong.yaml", "apiVersion: edged.dev/v1alpha1\nkind: EdgeNod\n");
  const std::string text = setup.Plan();
  INFO(text);
  CHECK(text.starts_with("error: broken.yaml:2: "));
  CHECK(
      text.find("\nerror: wrong.yaml:2: kind: \"EdgeNod\" is neither EdgeNode "
                "nor PortBinding; nothing of this file is served\n"
                "EdgeNode vps\n") != std::string::npos);
}

TEST_CASE("commands: plan touches nothing and uses what is recorded",
          "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  setup.Plan();
  CHECK(absl::IsNotFound(ListFolder(setup.state).status()));
  REQUIRE(setup.Token("vps", {.routes = {Prefix("10.200.0.0/16")}})
              .starts_with("edged1."));
  CHECK(setup.Plan().find("network    10.201.0.0/22\n") != std::string::npos);
  REQUIRE(WriteFileAtomically(setup.state + "/records.json", "{").ok());
  CHECK(setup.Plan().starts_with("DATA_LOSS: " + setup.state));
  CHECK(ReadFile(setup.state + "/records.json").value() == "{");
}

TEST_CASE("commands: plan and token need a folder of manifests", "[commands]") {
  CHECK(absl::IsNotFound(
      PlanCommand("/no/such/folder", "", "home", {}).status()));
  CHECK(absl::IsNotFound(
      TokenCommand("vps", "/no/such/folder", "/no/such", {}, seconds(1))
          .status()));
}

// ---- validate ----

TEST_CASE("commands: validate names file and line of each mistake",
          "[commands]") {
  const Setup setup;
  setup.Write("good.yaml", kEdges);
  setup.Write("yaml.yaml", "a: b\nc: [\n");
  setup.Write("field.yaml", std::string(kEdges) + "  tunel: {}\n");
  setup.Write("bindings.yaml", R"(# Two objects, the second one wrong twice.
apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata: {name: vps}
spec: {address: 203.0.113.1}
---
apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata: {name: web}
spec:
  edgeNodeRef: {name: vps}
  bindings:
  - {name: a, protocol: TCP, listenPort: 70000, target: {address: 10.0.0.1, port: 1}}
  - {name: b, protocol: TCP, listenPort: 80, target: {address: 10.0.0.1, port: 1}}
  - {name: c, protocol: SCTP, listenPort: 80, target: {address: 10.0.0.1, port: 1}}
)");
  setup.Write("twice.yaml",
              "apiVersion: edged.dev/v1alpha1\nkind: EdgeNode\n"
              "metadata: {name: vps}\nspec: {address: 203.0.113.2}\n");
  setup.Write("two.yaml",
              "apiVersion: edged.dev/v1alpha1\nkind: Node\n---\n"
              "apiVersion: edged.dev/v1alpha1\nkind: EdgeNode\n"
              "metadata: {name: vps}\n"
              "spec: {address: 203.0.113.1, tunel: {}}\n");
  const auto validate = [&setup](const std::string& name) {
    std::vector<std::string> errors =
        ValidateCommand({setup.manifests + "/" + name});
    for (std::string& error : errors) {
      CHECK(error.starts_with(setup.manifests + "/"));
      error.erase(0, setup.manifests.size() + 1);
    }
    return errors;
  };
  CHECK(validate("good.yaml").empty());
  REQUIRE(validate("yaml.yaml").size() == 1);
  CHECK(validate("yaml.yaml")[0].starts_with("yaml.yaml:3: "));
  CHECK(validate("field.yaml") ==
        std::vector<std::string>{
            "field.yaml:7: spec.tunel: unknown field, did you mean tunnel?"});
  // Each document is judged, also behind a wrong one.
  CHECK(validate("two.yaml") ==
        std::vector<std::string>{
            "two.yaml:2: kind: \"Node\" is neither EdgeNode nor PortBinding",
            "two.yaml:7: spec.tunel: unknown field, did you mean tunnel?"});
  const auto errors = validate("bindings.yaml");
  REQUIRE(errors.size() == 2);
  CHECK(errors[0] ==
        "bindings.yaml:7: InvalidPort: PortBinding default/web: "
        "spec.bindings[0].listenPort: 70000 is not a port (1-65535)");
  CHECK(errors[1] ==
        "bindings.yaml:7: InvalidProtocol: PortBinding default/web: "
        "spec.bindings[2].protocol: \"SCTP\" is neither TCP nor UDP");
  // One object twice, in one file or in two.
  CHECK(ValidateCommand({setup.manifests + "/bindings.yaml",
                         setup.manifests + "/twice.yaml"})
            .back() == fmt::format("{0}/twice.yaml:1: EdgeNode vps stands at "
                                   "{0}/bindings.yaml:2 already",
                                   setup.manifests));
  CHECK(validate("none.yaml") ==
        std::vector<std::string>{"none.yaml: No such file or directory"});
}

// ---- status ----

TEST_CASE("commands: status prints what the agent said last", "[commands]") {
  const Setup setup;
  CHECK(StatusCommand(setup.state, false).status().ToString() ==
        "NOT_FOUND: " + setup.state +
            "/status: no status yet; is `clusteragent run` running?");
  const ObjectStatus edge{
      .object = {Kind::kEdgeNode, "", "vps"},
      .conditions = {{"Ready", ConditionStatus::kFalse, "TunnelDown", "none"}},
      .values = {{"network", "10.200.0.0/22"}}};
  const ObjectStatus web{
      .object = {Kind::kPortBinding, "default", "web"},
      .bindings = {{"http",
                    {"vps 203.0.113.1 tcp/80"},
                    {"Ready", ConditionStatus::kTrue, "Ready", ""}}}};
  REQUIRE(StateFolder(setup.state).SaveStatuses({edge, web}).ok());
  CHECK(StatusCommand(setup.state, false).value() ==
        "EDGENODE  NETWORK        ENROLLED  TUNNEL   PROGRAMMED  READY  WHY\n"
        "vps       10.200.0.0/22  Unknown   Unknown  Unknown     False  "
        "TunnelDown: none\n"
        "\n"
        "PORTBINDING  BINDING  LISTENERS               READY  WHY\n"
        "default/web  http     vps 203.0.113.1 tcp/80  True   -\n");
  CHECK(StatusCommand(setup.state, true).value() ==
        ToJson(edge) + "\n" + ToJson(web) + "\n");
}

// ---- token ----

TEST_CASE("commands: a token holds what the records say", "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  const auto before = std::chrono::system_clock::now();
  const auto token = protocol::DecodeToken(setup.Token("vps"));
  REQUIRE(token.ok());
  const EdgeRecord record = setup.RecordsNow().edges.at("vps");
  const StateFolder state(setup.state);
  const ClusterIdentity identity = state.Identity().value();
  CHECK(token->id.size() == 16);
  CHECK(token->cluster_uid == identity.uid);
  CHECK(token->edge == "vps");
  CHECK(token->expires >= before + seconds(59));
  CHECK(token->expires <= std::chrono::system_clock::now() + seconds(60));
  CHECK(token->listen_port == record.listen_port);
  CHECK(token->network == record.network);
  CHECK(token->network == Prefix("10.200.0.0/22"));
  CHECK(token->control_key == identity.control_key.Public());
  const auto issued = state.LoadToken("vps").value();
  REQUIRE(issued);
  CHECK(*issued ==
        IssuedToken{token->id, token->expires, token->edge_key.Public()});
}

TEST_CASE("commands: a second token replaces the first", "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  const auto first = protocol::DecodeToken(setup.Token("vps")).value();
  const auto second = protocol::DecodeToken(setup.Token("vps")).value();
  CHECK(first.id != second.id);
  CHECK_FALSE(first.edge_key == second.edge_key);
  CHECK(first.network == second.network);
  CHECK(first.control_key == second.control_key);
  CHECK(StateFolder(setup.state).LoadToken("vps").value()->id == second.id);
}

TEST_CASE("commands: no token for what is not an EdgeNode", "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  CHECK(setup.Token("vsp") ==
        "NOT_FOUND: EdgeNode vsp: no such object in " + setup.manifests);
  CHECK(setup.Token("../vps").starts_with("NOT_FOUND: "));
  CHECK(setup.Token("vps", HomeHost(), seconds(0)) ==
        "INVALID_ARGUMENT: a token that is good for 0 s is no use");
  setup.Write("more.yaml", "kind: [\n");
  CHECK(setup.Token("vsp").starts_with(
      "FAILED_PRECONDITION: EdgeNode vsp: not found; more.yaml:2: "));
  CHECK(setup.Token("vps").starts_with("edged1."));
}

TEST_CASE("commands: an edge without a network gets no token", "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml",
              std::string(kEdges) + "  tunnel: {network: 192.168.0.0/22}\n");
  CHECK(setup.Token("vps") ==
        "FAILED_PRECONDITION: EdgeNode vps: spec.tunnel.network: "
        "192.168.0.0/22 overlaps 192.168.1.0/24, which this host routes");
}

TEST_CASE("commands: a mistake in a manifest gives up no recorded edge",
          "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  std::string other = kEdges;
  other.replace(other.find("vps"), 3, "two");
  setup.Write("two.yaml", other);
  REQUIRE(setup.Token("vps").starts_with("edged1."));
  const Records before = setup.RecordsNow();
  REQUIRE(before.edges.size() == 2);
  setup.Write("edges.yaml", "kind: [\n");
  CHECK(setup.Token("two").starts_with(
      "FAILED_PRECONDITION: EdgeNode vps is not found where it was; mend this "
      "first: edges.yaml:2: "));
  CHECK(setup.RecordsNow() == before);
}

TEST_CASE("commands: a token leaves the blocks of running uplinks alone",
          "[commands]") {
  const Setup setup;
  setup.Write("edges.yaml", kEdges);
  REQUIRE(setup.Token("vps").starts_with("edged1."));
  // An agent of some name takes its block.
  REQUIRE(StateFolder(setup.state)
              .UpdateRecords([](Records records) {
                records.edges.at("vps").blocks.Take("replica-1", 63);
                return records;
              })
              .ok());
  const Records before = setup.RecordsNow();
  REQUIRE(setup.Token("vps").starts_with("edged1."));
  CHECK(setup.RecordsNow() == before);
  CHECK(before.edges.at("vps").blocks.resting.empty());
  CHECK(before.edges.at("vps").blocks.Find("replica-1") == 1);
}

}  // namespace
}  // namespace edged::agent
