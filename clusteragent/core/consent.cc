#include "clusteragent/core/consent.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace edged::agent {
namespace {

constexpr char kApiGroup[] = "edged.dev";

size_t CountOf(const AddressHolder& holder, Protocol protocol,
               PortRange ports) {
  return static_cast<size_t>(
      std::ranges::count_if(holder.ports, [&](const auto& port) {
        return port.first == protocol && ports.Contains(port.second);
      }));
}

bool PublishesAll(const AddressHolder& holder, Protocol protocol,
                  PortRange ports) {
  return CountOf(holder, protocol, ports) == ports.size();
}

}  // namespace

bool IsOpen(const Namespace& name_space, const AnnotationNames& names) {
  const Labels& labels = name_space.meta.labels;
  const auto label = labels.find(names.allow_port_bindings());
  return label != labels.end() && label->second == "true";
}

Consents::Consents(const Cluster& cluster) : cluster_(cluster) {
  for (const Namespace& name_space : cluster.namespaces) {
    namespaces_[name_space.meta.name] = &name_space;
  }
  for (const ReferenceGrant& grant : cluster.grants) {
    grants_[grant.meta.name_space].push_back(&grant);
  }
}

bool Consents::ToService(const std::string& from, const Name& service) const {
  return ToAll(from, service.first) ||
         Grants(from, service.first, service.second);
}

bool Consents::ToAll(const std::string& from,
                     const std::string& name_space) const {
  if (from == name_space) return true;
  const auto found = namespaces_.find(name_space);
  return (found != namespaces_.end() &&
          IsOpen(*found->second, cluster_.annotations)) ||
         Grants(from, name_space, "");
}

bool Consents::Grants(const std::string& from, const std::string& name_space,
                      const std::string& service) const {
  const auto grants = grants_.find(name_space);
  if (grants == grants_.end()) return false;
  const ReferenceGrant::From wanted{kApiGroup, "PortBinding", from};
  return std::ranges::any_of(grants->second, [&](const ReferenceGrant* grant) {
    return std::ranges::find(grant->from, wanted) != grant->from.end() &&
           std::ranges::any_of(grant->to, [&](const ReferenceGrant::To& to) {
             return to.group.empty() && to.kind == "Service" &&
                    to.name == service;
           });
  });
}

std::string Consents::AgainstAddress(const std::string& from,
                                     const IpAddress& address,
                                     Protocol protocol, PortRange ports) const {
  const auto found = cluster_.holders.find(address);
  if (found == cluster_.holders.end()) return "";
  std::set<std::string> against;
  std::set<std::string> granted;
  for (const AddressHolder& holder : found->second) {
    const bool has_ports = holder.whole || CountOf(holder, protocol, ports) > 0;
    if (!has_ports || ToAll(from, holder.name_space)) continue;
    if (PublishesAll(holder, protocol, ports) &&
        Grants(from, holder.name_space, holder.service)) {
      granted.insert(holder.name_space);
    } else {
      against.insert(holder.name_space);
    }
  }
  // Another Service of the same Pods takes nothing back.
  for (const std::string& name_space : granted) against.erase(name_space);
  return against.empty() ? "" : *against.begin();
}

std::string Consents::Lack(const std::string& from) const {
  return fmt::format(
      "has neither the label {}=true nor a ReferenceGrant for PortBindings of "
      "namespace \"{}\"",
      cluster_.annotations.allow_port_bindings(), from);
}

}  // namespace edged::agent
