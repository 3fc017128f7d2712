#include "edged/core/doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "edged/core/doctor_checks.h"

namespace edged::edge {
namespace {

struct Check {
  const char* name;
  void (*run)(const DoctorFacts& facts, Findings found);
};

// What the others stand on comes first.
constexpr Check kChecks[] = {
    {"access", CheckAccess},
    {"kernel", CheckKernel},
    {"clock", CheckClock},
    {"edge", CheckEdge},
    {"uplinks", CheckUplinks},
    {"forwarding", CheckForwarding},
    {"rp_filter", CheckReversePath},
    {"routes", CheckRoutes},
    {"mtu", CheckMtu},
    {"conntrack", CheckConntrack},
    {"firewall", CheckFirewall},
    {"nftables.conf", CheckSavedTables},
    {"addresses", CheckAddresses},
    {"listeners", CheckListeners},
    {"provider", CheckProvider},
};

constexpr size_t kShownRanges = 24;

}  // namespace

std::string_view ToString(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::vector<Finding> Diagnose(const DoctorFacts& facts) {
  std::vector<Finding> findings;
  for (const Check& check : kChecks) {
    check.run(facts, Findings(check.name, findings));
  }
  return findings;
}

Severity WorstOf(const std::vector<Finding>& findings) {
  Severity worst = Severity::kOk;
  for (const Finding& finding : findings) {
    worst = std::max(worst, finding.severity);
  }
  return worst;
}

std::string PortsText(std::vector<MappedPorts> ports) {
  std::ranges::sort(ports, {}, [](const MappedPorts& mapped) {
    return std::pair(mapped.protocol, mapped.ports);
  });
  std::vector<MappedPorts> joined;
  for (const MappedPorts& each : ports) {
    const bool continues = !joined.empty() &&
                           joined.back().protocol == each.protocol &&
                           joined.back().ports.last + 1 >= each.ports.first;
    if (continues) {
      uint16_t& last = joined.back().ports.last;
      last = std::max(last, each.ports.last);
    } else {
      joined.push_back(each);
    }
  }
  std::string text;
  std::optional<Protocol> protocol;
  for (size_t i = 0; i < joined.size(); ++i) {
    if (i == kShownRanges) {
      return text + fmt::format(" and {} more", joined.size() - i);
    }
    if (protocol != joined[i].protocol) {
      text += fmt::format("{}{} ", text.empty() ? "" : "; ",
                          ToString(joined[i].protocol));
    } else {
      text += ", ";
    }
    protocol = joined[i].protocol;
    text += joined[i].ports.ToString();
  }
  return text;
}

}  // namespace edged::edge
