// The clusteragent program: its commands and what they print. Errors go to
// standard error as one line, with exit status 1; wrong usage is 2.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "clusteragent/agent.h"
#include "clusteragent/commands.h"
#include "clusteragent/controller/token_call.h"
#include "clusteragent/core/names.h"
#include "clusteragent/kube/client_config.h"
#include "clusteragent/uplink/host.h"
#include "common/config/fields.h"
#include "common/heap.h"
#include "common/logging.h"
#include "common/netlink/rtnetlink.h"
#include "common/status.h"
#include "common/version.h"

namespace edged::agent {
namespace {

constexpr char kDefaultState[] = "/var/lib/clusteragent";

struct Arguments {
  AgentOptions agent{.state = kDefaultState};
  std::vector<std::string> files;
  std::string plan_state;
  std::string edge;
  std::string lifetime = "1h";
  std::string mark_mask = "0xff";
  std::string output = "table";
  // Kubernetes
  std::string kubeconfig;
  std::string context;
  std::string name_space;
  bool leader_elect = true;
  std::string lease_namespace;
  std::string watch_namespaces;
  std::string annotation_prefix = AnnotationNames().prefix;
  std::string resync = "5m";
  std::string drain = "5s";
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<std::chrono::milliseconds> ParseFlag(const char* flag,
                                                    const std::string& text) {
  const auto duration = config::ParseDuration(text);
  RETURN_IF_ERROR(Annotate(duration.status(), flag));
  return *duration;
}

// What `run` and `token` reach Kubernetes by.
absl::StatusOr<KubeOptions> KubeOptionsOf(const Arguments& arguments) {
  KubeOptions options;
  if (arguments.kubeconfig.empty()) {
    ASSIGN_OR_RETURN(options.config,
                     kube::ReadPodConfig(kube::GetPodEnvironment()));
  } else {
    ASSIGN_OR_RETURN(options.config, kube::ReadKubeconfig(arguments.kubeconfig,
                                                          arguments.context));
  }
  options.name_space = arguments.name_space;
  if (options.name_space.empty()) {
    options.name_space = Environment("POD_NAMESPACE");
  }
  if (options.name_space.empty()) {
    options.name_space = options.config.name_space;
  }
  options.lease_namespace = arguments.lease_namespace;
  options.alone = !arguments.leader_elect;
  if (!IsDnsSubdomain(arguments.annotation_prefix)) {
    return InvalidArgument(
        "--annotation-prefix: \"{}\" is not the prefix of an annotation: {}, "
        "without \"/\"",
        arguments.annotation_prefix, kDnsSubdomainRule);
  }
  options.annotations.prefix = arguments.annotation_prefix;
  options.watch_namespaces =
      absl::StrSplit(arguments.watch_namespaces, ',', absl::SkipEmpty());
  options.uplink_name = arguments.agent.uplink_name;
  options.node_name = Environment("NODE_NAME");
  options.pod_uid = Environment("POD_UID");
  ASSIGN_OR_RETURN(const auto resync,
                   ParseFlag("--resync-interval", arguments.resync));
  if (resync < std::chrono::seconds(1)) {
    return InvalidArgument("--resync-interval: {} is less than 1s",
                           arguments.resync);
  }
  options.resync = std::chrono::ceil<std::chrono::seconds>(resync);
  ASSIGN_OR_RETURN(options.drain, ParseFlag("--drain-time", arguments.drain));
  return options;
}

std::string HostName() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

absl::Status RunAgent(const Arguments& arguments) {
  KeepHeapSmall();
  RETURN_IF_ERROR(SetUpLogging("clusteragent"));
  AgentOptions options = arguments.agent;
  size_t used = 0;
  try {
    options.mark_mask =
        static_cast<uint32_t>(std::stoul(arguments.mark_mask, &used, 0));
  } catch (const std::exception&) {
    used = 0;
  }
  if (used != arguments.mark_mask.size()) {
    return InvalidArgument("--mark-mask: \"{}\" is not a number",
                           arguments.mark_mask);
  }
  if (options.manifests.empty()) {
    ASSIGN_OR_RETURN(options.kube, KubeOptionsOf(arguments));
  } else if (!arguments.kubeconfig.empty()) {
    return InvalidArgument(
        "--manifests and --kubeconfig: objects come from one of them");
  }
  spdlog::info("clusteragent {}", kVersion);
  ASSIGN_OR_RETURN(const auto agent, Agent::Start(options));
  return agent->Run();
}

absl::StatusOr<UplinkHost> ThisHost() {
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(const auto links, rtnetlink.ListLinks());
  return ObserveHost(rtnetlink, links);
}

absl::Status RunPlan(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const UplinkHost host, ThisHost());
  ASSIGN_OR_RETURN(const std::string text,
                   PlanCommand(arguments.agent.manifests, arguments.plan_state,
                               arguments.agent.uplink_name, host));
  fmt::print("{}", text);
  return absl::OkStatus();
}

absl::Status RunValidate(const Arguments& arguments) {
  const std::vector<std::string> errors = ValidateCommand(arguments.files);
  for (const std::string& error : errors) fmt::print(stderr, "{}\n", error);
  if (!errors.empty()) {
    return InvalidArgument("{} mistake{} found", errors.size(),
                           errors.size() == 1 ? "" : "s");
  }
  fmt::print("{} file{}: good\n", arguments.files.size(),
             arguments.files.size() == 1 ? "" : "s");
  return absl::OkStatus();
}

absl::Status RunStatus(const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const std::string text,
      StatusCommand(arguments.agent.state, arguments.output == "json"));
  fmt::print("{}", text);
  return absl::OkStatus();
}

absl::Status RunToken(const Arguments& arguments) {
  const auto lifetime = config::ParseDuration(arguments.lifetime);
  RETURN_IF_ERROR(Annotate(lifetime.status(), "--ttl"));
  if (arguments.agent.manifests.empty()) {
    ASSIGN_OR_RETURN(const KubeOptions options, KubeOptionsOf(arguments));
    ASSIGN_OR_RETURN(
        const std::string token,
        IssueKubeToken(options, arguments.edge,
                       std::chrono::ceil<std::chrono::seconds>(*lifetime)));
    fmt::print("{}\n", token);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const UplinkHost host, ThisHost());
  ASSIGN_OR_RETURN(
      const std::string token,
      TokenCommand(arguments.edge, arguments.agent.manifests,
                   arguments.agent.state, host,
                   std::chrono::ceil<std::chrono::seconds>(*lifetime)));
  fmt::print("{}\n", token);
  return absl::OkStatus();
}

absl::Status RunVersion(const Arguments&) {
  fmt::print("clusteragent {}\n", kVersion);
  return absl::OkStatus();
}

}  // namespace

