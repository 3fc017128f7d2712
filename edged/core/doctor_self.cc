#include <fmt/format.h>

#include <algorithm>

#include "edged/core/doctor_checks.h"

// Checks of the program's own means and its cluster.

namespace edged::edge {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr std::chrono::year kFirstYear{2024}, kLastYear{2100};
// WireGuard makes a new key after 120 s, and drops the old one after 180 s.
constexpr seconds kSessionLife{180};

// "3 s", "5 min", "4 h", "12 d".
std::string Span(SystemTime::duration span) {
  const auto whole = std::chrono::duration_cast<seconds>(span).count();
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7'200) return fmt::format("{} min", whole / 60);
  if (whole < 172'800) return fmt::format("{} h", whole / 3'600);
  return fmt::format("{} d", whole / 86'400);
}

std::string Date(SystemTime time) {
  const std::chrono::year_month_day date(
      std::chrono::floor<std::chrono::days>(time));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

const std::vector<std::string> kSetClock{"timedatectl set-ntp true"};

std::string OpenPortHint(const DoctorFacts& facts) {
  return fmt::format("the provider's firewall must let udp {} in",
                     facts.enrolment.listen_port);
}

// One uplink that should be heard of; true when it is alive.
void CheckUplink(const DoctorFacts& facts, const UplinkFacts& uplink,
                 Findings& found) {
  const std::string name = fmt::format("uplink {}", uplink.name);
  if (!uplink.last_handshake) {
    return found.Warning(
        fmt::format("{} has never shaken hands", name),
        fmt::format("It carries nothing. Either its agent is not running, or "
                    "its packets do not arrive: {}.",
                    OpenPortHint(facts)),
        {"clusteragent status"});
  }
  const auto silent = facts.now - *uplink.last_handshake;
  if (silent > kSessionLife) {
    return found.Warning(
        fmt::format("{}: the last handshake was {} ago", name, Span(silent)),
        "Its tunnel is down: the agent is stopped, its network is, or udp to "
        "this host is blocked on the way.",
        {"clusteragent status"});
  }
  if (uplink.alive == Answer::kNo && !uplink.draining) {
    const std::string heard =
        uplink.last_heartbeat
            ? fmt::format("the last heartbeat came {} ago",
                          Span(facts.now - *uplink.last_heartbeat))
            : "no heartbeat has come";
    found.Warning(
        fmt::format("{}: its tunnel is up, but {}", name, heard),
        "It gets no new connections. Heartbeats are udp 7443 on the tunnel's "
        "address: a firewall here drops them, or the agent is not ready.",
        {"clusteragent status"});
  }
}

}  // namespace

void CheckAccess(const DoctorFacts& facts, Findings found) {
  if (!facts.root) {
    found.Note("this is not root, and much can only be seen by root",
               fmt::format("Not seen: {}.", fmt::join(facts.unseen, "; ")),
               {"sudo edged doctor"});
  } else if (!facts.net_admin) {
    found.Error("root, but without CAP_NET_ADMIN",
                "edged cannot make its table, its device or its routes here. A "
                "container must be given this capability.",
                {"docker run --cap-add NET_ADMIN ..."});
  } else {
    for (const std::string& unseen : facts.unseen) {
      found.Warning(unseen, "This part was not checked.");
    }
  }
  found.Ok("all that is checked could be seen");
}

void CheckKernel(const DoctorFacts& facts, Findings found) {
  if (facts.nf_tables == Answer::kNo) {
    found.Error("this kernel has no nf_tables",
                "edged cannot translate anything without it.",
                {"modprobe nf_tables"});
  }
  const bool userspace = facts.userspace_wireguard == Answer::kYes;
  if (facts.kernel_wireguard == Answer::kNo && !userspace) {
    found.Error(
        "this kernel has no WireGuard, and no wireguard-go serves the tunnel",
        "There can be no tunnel.",
        {"modprobe wireguard",
         fmt::format("systemctl start edged-wireguard@{}", facts.device)});
  }
  if (facts.nf_tables == Answer::kYes) {
    found.Ok(fmt::format("nf_tables and {} WireGuard",
                         facts.kernel_wireguard == Answer::kYes ? "kernel"
                         : userspace                            ? "userspace"
                                                                : "unknown"));
  }
}

void CheckClock(const DoctorFacts& facts, Findings found) {
  const std::chrono::year year =
      std::chrono::year_month_day(
          std::chrono::floor<std::chrono::days>(facts.now))
          .year();
  const bool wrong_year = year < kFirstYear || year > kLastYear;
  const bool before_install =
      facts.installed && facts.now + hours(24) < *facts.installed;
  if (wrong_year || before_install) {
    found.Error(
        fmt::format("the clock says {}{}", Date(facts.now),
                    before_install && !wrong_year
                        ? fmt::format(", but this program is from {}",
                                      Date(*facts.installed))
                        : ""),
        "Tokens count as expired, or never expire, and WireGuard refuses "
        "handshakes that seem older than the last one.",
        kSetClock);
  } else if (facts.enrolment.joined &&
             facts.now + std::chrono::minutes(5) < *facts.enrolment.joined) {
    found.Warning(
        fmt::format("the clock was set back: this edge joined {} in the future",
                    Span(*facts.enrolment.joined - facts.now)),
        "WireGuard's peers refuse handshakes that seem older than the last "
        "one, until that time has passed; a token may seem not to expire.",
        kSetClock);
  } else if (facts.clock_synchronized == Answer::kNo) {
    found.Note("nothing keeps the clock right",
               "Tokens expire by it; a wrong one makes good tokens useless.",
               kSetClock);
  }
  found.Ok(fmt::format("{}, {}", Date(facts.now),
                       facts.clock_synchronized == Answer::kYes
                           ? "kept right by a time service"
                           : "plausible"));
}

void CheckEdge(const DoctorFacts& facts, Findings found) {
  if (!facts.config_error.empty()) {
    found.Error(facts.config_error, "edged does not start with this file.",
                {"edged check-config"});
  }
  if (!facts.enrolment_error.empty()) {
    found.Error(facts.enrolment_error,
                "A running edged goes on with what it had; the next start "
                "does nothing.",
                {"edged reset", "edged join TOKEN"});
  } else if (facts.enrolled == Answer::kNo) {
    found.Warning("this edge is not enrolled",
                  "It belongs to no cluster and forwards nothing. "
                  "`clusteragent token EDGE` prints a token. Rules, addresses "
                  "and ports can only be checked then.",
                  {"edged join TOKEN"});
  }
  if (facts.running == Answer::kNo) {
    const bool enrolled = facts.enrolled == Answer::kYes;
    found.Add(enrolled ? Severity::kError : Severity::kWarning,
              "edged is not running",
              enrolled
                  ? "The kernel goes on with what it was last told, but no "
                    "change arrives, and dead uplinks are not left out."
                  : "",
              {"systemctl start edged"});
  }
  if (facts.enrolled == Answer::kYes &&
      facts.enrolment.contacted == Answer::kNo) {
    const auto age =
        facts.enrolment.joined
            ? fmt::format(" in the {} since it joined",
                          Span(facts.now - *facts.enrolment.joined))
            : "";
    found.Warning(
        fmt::format("no agent has called{}", age),
        fmt::format("Its packets do not arrive, or the agent waits for another "
                    "edge: {}. A token that was joined on two hosts, or made "
                    "again since, works for the last one only.",
                    OpenPortHint(facts)),
        {"clusteragent status"});
  }
  for (const std::string& warning : facts.warnings) {
    found.Warning(warning, "edged says so itself.");
  }
  for (const std::string& refused : facts.refused) {
    found.Warning(refused, "This mapping is not served; all others are.");
  }
  if (facts.enrolled == Answer::kYes) {
    found.Ok(fmt::format("enrolled as {}, udp {}{}", facts.enrolment.edge,
                         facts.enrolment.listen_port,
                         facts.running == Answer::kYes ? ", edged runs" : ""));
  }
}

void CheckUplinks(const DoctorFacts& facts, Findings found) {
  if (!facts.uplinks || facts.enrolled != Answer::kYes) return;
  if (facts.uplinks->empty()) {
    if (facts.enrolment.contacted == Answer::kNo) return;  // said already
    return found.Warning("there is no uplink",
                         "Every mapped port is refused until an agent comes.",
                         {"clusteragent status"});
  }
  for (const UplinkFacts& uplink : *facts.uplinks) {
    CheckUplink(facts, uplink, found);
  }
  const bool known = std::ranges::any_of(*facts.uplinks, [](const auto& one) {
    return one.alive != Answer::kUnknown;
  });
  const auto alive =
      std::ranges::count(*facts.uplinks, Answer::kYes, &UplinkFacts::alive);
  const bool draining =
      std::ranges::any_of(*facts.uplinks, &UplinkFacts::draining);
  if (known && alive == 0 && !draining) {
    found.Error("no uplink is alive",
                "Connections to every mapped port are refused.",
                {"clusteragent status"});
  }
  found.Ok(
      known ? fmt::format("{} of {} alive", alive, facts.uplinks->size())
            : fmt::format("{} with a recent handshake", facts.uplinks->size()));
}

}  // namespace edged::edge
