#include "clusteragent/kube/client_config.h"

#include <sodium.h>

#include <cstdlib>
#include <optional>
#include <vector>

#include "common/config/document.h"
#include "common/config/fields.h"
#include "common/files.h"
#include "common/net_types.h"
#include "common/status.h"

namespace edged::kube {
namespace {

using config::Fields;

constexpr size_t kLargestFile = 1 << 20;

// One of users, clusters or contexts: {name, user|cluster|context: {...}}.
absl::StatusOr<Fields> FindEntry(Fields& root, const std::string& path,
                                 const std::string& list,
                                 const std::string& kind,
                                 const std::string& name) {
  for (Fields entry : root.Objects(list)) {
    if (entry.String("name") == name) return entry.Object(kind);
  }
  RETURN_IF_ERROR(root.status());
  return FailedPrecondition("{}: there is no {} \"{}\"", path, kind, name);
}

std::string InFolderOf(const std::string& path, const std::string& file) {
  if (file.empty() || file.front() == '/') return file;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? file : path.substr(0, slash + 1) + file;
}

// The text of a field in base64, as kubectl writes PEM.
absl::StatusOr<std::string> Decode(Fields& fields, const std::string& name) {
  const std::string text = fields.String(name);
  std::string decoded(text.size(), '\0');
  size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(decoded.data()),
                        decoded.size(), text.data(), text.size(), " \n\r",
                        &size, &end, sodium_base64_VARIANT_ORIGINAL) != 0 ||
      end != text.data() + text.size()) {
    return FailedPrecondition("{}.{}: is not base64", fields.path(), name);
  }
  decoded.resize(size);
  return decoded;
}

absl::Status ReadCluster(Fields& cluster, const std::string& path,
                         ClientConfig& config) {
  config.server = cluster.RequiredString("server");
  RETURN_IF_ERROR(cluster.status());
  while (config.server.ends_with('/')) config.server.pop_back();
  if (!config.server.starts_with("https://") &&
      !config.server.starts_with("http://")) {
    return FailedPrecondition("{}: {}.server: \"{}\" is not a URL (https://…)",
                              path, cluster.path(), config.server);
  }
  Transport& transport = config.transport;
  ASSIGN_OR_RETURN(transport.ca_pem,
                   Decode(cluster, "certificate-authority-data"));
  const std::string ca_file = cluster.String("certificate-authority");
  if (transport.ca_pem.empty()) transport.ca_file = InFolderOf(path, ca_file);
  transport.server_name = cluster.String("tls-server-name");
  transport.verify_server = !cluster.Bool("insecure-skip-tls-verify", false);
  transport.proxy = cluster.String("proxy-url");
  return cluster.status();
}

// What kubectl would ask another program or service for.
absl::Status RefusePrograms(Fields& user, const std::string& path,
                            const std::string& name) {
  for (const char* way : {"exec", "auth-provider", "username", "as"}) {
    if (!user.Has(way)) continue;
    return FailedPrecondition(
        "{}: user \"{}\": has \"{}\", which clusteragent does not do; make a "
        "service account token (kubectl create token) and put it in as token "
        "or tokenFile",
        path, name, way);
  }
  return absl::OkStatus();
}

absl::Status ReadUser(Fields& user, const std::string& path,
                      const std::string& name, ClientConfig& config) {
  Transport& transport = config.transport;
  ASSIGN_OR_RETURN(transport.certificate_pem,
                   Decode(user, "client-certificate-data"));
  ASSIGN_OR_RETURN(const std::string key, Decode(user, "client-key-data"));
  transport.key_pem = Secret(key);
  if (transport.certificate_pem.empty()) {
    transport.certificate_file =
        InFolderOf(path, user.String("client-certificate"));
  }
  if (transport.key_pem.empty()) {
    transport.key_file = InFolderOf(path, user.String("client-key"));
  }
  config.token_file = InFolderOf(path, user.String("tokenFile"));
  if (config.token_file.empty()) config.token = Secret(user.String("token"));
  RETURN_IF_ERROR(user.status());

  const bool has_certificate =
      !transport.certificate_pem.empty() || !transport.certificate_file.empty();
  const bool has_key =
      !transport.key_pem.empty() || !transport.key_file.empty();
  if (has_certificate != has_key) {
    return FailedPrecondition("{}: user \"{}\": has no {} beside its {}", path,
                              name,
                              has_key ? "client-certificate" : "client-key",
                              has_key ? "client-key" : "client-certificate");
  }
  if (user.Has("as")) return RefusePrograms(user, path, name);
  if (has_key || !config.token.empty() || !config.token_file.empty()) {
    return absl::OkStatus();
  }
  return RefusePrograms(user, path, name);
}

