// The edged program: its commands and what they print. Errors go to standard
// error as one line, with exit status 1; wrong usage is 2.
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>

#include "common/files.h"
#include "common/heap.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/version.h"
#include "edged/config.h"
#include "edged/daemon.h"
#include "edged/doctor/doctor.h"
#include "edged/doctor/report.h"
#include "edged/join.h"
#include "edged/prepare.h"
#include "edged/reset.h"
#include "edged/service/local_client.h"
#include "edged/state_owner.h"
#include "edged/system/program_pages.h"
#include "edged/trace.h"

namespace edged::edge {
namespace {

struct Arguments {
  std::string config = kDefaultConfig;
  std::string state;
  std::string socket = kDefaultSocket;
  std::string wireguard_program;
  std::string token;
  std::string output = "table";
  std::string target;
  int seconds = 30;
  size_t flows = 5;
  bool owner = false;
  bool epoch = false;
  bool kernel = false;
};

absl::StatusOr<Config> ConfigOf(const Arguments& arguments) {
  ASSIGN_OR_RETURN(Config config, LoadConfig(arguments.config));
  if (!arguments.state.empty()) config.state = arguments.state;
  return config;
}

absl::Status RunDaemon(const Arguments& arguments) {
  KeepHeapSmall();
  ASSIGN_OR_RETURN(const Config config, ConfigOf(arguments));
  RETURN_IF_ERROR(SetUpLogging("edged", config.log));
  spdlog::info("edged {}", kVersion);
  ASSIGN_OR_RETURN(
      const auto daemon,
      Daemon::Start({config, arguments.socket, arguments.wireguard_program}));
  ReleaseProgramPages();
  return daemon->Run();
}

absl::Status RunJoin(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, ConfigOf(arguments));
  std::string token = arguments.token;
  if (token == "-") std::getline(std::cin, token);
  ASSIGN_OR_RETURN(const auto owner, ActAsOwner::Of(config.state));
  ASSIGN_OR_RETURN(
      const Join join,
      JoinWithToken(config.state, token, std::chrono::system_clock::now()));
  fmt::print(
      "joined as {} of cluster {}\n"
      "The provider's firewall must let udp {} in. A running edged goes on by "
      "itself; otherwise start it (edged run). `edged status` tells.\n",
      join.edge, join.cluster_uid, join.listen_port);
  return absl::OkStatus();
}

absl::Status RunReset(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, ConfigOf(arguments));
  if (arguments.kernel) {
    RETURN_IF_ERROR(ResetKernel(config, arguments.wireguard_program));
    fmt::print("reset: this kernel forwards nothing for us any more\n");
    return absl::OkStatus();
  }
  if (!arguments.owner && !arguments.epoch) {
    RETURN_IF_ERROR(Reset(config, arguments.wireguard_program));
    fmt::print("reset: this edge is not enrolled any more\n");
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto owner, ActAsOwner::Of(config.state));
  RETURN_IF_ERROR(CheckEnrolled(config.state));
  if (arguments.owner) {
    RETURN_IF_ERROR(ForgetOwner(config.state));
    fmt::print("reset: the next cluster that calls becomes the owner\n");
  }
  if (arguments.epoch) {
    RETURN_IF_ERROR(RequestForgetEpoch(config.state));
    fmt::print("reset: the highest epoch is forgotten\n");
  }
  return absl::OkStatus();
}

// What could not be set is told and no failure: the daemon reports what it
// cannot do without it.
absl::Status RunPrepare(const Arguments&) {
  const Preparation result = PrepareHost();
  for (const std::string& change : result.changes) {
    fmt::print("set {}\n", change);
  }
  for (const std::string& warning : result.warnings) {
    fmt::print(stderr, "warning: {}\n", warning);
  }
  return absl::OkStatus();
}

absl::Status RunStatus(const Arguments& arguments) {
  const auto text = arguments.output == "json" ? StateAsJson(arguments.socket)
                                               : StateAsTable(arguments.socket);
  RETURN_IF_ERROR(text.status());
  fmt::print("{}", *text);
  return absl::OkStatus();
}

absl::Status RunRotateKey(const Arguments& arguments) {
  // Longer than the edge waits before it falls back.
  ASSIGN_OR_RETURN(const std::string text,
                   RotateKey(arguments.socket, std::chrono::seconds(70)));
  fmt::print("{}", text);
  return absl::OkStatus();
}

int RunDoctor(const Arguments& arguments) {
  const std::vector<Finding> findings =
      ExamineHost({arguments.config, arguments.state, arguments.socket});
  fmt::print("{}", arguments.output == "json" ? ReportJson(findings)
                                              : ReportText(findings));
  return ExitStatusOf(findings);
}

// 0: packets came, and all were answered.
absl::StatusOr<int> RunTrace(const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const bool answered,
      Trace({arguments.target, arguments.socket,
             std::chrono::seconds(arguments.seconds), arguments.flows},
            [](const std::string& line) {
              fmt::print("{}\n", line);
              std::fflush(stdout);
            }));
  return answered ? 0 : 1;
}

