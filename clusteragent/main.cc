// The clusteragent program: its commands and what they print. Errors go to
// standard error as one line, with exit status 1; wrong usage is 2.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "clusteragent/agent.h"
#include "clusteragent/commands.h"
#include "clusteragent/uplink/host.h"
#include "common/config/fields.h"
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
};

std::string HostName() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

absl::Status RunAgent(const Arguments& arguments) {
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
  spdlog::info("clusteragent {}", kVersion);
  ASSIGN_OR_RETURN(const auto agent, Agent::Start(options));
  return agent->Run();
}

absl::StatusOr<UplinkHost> ThisHost() {
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  return ObserveHost(rtnetlink);
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
  arguments.agent.uplink_name = HostName();
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
  const auto with_manifests = [&arguments](CLI::App* added) {
    added
        ->add_option("--manifests", arguments.agent.manifests,
                     "Folder with EdgeNode and PortBinding objects")
        ->required();
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

  CLI::App* run_command = with_name(
      with_state(with_manifests(command("run", "Run the agent", RunAgent))));
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
  CLI::App* token = with_state(with_manifests(
      command("token", "Print a token for `edged join`", RunToken)));
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
