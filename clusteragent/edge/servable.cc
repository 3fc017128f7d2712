#include "clusteragent/edge/servable.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

namespace edged::agent {
namespace {

bool HasAccess(const protocol::Group& group) { return !group.access.empty(); }

std::set<std::string> GroupsWithAccess(const protocol::EdgeState& state) {
  std::set<std::string> names;
  for (const protocol::Group& group : state.groups) {
    if (HasAccess(group)) names.insert(group.name);
  }
  return names;
}

}  // namespace

Servable::Servable(const std::string& edge, const EdgeWelcome& welcome)
    : knows_access_(welcome.knows_access),
      why_(fmt::format("edged {} on {} knows no access rules; upgrade it",
                       welcome.version, edge)) {}

protocol::SharedState Servable::Of(const protocol::SharedState& wanted) const {
  if (knows_access_) return wanted;
  const std::set<std::string> unknown = GroupsWithAccess(wanted->state());
  if (unknown.empty()) return wanted;
  protocol::EdgeState rest = wanted->state();
  std::erase_if(rest.groups, HasAccess);
  std::erase_if(rest.mappings, [&unknown](const protocol::Mapping& mapping) {
    return unknown.contains(mapping.group);
  });
  return std::make_shared<const protocol::DigestedState>(std::move(rest),
                                                         wanted.get());
}

std::vector<RefusedMapping> Servable::Withheld(
    const protocol::EdgeState& wanted) const {
  std::vector<RefusedMapping> withheld;
  if (knows_access_) return withheld;
  const std::set<std::string> unknown = GroupsWithAccess(wanted);
  for (const protocol::Mapping& mapping : wanted.mappings) {
    if (!unknown.contains(mapping.group)) continue;
    withheld.push_back({mapping.listener, "FeatureNotAvailable", why_});
  }
  return withheld;
}

}  // namespace edged::agent
