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

// What can be typed, and where it goes.
class CommandLine {
 public:
  explicit CommandLine(Arguments& arguments)
      : arguments_(arguments),
        app_("clusteragent: carries the traffic of an edge into this network") {
    app_.require_subcommand(1);
    AddRun();
    AddPlan();
    Add("validate", "Check files of objects", RunValidate)
        ->add_option("files", arguments_.files, "The files")
        ->required();
    AddStatus();
    AddToken();
    Add("version", "Print the version", RunVersion);
  }

  // Its exit status.
  int Run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? 0 : 2;
    }
    const absl::Status status = run_(arguments_);
    if (status.ok()) return 0;
    fmt::print(stderr, "clusteragent: {}\n", Message(status));
    return 1;
  }

 private:
  using Function = absl::Status (*)(const Arguments&);

  CLI::App* Add(const std::string& name, const std::string& help,
                Function function) {
    CLI::App* added = app_.add_subcommand(name, help);
    added->callback([this, function] { run_ = function; });
    return added;
  }

  CLI::Option* TakeManifests(CLI::App* command) {
    return command->add_option("--manifests", arguments_.agent.manifests,
                               "Folder with EdgeNode and PortBinding objects");
  }
  void TakeState(CLI::App* command) {
    command->add_option("--state", arguments_.agent.state, "State folder")
        ->capture_default_str();
  }
  void TakeName(CLI::App* command) {
    command
        ->add_option("--name", arguments_.agent.uplink_name,
                     "Name of this uplink")
        ->capture_default_str();
  }
  void TakeKubernetes(CLI::App* command);
  void TakeLeadership(CLI::App* command);
  void AddRun();
  void AddPlan();
  void AddStatus();
  void AddToken();

  Arguments& arguments_;
  CLI::App app_;
  Function run_ = nullptr;
};

void CommandLine::TakeKubernetes(CLI::App* command) {
  command->add_option("--kubeconfig", arguments_.kubeconfig,
                      "File that says where Kubernetes is; without it and "
                      "without --manifests, the Pod's own");
  command->add_option("--context", arguments_.context,
                      "Of the kubeconfig; its current one by default");
  command->add_option("--namespace", arguments_.name_space,
                      "Of Uplinks and the Secret with the control key; by "
                      "default POD_NAMESPACE, or the context's");
}

void CommandLine::TakeLeadership(CLI::App* command) {
  command
      ->add_flag(
          "--leader-elect,!--no-leader-elect", arguments_.leader_elect,
          "Replicas agree by a Lease on who speaks to edges. Without, "
          "one replica leads for as long as it runs: it writes the Lease "
          "once, for the number of its term, and refuses to lead beside "
          "others")
      ->default_str("true");
  command->add_option("--leader-elect-namespace", arguments_.lease_namespace,
                      "Of the Lease; by default --namespace");
}

void CommandLine::AddRun() {
  CLI::App* command = Add("run", "Run the agent", RunAgent);
  TakeManifests(command);
  TakeKubernetes(command);
  TakeState(command);
  TakeName(command);
  TakeLeadership(command);
  command->add_option("--watch-namespaces", arguments_.watch_namespaces,
                      "Only PortBindings and Services of these, separated "
                      "by commas");
  command
      ->add_option("--annotation-prefix", arguments_.annotation_prefix,
                   "What the names of annotations and labels on Services, "
                   "Namespaces and EdgeNodes begin with: PREFIX/expose")
      ->capture_default_str();
  command
      ->add_option("--resync-interval", arguments_.resync,
                   "How often everything is looked at again, in case")
      ->capture_default_str();
  command
      ->add_option("--drain-time", arguments_.drain,
                   "How long a replica that ends carries what flows through it")
      ->capture_default_str();
  command->add_option("--health-probe-bind-address",
                      arguments_.agent.health_address,
                      "Serve /healthz and /readyz here, for example :8081");
  command->add_option("--metrics-bind-address",
                      arguments_.agent.metrics_address,
                      "Serve /metrics for Prometheus here; off by default");
  command->add_option("--wireguard-go", arguments_.agent.wireguard_program,
                      "Path of wireguard-go, to start one where the kernel "
                      "has no WireGuard");
  command
      ->add_option("--mark-mask", arguments_.mark_mask,
                   "Adjacent bits of the packet mark that are ours")
      ->capture_default_str();
}

void CommandLine::AddPlan() {
  CLI::App* command =
      Add("plan", "Print what each edge would get; touch nothing", RunPlan);
  TakeManifests(command)->required();
  TakeName(command);
  command->add_option("--state", arguments_.plan_state,
                      "State folder, for what is recorded already");
}

void CommandLine::AddStatus() {
  CLI::App* command =
      Add("status", "Show what the running agent says", RunStatus);
  TakeState(command);
  command->add_option("-o,--output", arguments_.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}));
}

void CommandLine::AddToken() {
  CLI::App* command = Add("token", "Print a token for `edged join`", RunToken);
  TakeManifests(command);
  TakeKubernetes(command);
  TakeState(command);
  command->add_option("edge", arguments_.edge, "Name of the EdgeNode")
      ->required();
  command->add_option("--ttl", arguments_.lifetime, "How long it is good")
      ->capture_default_str();
}

}  // namespace

int Main(int argc, char** argv) {
  Arguments arguments;
  arguments.agent.uplink_name = Environment("POD_NAME");
  if (arguments.agent.uplink_name.empty()) {
    arguments.agent.uplink_name = HostName();
  }
  return CommandLine(arguments).Run(argc, argv);
}

}  // namespace edged::agent

int main(int argc, char** argv) { return edged::agent::Main(argc, argv); }