absl::Status CheckFiles(const ClientConfig& config) {
  const Transport& transport = config.transport;
  for (const std::string& file : {transport.ca_file, transport.certificate_file,
                                  transport.key_file, config.token_file}) {
    if (file.empty()) continue;
    if (const auto text = ReadFile(file, kLargestFile); !text.ok()) {
      return FailedPrecondition("{}: {}", config.origin,
                                Message(text.status()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ClientConfig> ParseKubeconfig(std::string_view text,
                                             const std::string& path,
                                             const std::string& context) {
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, path));
  if (documents.size() != 1 || !documents[0].root.is_object()) {
    return FailedPrecondition("{}: is not a kubeconfig", path);
  }
  // Unknown fields are other programs': nobody calls Finish().
  Fields root(documents[0], documents[0].root);
  const std::string current = root.String("current-context");
  const std::string name = context.empty() ? current : context;
  RETURN_IF_ERROR(root.status());
  if (name.empty()) {
    return FailedPrecondition("{}: names no current-context", path);
  }
  ASSIGN_OR_RETURN(Fields at,
                   FindEntry(root, path, "contexts", "context", name));
  const std::string cluster_name = at.RequiredString("cluster");
  const std::string user_name = at.String("user");
  ClientConfig config{.origin =
                          fmt::format("context \"{}\" of {}", name, path)};
  config.name_space = at.String("namespace", config.name_space);
  if (config.name_space.empty()) config.name_space = "default";
  RETURN_IF_ERROR(at.status());

  ASSIGN_OR_RETURN(Fields cluster,
                   FindEntry(root, path, "clusters", "cluster", cluster_name));
  RETURN_IF_ERROR(ReadCluster(cluster, path, config));
  if (!user_name.empty()) {
    ASSIGN_OR_RETURN(Fields user,
                     FindEntry(root, path, "users", "user", user_name));
    RETURN_IF_ERROR(ReadUser(user, path, user_name, config));
  }
  return config;
}

absl::StatusOr<ClientConfig> ReadKubeconfig(const std::string& path,
                                            const std::string& context) {
  ASSIGN_OR_RETURN(const std::string text, ReadFileOrPipe(path, kLargestFile));
  ASSIGN_OR_RETURN(ClientConfig config, ParseKubeconfig(text, path, context));
  RETURN_IF_ERROR(CheckFiles(config));
  return config;
}

PodEnvironment GetPodEnvironment() {
  PodEnvironment environment;
  const auto get = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  environment.host = get("KUBERNETES_SERVICE_HOST");
  environment.port = get("KUBERNETES_SERVICE_PORT");
  return environment;
}

absl::StatusOr<ClientConfig> ReadPodConfig(const PodEnvironment& environment) {
  if (environment.host.empty() || environment.port.empty()) {
    return FailedPrecondition(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this "
        "is no Pod, and outside one --kubeconfig says where the cluster is");
  }
  const auto address = IpAddress::Parse(environment.host);
  const bool is_ipv6 = address.ok() && !address->is_ipv4();
  const std::string host =
      is_ipv6 ? "[" + environment.host + "]" : environment.host;
  ClientConfig config{
      .server = fmt::format("https://{}:{}", host, environment.port),
      .token_file = environment.folder + "/token",
      .origin = "the Pod's service account"};
  config.transport.ca_file = environment.folder + "/ca.crt";
  RETURN_IF_ERROR(CheckFiles(config));
  const auto name_space =
      ReadFile(environment.folder + "/namespace", kLargestFile);
  if (name_space.ok() && !name_space->empty()) {
    config.name_space = *name_space;
    while (config.name_space.ends_with('\n')) config.name_space.pop_back();
  }
  return config;
}

}  // namespace edged::kube
