#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <map>
#include <tuple>

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

// One base chain that drops something of ours, or sends it elsewhere.
class Judge {
 public:
  Judge(const DoctorFacts& facts, const AnyTable& table, const AnyChain& base)
      : facts_(facts), table_(table), base_(base) {}

  void Try(const Trial& trial);
  void Report(Findings& found) const;

 private:
  enum class Deed { kDrop, kTranslate };

  struct Harm {
    RulePlace place;
    bool certain = true;     // else it may do it
    bool untracked = false;  // only to what has no entry
    bool selective = false;  // an earlier rule lets some pass
    std::string except;      // that rule
    std::vector<MappedPorts> ports;
  };

  void Judged(const Trial& trial, const WalkEnd& end,
              const std::vector<MappedPorts>& ports);
  void Note(const Trial& trial, Deed deed, bool certain, const RulePlace& place,
            const WalkEnd& end, const std::vector<MappedPorts>& ports);
  void ReportDrop(Purpose purpose, const Harm& drop, Findings& found) const;
  void ReportTranslation(Purpose purpose, const Harm& harm,
                         Findings& found) const;
  Severity SeverityOf(Purpose purpose, const Harm& harm) const;
  std::string WhereOf(const Harm& harm) const;
  // Whoever translates here does so before us.
  bool TranslatesOurs(const Trial& trial) const {
    return base_.hook->type == "nat" &&
           base_.hook->number == NF_INET_PRE_ROUTING && !trial.probe.translated;
  }

  const DoctorFacts& facts_;
  const AnyTable& table_;
  const AnyChain& base_;
  // By what it hits, and the place that does it.
  using Key = std::tuple<Purpose, Deed, bool /*untracked*/, std::string>;
  std::map<Key, Harm> harms_;
};

// First without a port: only a chain that tells ports apart is asked for each.
void Judge::Try(const Trial& trial) {
  // Of a connection, such a chain sees the first packet alone.
  const bool first = !trial.probe.established && !trial.probe.untracked;
  if (base_.hook->type == "nat" && !first) return;
  const WalkEnd end = WalkBaseChain(table_, base_, trial.probe);
  const bool depends = end.perhaps_accepted_by || end.perhaps_dropped_by;
  if (trial.mapped.empty() || !depends) {
    return Judged(trial, end, trial.mapped);
  }
  const size_t count = std::min(trial.mapped.size(), kTriedPorts);
  for (size_t i = 0; i < count; ++i) {
    Probe probe = trial.probe;
    probe.destination_port = trial.mapped[i].ports.first;
    Judged(trial, WalkBaseChain(table_, base_, probe), {trial.mapped[i]});
  }
}

void Judge::Judged(const Trial& trial, const WalkEnd& end,
                   const std::vector<MappedPorts>& ports) {
  const auto note = [&](Deed deed, const std::optional<RulePlace>& place,
                        const std::optional<RulePlace>& perhaps) {
    if (const auto& by = place ? place : perhaps) {
      Note(trial, deed, place.has_value(), *by, end, ports);
    }
  };
  note(Deed::kDrop, end.dropped_by, end.perhaps_dropped_by);
  if (TranslatesOurs(trial)) {
    note(Deed::kTranslate, end.translated_by, end.perhaps_translated_by);
  }
}

void Judge::Note(const Trial& trial, Deed deed, bool certain,
                 const RulePlace& place, const WalkEnd& end,
                 const std::vector<MappedPorts>& ports) {
  const std::string key =
      fmt::format("{} {} {}", place.chain, place.handle, place.text);
  const bool untracked = trial.probe.untracked;
  Harm& harm = harms_[{trial.purpose, deed, untracked, key}];
  harm.place = place;
  harm.untracked = untracked;
  harm.certain = certain;
  harm.selective =
      end.perhaps_accepted_by.has_value() && *end.perhaps_accepted_by != place;
  if (harm.selective) {
    harm.except = fmt::format("{} of chain {}", end.perhaps_accepted_by->text,
                              end.perhaps_accepted_by->chain);
  }
  harm.ports.insert(harm.ports.end(), ports.begin(), ports.end());
}

Severity Judge::SeverityOf(Purpose purpose, const Harm& harm) const {
  if (!harm.certain) return Severity::kNote;
  if (harm.selective || harm.untracked) return Severity::kWarning;
  // What established connections still let pass fails after a reboot.
  const bool alive = purpose == Purpose::kTunnelIn && facts_.uplinks &&
                     std::ranges::any_of(*facts_.uplinks, [](const auto& one) {
                       return one.alive == Answer::kYes;
                     });
  return alive ? Severity::kWarning : Severity::kError;
}

std::string Judge::WhereOf(const Harm& harm) const {
  return fmt::format("{}{}, chain {}: {}", table_.ToString(),
                     NameOf(OwnerOf(table_)), harm.place.chain,
                     harm.place.handle == 0
                         ? "its policy"
                         : fmt::format("`{}` (handle {})", harm.place.text,
                                       harm.place.handle));
}

void Judge::ReportDrop(Purpose purpose, const Harm& drop,
                       Findings& found) const {
  std::string what = TextOf(purpose, facts_);
  if (!drop.ports.empty()) what += " (" + PortsText(drop.ports) + ")";
  std::string means = MeaningOf(purpose);
  if (drop.untracked) {
    what +=
        ", where it has no entry in the table of connections, which is full";
    means = "Uplinks that move, or start anew, stay away until there is room.";
  }
  if (drop.selective) {
    means = fmt::format("Unless they come by `{}`: {}", drop.except, means);
  }
  if (!drop.certain) means = "It depends on what only that rule knows.";
  found.Add(SeverityOf(purpose, drop),
            fmt::format("{} {} {}", WhereOf(drop),
                        !drop.certain        ? "may drop"
                        : drop.place.refuses ? "refuses"
                                             : "drops",
                        what),
            means, MendLines(table_, base_, purpose, drop.ports, facts_));
}

void Judge::ReportTranslation(Purpose purpose, const Harm& harm,
                              Findings& found) const {
  std::string what = TextOf(purpose, facts_);
  if (!harm.ports.empty()) what += " (" + PortsText(harm.ports) + ")";
  std::string means =
      purpose == Purpose::kForwardIn
          ? fmt::format(
                "It comes before edged (priority {}, edged's is {}): "
                "what it takes never reaches the mapping. Unmap these "
                "ports, or take the rule away; the line below lets "
                "them pass by it.",
                base_.hook->priority, kDnatPriority)
          : MeaningOf(purpose);
  if (OwnerOf(table_) == Owner::kDocker) {
    means +=
        " Docker makes it again for as long as a container publishes the "
        "port.";
  }
  if (!harm.certain) means = "It depends on what only that rule knows.";
  found.Add(SeverityOf(purpose, harm),
            fmt::format("{} {} {}", WhereOf(harm),
                        harm.certain ? "takes" : "may take", what),
            means, LinesAtHead(table_, base_, purpose, harm.ports, facts_));
}

void Judge::Report(Findings& found) const {
  for (const auto& [key, harm] : harms_) {
    const auto& [purpose, deed, untracked, place] = key;
    // It drops what has an entry, too.
    if (untracked && harms_.contains({purpose, deed, false, place})) continue;
    if (deed == Deed::kDrop) {
      ReportDrop(purpose, harm, found);
    } else {
      ReportTranslation(purpose, harm, found);
    }
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
