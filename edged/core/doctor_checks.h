#pragma once

#include <string>
#include <utility>
#include <vector>

#include "edged/core/doctor.h"

// The single checks that Diagnose() makes, each in its own words.

namespace edged::edge {

// What one check found; it says that all is well when it found nothing.
class Findings {
 public:
  Findings(std::string check, std::vector<Finding>& all)
      : check_(std::move(check)), all_(all) {}

  void Note(std::string what, std::string means,
            std::vector<std::string> mend = {}) {
    Add(Severity::kNote, std::move(what), std::move(means), std::move(mend));
  }
  void Warning(std::string what, std::string means,
               std::vector<std::string> mend = {}) {
    Add(Severity::kWarning, std::move(what), std::move(means), std::move(mend));
  }
  void Error(std::string what, std::string means,
             std::vector<std::string> mend = {}) {
    Add(Severity::kError, std::move(what), std::move(means), std::move(mend));
  }
  void Add(Severity severity, std::string what, std::string means,
           std::vector<std::string> mend) {
    found_ = true;
    all_.push_back(
        {severity, check_, std::move(what), std::move(means), std::move(mend)});
  }
  // Unless something was found.
  void Ok(std::string what) {
    if (!found_)
      all_.push_back({Severity::kOk, check_, std::move(what), {}, {}});
  }

 private:
  std::string check_;
  std::vector<Finding>& all_;
  bool found_ = false;
};

// The program's own means: privileges, kernel, clock, enrolment, uplinks
// (doctor_self.cc).
void CheckAccess(const DoctorFacts& facts, Findings found);
void CheckKernel(const DoctorFacts& facts, Findings found);
void CheckClock(const DoctorFacts& facts, Findings found);
void CheckEdge(const DoctorFacts& facts, Findings found);
void CheckUplinks(const DoctorFacts& facts, Findings found);

// This host's network (doctor_network.cc).
void CheckForwarding(const DoctorFacts& facts, Findings found);
void CheckReversePath(const DoctorFacts& facts, Findings found);
void CheckMtu(const DoctorFacts& facts, Findings found);
void CheckConntrack(const DoctorFacts& facts, Findings found);
void CheckAddresses(const DoctorFacts& facts, Findings found);
void CheckListeners(const DoctorFacts& facts, Findings found);
void CheckProvider(const DoctorFacts& facts, Findings found);

// Other programs' routes and rules of routing (doctor_routes.cc).
void CheckRoutes(const DoctorFacts& facts, Findings found);

// Other programs' rules (doctor_firewall.cc) and files.
void CheckFirewall(const DoctorFacts& facts, Findings found);
void CheckSavedTables(const DoctorFacts& facts, Findings found);

// Interfaces where public addresses arrive, by name; before the edge is
// enrolled the one of the default route.
std::vector<std::string> PublicInterfaces(const DoctorFacts& facts);
// nullptr when there is none.
const netlink::Link* FindLink(const DoctorFacts& facts,
                              std::string_view interface);

}  // namespace edged::edge
