#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <map>

#include "edged/core/doctor_checks.h"
#include "edged/core/firewall_mend.h"
#include "edged/core/firewall_trials.h"
#include "edged/core/nft_names.h"
#include "edged/core/rule_walk.h"

// Checks of the rules that others have on this host: each base chain that our
// packets pass is walked through.

namespace edged::edge {
namespace {

using nftables::AnyChain;
using nftables::AnyTable;

// Mapped ports that are tried one by one where a chain tells them apart.
constexpr size_t kTriedPorts = 500;

// One base chain that drops something of ours.
class Judge {
 public:
  Judge(const DoctorFacts& facts, const AnyTable& table, const AnyChain& base)
      : facts_(facts), table_(table), base_(base) {}

  void Try(const Trial& trial);
  void Report(Findings& found) const;

 private:
  struct Drop {
    RulePlace place;
    bool certain = true;     // else it may drop it
    bool selective = false;  // an earlier rule lets some pass
    std::string except;      // that rule
    std::vector<MappedPorts> ports;
  };

  void Note(const Trial& trial, const WalkEnd& end,
            const std::vector<MappedPorts>& ports);
  Severity SeverityOf(Purpose purpose, const Drop& drop) const;

  const DoctorFacts& facts_;
  const AnyTable& table_;
  const AnyChain& base_;
  // By what it hits and the place that drops.
  std::map<std::pair<Purpose, std::string>, Drop> drops_;
};

// First without a port: only a chain that tells ports apart is asked for each.
void Judge::Try(const Trial& trial) {
  const WalkEnd end = WalkBaseChain(table_, base_, trial.probe);
  const bool depends = end.perhaps_accepted_by || end.perhaps_dropped_by;
  if (trial.mapped.empty() || !depends) return Note(trial, end, trial.mapped);
  const size_t count = std::min(trial.mapped.size(), kTriedPorts);
  for (size_t i = 0; i < count; ++i) {
    Probe probe = trial.probe;
    probe.destination_port = trial.mapped[i].ports.first;
    Note(trial, WalkBaseChain(table_, base_, probe), {trial.mapped[i]});
  }
}

void Judge::Note(const Trial& trial, const WalkEnd& end,
                 const std::vector<MappedPorts>& ports) {
  const auto& place = end.dropped_by ? end.dropped_by : end.perhaps_dropped_by;
  if (!place) return;
  const std::string key =
      fmt::format("{} {} {}", place->chain, place->handle, place->text);
  Drop& drop = drops_[{trial.purpose, key}];
  drop.place = *place;
  drop.certain = end.dropped_by.has_value();
  drop.selective = end.perhaps_accepted_by.has_value();
  if (drop.selective) {
    drop.except = fmt::format("{} of chain {}", end.perhaps_accepted_by->text,
                              end.perhaps_accepted_by->chain);
  }
  drop.ports.insert(drop.ports.end(), ports.begin(), ports.end());
}

Severity Judge::SeverityOf(Purpose purpose, const Drop& drop) const {
  if (!drop.certain) return Severity::kNote;
  if (drop.selective) return Severity::kWarning;
  // What established connections still let pass fails after a reboot.
  const bool alive = purpose == Purpose::kTunnelIn && facts_.uplinks &&
                     std::ranges::any_of(*facts_.uplinks, [](const auto& one) {
                       return one.alive == Answer::kYes;
                     });
  return alive ? Severity::kWarning : Severity::kError;
}

void Judge::Report(Findings& found) const {
  for (const auto& [key, drop] : drops_) {
    const Purpose purpose = key.first;
    const std::string where =
        fmt::format("{}{}, chain {}", table_.ToString(),
                    NameOf(OwnerOf(table_)), drop.place.chain);
    const std::string rule =
        drop.place.handle == 0
            ? "its policy"
            : fmt::format("`{}` (handle {})", drop.place.text,
                          drop.place.handle);
    std::string what = TextOf(purpose, facts_);
    if (!drop.ports.empty()) what += " (" + PortsText(drop.ports) + ")";
    std::string means = MeaningOf(purpose);
    if (drop.selective) {
      means = fmt::format("Unless they come by `{}`: {}", drop.except, means);
    }
    if (!drop.certain) {
      means = "It depends on what only that rule knows.";
    }
    found.Add(SeverityOf(purpose, drop),
              fmt::format("{}: {} {} {}", where, rule,
                          !drop.certain        ? "may drop"
                          : drop.place.refuses ? "refuses"
                                               : "drops",
                          what),
              means, MendLines(table_, base_, purpose, drop.ports, facts_));
  }
}

bool IsOurs(const AnyTable& table) {
  return table.family == NFPROTO_INET &&
         (table.name == kTable || table.name.starts_with("edged-"));
}

bool IsPassed(const AnyTable& table) {
  constexpr uint8_t kFamilies[] = {NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET,
                                   NFPROTO_NETDEV};
  return !table.dormant && !IsOurs(table) &&
         std::ranges::find(kFamilies, table.family) != std::end(kFamilies);
}

}  // namespace

void CheckFirewall(const DoctorFacts& facts, Findings found) {
  if (facts.legacy_iptables) {
    found.Note("there are rules of iptables-legacy",
               "They are not of nf_tables, and were not looked at.",
               {"iptables-legacy -S"});
  }
  if (!facts.tables || facts.enrolled != Answer::kYes) return;
  std::vector<std::string> names;
  for (const AnyTable& table : *facts.tables) {
    if (!IsPassed(table)) continue;
    for (const auto& [name, chain] : table.chains) {
      if (!chain.hook) continue;
      Judge judge(facts, table, chain);
      for (const Trial& trial : TrialsThrough(table, *chain.hook, facts)) {
        judge.Try(trial);
      }
      judge.Report(found);
    }
    names.push_back(
        fmt::format("{}{}", table.ToString(), NameOf(OwnerOf(table))));
  }
  found.Ok(names.empty() ? "no other program has rules here"
                         : fmt::format("{} let our traffic pass",
                                       fmt::join(names, ", ")));
}

void CheckSavedTables(const DoctorFacts& facts, Findings found) {
  for (const SavedTable& saved : facts.saved_tables) {
    found.Warning(
        fmt::format("{} holds a copy of our table {}, lines {} to {}",
                    saved.file, saved.table, saved.first_line, saved.last_line),
        "Loading it brings old rules back until edged repairs them; with a "
        "guard table, which belongs to edged alone, the whole file fails to "
        "load and no rule of it is there after a boot.",
        {fmt::format("sed -i '{},{}d' {}", saved.first_line, saved.last_line,
                     saved.file)});
  }
  found.Ok("none of our tables is in /etc/nftables.conf");
}

}  // namespace edged::edge
