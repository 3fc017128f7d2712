#include "edged/doctor/doctor.h"

#include <sys/stat.h>

#include "common/status.h"
#include "edged/config.h"
#include "edged/join.h"
#include "edged/service/local_facts.h"
#include "edged/state_owner.h"
#include "edged/system/doctor_facts.h"

namespace edged::edge {
namespace {

// What join.yaml says; edged, if it runs, may still hold an older one.
void ReadEnrolment(const std::string& state, DoctorFacts& facts) {
  const std::string path = JoinPath(state);
  const auto owner = ActAsOwner::Of(state);
  const auto join =
      owner.ok() ? LoadJoin(state) : absl::StatusOr<Join>(owner.status());
  if (absl::IsNotFound(join.status())) {
    facts.enrolled = Answer::kNo;
    return;
  }
  if (absl::IsPermissionDenied(join.status())) {
    facts.unseen.push_back(fmt::format("the enrolment ({})", path));
    return;
  }
  if (!join.ok()) {
    facts.enrolment_error = std::string(Message(join.status()));
    return;
  }
  facts.enrolled = Answer::kYes;
  facts.enrolment.edge = join->edge;
  facts.enrolment.listen_port = join->listen_port;
  facts.enrolment.network = join->network;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    facts.enrolment.joined =
        std::chrono::system_clock::from_time_t(status.st_mtime);
  }
}

}  // namespace

std::vector<Finding> ExamineHost(const DoctorOptions& options) {
  DoctorFacts facts;
  const auto config = LoadConfig(options.config);
  if (!config.ok()) facts.config_error = std::string(Message(config.status()));
  std::string state = options.state;
  if (state.empty()) state = config.ok() ? config->state : kDefaultState;
  ReadEnrolment(state, facts);
  AskEdged(options.socket, facts);
  LookAtHost(facts);
  return Diagnose(facts);
}

int ExitStatusOf(const std::vector<Finding>& findings) {
  switch (WorstOf(findings)) {
    case Severity::kError:
      return 2;
    case Severity::kWarning:
      return 1;
    default:
      return 0;
  }
}

}  // namespace edged::edge
