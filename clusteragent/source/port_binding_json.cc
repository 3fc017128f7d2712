#include <fmt/format.h>

#include <limits>
#include <optional>
#include <utility>

#include "clusteragent/source/spec_json.h"
#include "common/config/duration.h"

namespace edged::agent {
namespace {

// Values stand as written, so the border asks for the type alone.
std::optional<int64_t> ReadInt(config::Fields& fields, std::string_view name) {
  using Limits = std::numeric_limits<int64_t>;
  if (!fields.Has(name)) return std::nullopt;
  return fields.Int(name, 0, Limits::min(), Limits::max());
}

std::optional<std::string> ReadString(config::Fields& fields,
                                      std::string_view name) {
  if (!fields.Has(name)) return std::nullopt;
  return fields.String(name);
}

std::optional<WrittenDuration> ReadDuration(config::Fields& fields,
                                            std::string_view name) {
  if (!fields.Has(name)) return std::nullopt;
  WrittenDuration duration{.text = fields.String(name)};
  const auto value = config::ParseDuration(duration.text);
  if (value.ok()) duration.value = *value;
  return duration;
}

Target ReadTarget(const config::Document& document, size_t index,
                  config::Fields fields) {
  Target target;
  target.address = ReadString(fields, "address");
  target.port = ReadInt(fields, "port");
  target.via = fields.String("via");
  if (!fields.Has("service")) return target;
  config::Fields service = fields.Object("service");
  ServiceRef& ref = target.service.emplace();
  ref.name = service.String("name");
  ref.name_space = service.String("namespace");
  if (IsNumberAt(document,
                 fmt::format("/spec/bindings/{}/target/service/port", index))) {
    ref.port = fmt::format("{}", ReadInt(service, "port").value_or(0));
  } else {
    ref.port = service.String("port");
  }
  return target;
}

void ReadOptions(config::Fields& fields, Binding& binding) {
  if (fields.Has("tcp")) {
    config::Fields tcp = fields.Object("tcp");
    binding.tcp =
        TcpOptions{.proxy_protocol = tcp.String("proxyProtocol"),
                   .connect_timeout = ReadDuration(tcp, "connectTimeout"),
                   .idle_timeout = ReadDuration(tcp, "idleTimeout")};
  }
  if (fields.Has("udp")) {
    config::Fields udp = fields.Object("udp");
    binding.udp =
        UdpOptions{.session_timeout = ReadDuration(udp, "sessionTimeout")};
  }
  if (fields.Has("tls")) {
    config::Fields tls = fields.Object("tls");
    binding.tls = TlsOptions{.mode = tls.String("mode")};
    config::Fields secret = tls.Object("secretRef");
    binding.tls->secret_ref = secret.String("name");
    secret.Ignore("namespace");
  }
  if (fields.Has("access")) {
    config::Fields access = fields.Object("access");
    binding.access = AccessOptions{.allow_cidrs = access.Strings("allowCIDRs"),
                                   .deny_cidrs = access.Strings("denyCIDRs")};
  }
}

Binding ReadBinding(const config::Document& document, size_t index,
                    config::Fields fields) {
  Binding binding{
      .name = fields.String("name"),
      .protocol = fields.String("protocol"),
      .listen_port = ReadInt(fields, "listenPort"),
      .end_port = ReadInt(fields, "endPort"),
      .public_ip = ReadString(fields, "publicIP"),
      .target = ReadTarget(document, index, fields.Object("target")),
      .client_ip = fields.String("clientIP", "Masquerade")};
  ReadOptions(fields, binding);
  return binding;
}

}  // namespace

void ReadPortBindingSpec(const config::Document& document, config::Fields spec,
                         PortBinding& object) {
  if (spec.Has("edgeNodeRef")) {
    object.edge_node = spec.Object("edgeNodeRef").String("name");
  }
  if (spec.Has("edgeNodeSelector")) {
    object.edge_node_selector = ReadSelector(spec.Object("edgeNodeSelector"));
  }
  for (config::Fields& item : spec.Objects("bindings")) {
    object.bindings.push_back(
        ReadBinding(document, object.bindings.size(), item));
  }
}

}  // namespace edged::agent
