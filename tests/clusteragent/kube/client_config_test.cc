#include "clusteragent/kube/client_config.h"

#include <catch2/catch.hpp>

#include "common/files.h"
#include "common/status.h"
#include "tests/common/temporary_folder.h"

namespace edged::kube {
namespace {

constexpr char kConfig[] = R"(
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: home
contexts:
- name: home
  context: {cluster: home, user: agent, namespace: edged}
- {name: files, context: {cluster: files, user: files}}
- {name: cloud, context: {cluster: home, user: cloud}}
- {name: old, context: {cluster: home, user: old}}
- {name: lost, context: {cluster: nowhere, user: agent}}
- {name: open, context: {cluster: bad, user: agent}}
- {name: half, context: {cluster: home, user: half}}
clusters:
- name: home
  cluster:
    server: https://10.0.0.1:6443/
    certificate-authority-data: Q0EK
    extensions: [{name: x}]
- name: files
  cluster:
    server: https://k.example
    certificate-authority: pki/ca.crt
    tls-server-name: kubernetes
    proxy-url: http://proxy:3128
    insecure-skip-tls-verify: true
- {name: bad, cluster: {server: "10.0.0.1:6443"}}
users:
- {name: agent, user: {token: s3cret}}
- name: files
  user: {client-certificate: /c.crt, client-key-data: S0VZ, tokenFile: token}
- name: cloud
  user: {exec: {command: aws, apiVersion: v1}}
- {name: old, user: {username: admin, password: pw}}
- {name: half, user: {client-key-data: S0VZ}}
)";

absl::StatusOr<ClientConfig> Parse(const std::string& context,
                                   const std::string& text = kConfig) {
  return ParseKubeconfig(text, "/etc/kube/config", context);
}

std::string ErrorOf(const std::string& context,
                    const std::string& text = kConfig) {
  return std::string(Message(Parse(context, text).status()));
}

TEST_CASE("client_config: the current context, with what is written inside",
          "[client_config]") {
  const auto config = Parse("").value();
  CHECK(config.server == "https://10.0.0.1:6443");
  CHECK(config.name_space == "edged");
  CHECK(config.token == Secret("s3cret"));
  CHECK(config.transport.ca_pem == "CA\n");
  CHECK(config.transport.ca_file.empty());
  CHECK(config.transport.verify_server);
  CHECK(config.origin == "context \"home\" of /etc/kube/config");
}

TEST_CASE("client_config: files are found from the config's own folder",
          "[client_config]") {
  const auto config = Parse("files").value();
  CHECK(config.transport.ca_file == "/etc/kube/pki/ca.crt");
  CHECK(config.transport.certificate_file == "/c.crt");
  CHECK(config.transport.key_pem == Secret("KEY"));
  CHECK(config.token_file == "/etc/kube/token");
  CHECK(config.transport.server_name == "kubernetes");
  CHECK(config.transport.proxy == "http://proxy:3128");
  CHECK_FALSE(config.transport.verify_server);
  CHECK(config.name_space == "default");
}

TEST_CASE("client_config: says what it cannot do, and the way out",
          "[client_config]") {
  CHECK(ErrorOf("cloud") ==
        "/etc/kube/config: user \"cloud\": has \"exec\", which clusteragent "
        "does not do; make a service account token (kubectl create token) and "
        "put it in as token or tokenFile");
  CHECK(ErrorOf("old").find("has \"username\"") != std::string::npos);
  CHECK(ErrorOf("lost") == "/etc/kube/config: there is no cluster \"nowhere\"");
  CHECK(ErrorOf("none") == "/etc/kube/config: there is no context \"none\"");
  CHECK(ErrorOf("open").find("clusters") != std::string::npos);
  CHECK(ErrorOf("half").ends_with(
      "has no client-certificate beside its client-key"));
  CHECK(ErrorOf("", "[1]") == "/etc/kube/config: is not a kubeconfig");
  CHECK(ErrorOf("", "kind: Config") ==
        "/etc/kube/config: names no current-context");
  CHECK(ErrorOf("", "current-context: [a]").find("current-context") !=
        std::string::npos);
  // What is secret is not repeated.
  std::string text = kConfig;
  text.replace(text.find("S0VZ"), 4, "S*VZ");
  CHECK(ErrorOf("files", text).find("is not base64") != std::string::npos);
  CHECK(ErrorOf("files", text).find("S*") == std::string::npos);
}

TEST_CASE("client_config: a file that is named must be there",
          "[client_config]") {
  TemporaryFolder folder;
  REQUIRE(WriteFileAtomically(folder / "config", kConfig).ok());
  CHECK(ReadKubeconfig(folder / "config", "home").ok());
  const auto missing = ReadKubeconfig(folder / "config", "files").status();
  CHECK(absl::IsFailedPrecondition(missing));
  CHECK(Message(missing).find("pki/ca.crt") != std::string_view::npos);
  CHECK(absl::IsNotFound(ReadKubeconfig(folder / "none", "").status()));
}

TEST_CASE("client_config: a Pod's service account", "[client_config]") {
  TemporaryFolder folder;
  PodEnvironment pod{"fd00::1", "443", folder.path()};
  CHECK_FALSE(ReadPodConfig(pod).ok());
  REQUIRE(WriteFileAtomically(folder / "token", "t").ok());
  REQUIRE(WriteFileAtomically(folder / "ca.crt", "c").ok());
  REQUIRE(WriteFileAtomically(folder / "namespace", "edged-system\n").ok());
  const auto config = ReadPodConfig(pod).value();
  CHECK(config.server == "https://[fd00::1]:443");
  CHECK(config.token_file == folder / "token");
  CHECK(config.name_space == "edged-system");
  const auto elsewhere = ReadPodConfig({}).status();
  CHECK(Message(elsewhere).find("--kubeconfig") != std::string_view::npos);
}

}  // namespace
}  // namespace edged::kube
