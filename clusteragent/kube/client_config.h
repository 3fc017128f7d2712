#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "clusteragent/kube/http_client.h"
#include "common/secret.h"

// Where the API server is, and who we are to it. Of a kubeconfig file what
// kubectl reads; what needs other programs is refused by name.

namespace edged::kube {

struct ClientConfig {
  std::string server;  // "https://10.0.0.1:6443", no slash at its end
  Transport transport;
  Secret token;
  std::string token_file;  // instead of `token`; read anew as it changes
  std::string name_space = "default";
  std::string origin;  // "context \"home\" of config", for messages
};

// `context` empty: the current one. Relative paths are relative to the file.
// FailedPrecondition names file, entry and field.
absl::StatusOr<ClientConfig> ReadKubeconfig(const std::string& path,
                                            const std::string& context);
// The same of a text; `path` is what it is called, and need not exist. The
// files that it names are not looked at.
absl::StatusOr<ClientConfig> ParseKubeconfig(std::string_view text,
                                             const std::string& path,
                                             const std::string& context);

// What a Pod is given.
struct PodEnvironment {
  std::string host;  // KUBERNETES_SERVICE_HOST
  std::string port;  // KUBERNETES_SERVICE_PORT
  std::string folder = "/var/run/secrets/kubernetes.io/serviceaccount";
};
PodEnvironment GetPodEnvironment();

// FailedPrecondition says what is missing, and what to do outside a Pod.
absl::StatusOr<ClientConfig> ReadPodConfig(const PodEnvironment& environment);

}  // namespace edged::kube