absl::Status RunCheckConfig(const Arguments& arguments) {
  const absl::Status there = ReadFile(arguments.config).status();
  if (absl::IsNotFound(there) && arguments.config == kDefaultConfig) {
    fmt::print("{} is not there: all defaults, good\n", arguments.config);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(there);
  RETURN_IF_ERROR(LoadConfig(arguments.config).status());
  fmt::print("{}: good\n", arguments.config);
  return absl::OkStatus();
}

absl::Status RunVersion(const Arguments&) {
  fmt::print("edged {}\n", kVersion);
  return absl::OkStatus();
}

int ExitStatus(int code) { return code; }
int ExitStatus(const absl::Status& status) {
  if (status.ok()) return 0;
  fmt::print(stderr, "edged: {}\n", Message(status));
  return 1;
}
int ExitStatus(const absl::StatusOr<int>& code) {
  return code.ok() ? *code : ExitStatus(code.status());
}

// What can be typed, and where it goes.
class CommandLine {
 public:
  explicit CommandLine(Arguments& arguments)
      : arguments_(arguments),
        app_("edged: the front door of a private cluster, on a VPS") {
    app_.require_subcommand(1);
    AddRun();
    AddEnrolment();
    Add("prepare", "Set the sysctls that need root, before the daemon starts",
        RunPrepare);
    AddQuestions();
    TakeSocket(
        Add("rotate-key", "Replace the edge's WireGuard key", RunRotateKey));
    AddTrace();
    Add("check-config", "Check edged.yaml and tell what is wrong",
        RunCheckConfig)
        ->add_option("file", arguments_.config, "The file")
        ->capture_default_str();
    Add("version", "Print the version", RunVersion);
  }

  // Its exit status.
  int Run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? 0 : 2;
    }
    return run_();
  }

 private:
  template <typename Function>
  CLI::App* Add(const std::string& name, const std::string& help,
                Function function) {
    CLI::App* added = app_.add_subcommand(name, help);
    added->callback([this, function] {
      run_ = [this, function] { return ExitStatus(function(arguments_)); };
    });
    return added;
  }

  void TakeConfig(CLI::App* command) {
    command->add_option("--config", arguments_.config, "edged.yaml")
        ->capture_default_str();
    command->add_option("--state", arguments_.state,
                        "State folder, instead of edged.yaml's");
  }
  void TakeSocket(CLI::App* command) {
    command->add_option("--socket", arguments_.socket, "Root-only API socket")
        ->capture_default_str();
  }
  void TakeOutput(CLI::App* command) {
    command->add_option("-o,--output", arguments_.output, "table or json")
        ->check(CLI::IsMember({"table", "json"}));
  }
  void TakeProgram(CLI::App* command) {
    command->add_option("--wireguard-go", arguments_.wireguard_program,
                        "Path of wireguard-go, to start one where the kernel "
                        "has no WireGuard");
  }
  void AddRun();
  void AddEnrolment();
  void AddQuestions();
  void AddTrace();

  Arguments& arguments_;
  CLI::App app_;
  std::function<int()> run_;
};

void CommandLine::AddRun() {
  CLI::App* command = Add("run", "Run the daemon", RunDaemon);
  TakeConfig(command);
  TakeSocket(command);
  TakeProgram(command);
}

void CommandLine::AddEnrolment() {
  CLI::App* join = Add("join", "Enrol this edge with a token", RunJoin);
  TakeConfig(join);
  join->add_option("token", arguments_.token,
                   "From `clusteragent token EDGE`; - reads standard input")
      ->required();
  CLI::App* reset =
      Add("reset", "Remove the enrolment and what edged made", RunReset);
  TakeConfig(reset);
  TakeProgram(reset);
  reset->add_flag("--owner", arguments_.owner,
                  "Only let another cluster become the owner");
  reset->add_flag("--epoch", arguments_.epoch,
                  "Only forget the highest leadership term");
  reset
      ->add_flag("--kernel", arguments_.kernel,
                 "Only remove what a stopped daemon left in the kernel")
      ->excludes("--owner", "--epoch");
}

void CommandLine::AddQuestions() {
  CLI::App* status = Add("status", "Show what the edge does now", RunStatus);
  TakeSocket(status);
  TakeOutput(status);
  CLI::App* doctor =
      Add("doctor", "Look for what keeps traffic from flowing", RunDoctor);
  TakeConfig(doctor);
  TakeSocket(doctor);
  TakeOutput(doctor);
}

void CommandLine::AddTrace() {
  CLI::App* trace = Add(
      "trace", "Follow real packets and tell what became of them", RunTrace);
  TakeSocket(trace);
  trace->add_option("target", arguments_.target, "ADDRESS:PORT[/udp]")
      ->required();
  trace->add_option("--seconds", arguments_.seconds, "For how long at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  trace
      ->add_option("--connections", arguments_.flows,
                   "How many connections at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
}

}  // namespace

int Main(int argc, char** argv) {
  Arguments arguments;
  return CommandLine(arguments).Run(argc, argv);
}

}  // namespace edged::edge

int main(int argc, char** argv) { return edged::edge::Main(argc, argv); }