int Main(int argc, char** argv) {
  Arguments arguments;
  arguments.agent.uplink_name = Environment("POD_NAME");
  if (arguments.agent.uplink_name.empty()) {
    arguments.agent.uplink_name = HostName();
  }
  absl::Status (*run)(const Arguments&) = nullptr;
  CLI::App app(
      "clusteragent: carries the traffic of an edge into this network");
  app.require_subcommand(1);
  const auto command = [&](const std::string& name, const std::string& help,
                           absl::Status (*function)(const Arguments&)) {
    CLI::App* added = app.add_subcommand(name, help);
    added->callback([&run, function] { run = function; });
    return added;
  };
  const auto with_manifests = [&arguments](CLI::App* added,
                                           bool required = true) {
    added
        ->add_option("--manifests", arguments.agent.manifests,
                     "Folder with EdgeNode and PortBinding objects")
        ->required(required);
    return added;
  };
  const auto with_kubernetes = [&arguments](CLI::App* added) {
    added->add_option("--kubeconfig", arguments.kubeconfig,
                      "File that says where Kubernetes is; without it and "
                      "without --manifests, the Pod's own");
    added->add_option("--context", arguments.context,
                      "Of the kubeconfig; its current one by default");
    added->add_option("--namespace", arguments.name_space,
                      "Of Uplinks and the Secret with the control key; by "
                      "default POD_NAMESPACE, or the context's");
    return added;
  };
  const auto with_state = [&arguments](CLI::App* added) {
    added->add_option("--state", arguments.agent.state, "State folder")
        ->capture_default_str();
    return added;
  };
  const auto with_name = [&arguments](CLI::App* added) {
    added
        ->add_option("--name", arguments.agent.uplink_name,
                     "Name of this uplink")
        ->capture_default_str();
    return added;
  };

  CLI::App* run_command = with_name(with_state(with_kubernetes(
      with_manifests(command("run", "Run the agent", RunAgent), false))));
  run_command
      ->add_flag(
          "--leader-elect,!--no-leader-elect", arguments.leader_elect,
          "Replicas agree by a Lease on who speaks to edges. Without, "
          "one replica leads for as long as it runs: it writes the Lease "
          "once, for the number of its term, and refuses to lead beside "
          "others")
      ->default_str("true");
  run_command->add_option("--leader-elect-namespace", arguments.lease_namespace,
                          "Of the Lease; by default --namespace");
  run_command->add_option("--watch-namespaces", arguments.watch_namespaces,
                          "Only PortBindings and Services of these, separated "
                          "by commas");
  run_command
      ->add_option("--annotation-prefix", arguments.annotation_prefix,
                   "What the names of annotations and labels on Services, "
                   "Namespaces and EdgeNodes begin with: PREFIX/expose")
      ->capture_default_str();
  run_command
      ->add_option("--resync-interval", arguments.resync,
                   "How often everything is looked at again, in case")
      ->capture_default_str();
  run_command
      ->add_option("--drain-time", arguments.drain,
                   "How long a replica that ends carries what flows through it")
      ->capture_default_str();
  run_command->add_option("--health-probe-bind-address",
                          arguments.agent.health_address,
                          "Serve /healthz and /readyz here, for example :8081");
  run_command->add_option("--metrics-bind-address",
                          arguments.agent.metrics_address,
                          "Serve /metrics for Prometheus here; off by default");
  run_command->add_option("--wireguard-go", arguments.agent.wireguard_program,
                          "Path of wireguard-go, to start one where the kernel "
                          "has no WireGuard");
  run_command
      ->add_option("--mark-mask", arguments.mark_mask,
                   "Adjacent bits of the packet mark that are ours")
      ->capture_default_str();
  with_name(
      with_manifests(command(
          "plan", "Print what each edge would get; touch nothing", RunPlan)))
      ->add_option("--state", arguments.plan_state,
                   "State folder, for what is recorded already");
  command("validate", "Check files of objects", RunValidate)
      ->add_option("files", arguments.files, "The files")
      ->required();
  with_state(command("status", "Show what the running agent says", RunStatus))
      ->add_option("-o,--output", arguments.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}));
  CLI::App* token = with_state(with_kubernetes(with_manifests(
      command("token", "Print a token for `edged join`", RunToken), false)));
  token->add_option("edge", arguments.edge, "Name of the EdgeNode")->required();
  token->add_option("--ttl", arguments.lifetime, "How long it is good")
      ->capture_default_str();
  command("version", "Print the version", RunVersion);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::Status status = run(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "clusteragent: {}\n", Message(status));
  return 1;
}

}  // namespace edged::agent

int main(int argc, char** argv) { return edged::agent::Main(argc, argv); }
