#include "clusteragent/core/exposure.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "clusteragent/core/address_index.h"
#include "common/protocol/records.h"
#include "common/status.h"

namespace edged::agent {
namespace {

std::string AnnotationOf(const ObjectMeta& meta, const std::string& name) {
  const auto found = meta.annotations.find(name);
  return found == meta.annotations.end() ? "" : found->second;
}

std::string_view Trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = Trimmed(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

bool CanBeTarget(const Service& service) {
  return !service.headless && service.type != "ExternalName";
}

bool Asks(const Service& service, const AnnotationNames& names,
          bool by_namespace) {
  if (service.type == "LoadBalancer" &&
      service.load_balancer_class == kLoadBalancerClass) {
    return true;
  }
  const std::string own = AnnotationOf(service.meta, names.expose());
  if (own == "true") return true;
  return own != "false" && by_namespace && CanBeTarget(service) &&
         !IsApiServer(service);
}

// As kube-proxy reads it: the API server accepts spaces around it, and host
// bits, which mean nothing.
absl::StatusOr<IpPrefix> ReadRange(std::string_view text) {
  text = Trimmed(text);
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    const auto address = IpAddress::Parse(text.substr(0, slash));
    int length = 0;
    if (address.ok() &&
        absl::SimpleAtoi(std::string(text.substr(slash + 1)), &length)) {
      const IpPrefix network(*address, length);
      return IpPrefix::Parse(fmt::format("{}{}", network.address().ToString(),
                                         text.substr(slash)));
    }
  }
  return IpPrefix::Parse(text);
}

// The first that is none refuses them all: without it others might come in.
std::optional<Refusal> ReadRanges(const Service& service,
                                  std::vector<IpPrefix>& ranges) {
  const auto refuse = [&service](std::string_view field, std::string_view why) {
    return Refusal{
        reason::kInvalidSourceRanges,
        fmt::format("Service {}/{}: spec.loadBalancerSourceRanges{}"
                    ": {}",
                    service.meta.name_space, service.meta.name, field, why)};
  };
  const std::vector<std::string>& written = service.source_ranges;
  if (written.size() > protocol::kMostPrefixes) {
    return refuse("", fmt::format("has {} ranges, more than {}", written.size(),
                                  protocol::kMostPrefixes));
  }
  for (size_t i = 0; i < written.size(); ++i) {
    const auto range = ReadRange(written[i]);
    if (!range.ok()) {
      return refuse(fmt::format("[{}]", i), Message(range.status()));
    }
    ranges.push_back(*range);
  }
  return std::nullopt;
}

Exposure Read(const Service& service, const AnnotationNames& names) {
  Exposure exposure{
      .service = service,
      .edges = SplitList(AnnotationOf(service.meta, names.edge_nodes())),
      .held = service.status_is_others ? std::vector<IpAddress>()
                                       : service.load_balancer_ips,
      .names = names};
  const auto refuse = [&](const std::string& annotation,
                          const std::string& value, std::string_view why) {
    if (exposure.refused) return;
    exposure.refused = Refusal{
        reason::kInvalidAnnotation,
        fmt::format("Service {}/{}: metadata.annotations[{}]: \"{}\" {}",
                    service.meta.name_space, service.meta.name, annotation,
                    value, why)};
  };
  const std::string own = AnnotationOf(service.meta, names.expose());
  if (!own.empty() && own != "true" && own != "false") {
    refuse(names.expose(), own, "is neither true nor false");
  }
  const std::string dedicated =
      AnnotationOf(service.meta, names.dedicated_ip());
  exposure.dedicated = dedicated == "true";
  if (!dedicated.empty() && dedicated != "true" && dedicated != "false") {
    refuse(names.dedicated_ip(), dedicated, "is neither true nor false");
  }
  for (const std::string& text :
       SplitList(AnnotationOf(service.meta, names.public_ip()))) {
    const auto address = IpAddress::Parse(text);
    if (address.ok()) {
      exposure.addresses.push_back(*address);
    } else {
      refuse(names.public_ip(), text, "is not an IP address");
    }
  }
  for (const std::string& text :
       SplitList(AnnotationOf(service.meta, names.public_addresses()))) {
    const auto address = IpAddress::Parse(text);
    if (address.ok()) exposure.held.push_back(*address);
  }
  auto refused = ReadRanges(service, exposure.source_ranges);
  if (refused && !exposure.refused) exposure.refused = std::move(refused);
  return exposure;
}

}  // namespace

bool IsExposed(const Namespace& name_space, const AnnotationNames& names) {
  return AnnotationOf(name_space.meta, names.expose()) == "true";
}

bool Exposure::MayUse(const EdgeNode& node) const {
  const bool wanted =
      edges.empty() || std::ranges::find(edges, node.meta.name) != edges.end();
  return wanted && node.Allows(service.meta.name_space);
}

std::optional<Exposure> ReadExposure(const Service& service,
                                     const AnnotationNames& names,
                                     bool namespace_is_exposed) {
  if (!Asks(service, names, namespace_is_exposed)) return std::nullopt;
  return Read(service, names);
}

std::vector<Exposure> FindExposures(const Cluster& cluster) {
  std::set<std::string> namespaces;
  for (const Namespace& name_space : cluster.namespaces) {
    if (IsExposed(name_space, cluster.annotations)) {
      namespaces.insert(name_space.meta.name);
    }
  }
  std::vector<Exposure> exposures;
  for (const Service& service : cluster.services) {
    if (service.meta.deleting) continue;
    auto exposure = ReadExposure(service, cluster.annotations,
                                 namespaces.contains(service.meta.name_space));
    if (exposure) exposures.push_back(*std::move(exposure));
  }
  std::ranges::sort(exposures, [](const Exposure& a, const Exposure& b) {
    return IsOlder(a.service.meta, b.service.meta);
  });
  return exposures;
}

PortBinding BindingOf(const Exposure& exposure,
                      const std::vector<std::string>& edges,
                      const std::vector<IpAddress>& addresses) {
  PortBinding object{.kind = Kind::kService,
                     .meta = exposure.service.meta,
                     .edge_nodes = edges};
  AccessOptions access;
  for (const IpPrefix& range : exposure.source_ranges) {
    access.allow_cidrs.push_back(range.ToString());
  }
  for (size_t i = 0; i < addresses.size(); ++i) {
    for (const ServicePort& port : exposure.service.ports) {
      Binding& binding = object.bindings.emplace_back();
      const bool tcp = port.protocol == Protocol::kTcp;
      binding.name = fmt::format("{}-{}", tcp ? "tcp" : "udp", port.port);
      if (i > 0) binding.name += fmt::format("-{}", i + 1);
      binding.protocol = tcp ? "TCP" : "UDP";
      binding.listen_port = port.port;
      binding.public_ip = addresses[i].ToString();
      if (exposure.service.keeps_client_ip) binding.client_ip = "Preserve";
      if (!access.allow_cidrs.empty()) binding.access = access;
      binding.target.service = ServiceRef{.name = exposure.service.meta.name,
                                          .port = fmt::format("{}", port.port)};
    }
  }
  return object;
}

}  // namespace edged::agent
