#include "clusteragent/core/binding_judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "clusteragent/core/names.h"
#include "clusteragent/core/target_address.h"
#include "common/status.h"

namespace edged::agent {
namespace {

constexpr int64_t kLastPort = 65535;
constexpr char kViaClusterIp[] = "ClusterIP";

// An IPv4 client is never seen as ::ffff:192.0.2.1, so such a prefix would keep
// out nobody.
absl::StatusOr<IpPrefix> ReadClients(const std::string& text) {
  constexpr int kMapped = 96;
  auto prefix = IpPrefix::Parse(text);
  if (prefix.ok() && prefix->address().is_ipv4_mapped() &&
      prefix->length() >= kMapped) {
    return InvalidArgument("\"{}\" is of IPv4, and is to be written so", text);
  }
  return prefix;
}

bool IsPort(int64_t number) { return number >= 1 && number <= kLastPort; }

// The port that `text` is as a number, or nothing: then it may be a name.
std::optional<int64_t> AsNumber(std::string_view text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace

std::variant<ValidBinding, Refusal> BindingJudge::Judge() {
  if (!IsDnsLabel(binding_.name)) {
    Refuse(
        reason::kInvalidName, "name",
        fmt::format("\"{}\" is not a name ({})", binding_.name, kDnsLabelRule));
  }
  JudgeListener();
  JudgePublicIp();
  JudgeTarget();
  JudgeOptions();
  JudgeTls();
  JudgeAccess();
  JudgeFeatures();
  if (refusal_) return *std::move(refusal_);
  return valid_;
}

void BindingJudge::Refuse(const char* reason, std::string_view field,
                          std::string_view message) {
  if (refusal_) return;
  refusal_ = Refusal{reason, fmt::format("{}.{}: {}", path_, field, message)};
}

uint16_t BindingJudge::Port(std::string_view field,
                            const std::optional<int64_t>& port,
                            const char* reason) {
  if (!port) {
    Refuse(reason, field, "is missing");
  } else if (!IsPort(*port)) {
    Refuse(reason, field, fmt::format("{} is not a port (1-65535)", *port));
  } else {
    return static_cast<uint16_t>(*port);
  }
  return 0;
}

void BindingJudge::CheckDuration(std::string_view field,
                                 const std::optional<WrittenDuration>& duration,
                                 bool whole_seconds) {
  if (!duration) return;
  if (!duration->value) {
    Refuse(reason::kInvalidDuration, field,
           fmt::format("\"{}\" is not a duration (\"30s\", \"15m\", \"1h30m\")",
                       duration->text));
  } else if (whole_seconds && duration->value->count() % 1000 != 0) {
    Refuse(reason::kInvalidDuration, field,
           fmt::format("{} is not a whole number of seconds, and the kernel "
                       "keeps no fractions",
                       duration->text));
  }
}

void BindingJudge::JudgeTimeout(std::string_view field,
                                const std::optional<WrittenDuration>& duration,
                                std::chrono::seconds& timeout) {
  CheckDuration(field, duration, true);
  if (!duration || !duration->value) return;
  timeout = std::chrono::duration_cast<std::chrono::seconds>(*duration->value);
  if (*duration->value > protocol::kMostTimeout) {
    Refuse(reason::kInvalidDuration, field,
           fmt::format("{} is more than the 24 days that the kernel can count",
                       duration->text));
  }
}

void BindingJudge::JudgeListener() {
  if (binding_.protocol == "TCP") {
    valid_.protocol = Protocol::kTcp;
  } else if (binding_.protocol == "UDP") {
    valid_.protocol = Protocol::kUdp;
  } else {
    Refuse(
        reason::kInvalidProtocol, "protocol",
        binding_.protocol.empty()
            ? "is missing (TCP or UDP)"
            : fmt::format("\"{}\" is neither TCP nor UDP", binding_.protocol));
  }
  valid_.ports.first =
      Port("listenPort", binding_.listen_port, reason::kInvalidPort);
  valid_.ports.last = valid_.ports.first;
  if (!binding_.end_port) return;
  valid_.ports.last = Port("endPort", binding_.end_port, reason::kInvalidPort);
  if (valid_.ports.last < valid_.ports.first) {
    Refuse(reason::kInvalidRange, "endPort",
           fmt::format("{} is below listenPort {}", *binding_.end_port,
                       *binding_.listen_port));
  }
}

void BindingJudge::JudgePublicIp() {
  if (!binding_.public_ip) {
    valid_.public_ip = FirstPublicIp();
  } else if (*binding_.public_ip == "*") {
    valid_.public_ip = EveryPublicIp();
  } else if (const auto address = IpAddress::Parse(*binding_.public_ip);
             address.ok()) {
    valid_.public_ip = *address;
  } else {
    Refuse(reason::kInvalidPublicIp, "publicIP",
           fmt::format("\"{}\" is neither an IP address nor \"*\"",
                       *binding_.public_ip));
  }
}

void BindingJudge::JudgeTarget() {
  const Target& target = binding_.target;
  if (target.service && target.address) {
    Refuse(reason::kInvalidTarget, "target",
           "has both service and address; one of them is the target");
  } else if (target.service) {
    JudgeTargetService();
  } else if (target.address) {
    JudgeTargetAddress();
  } else {
    Refuse(reason::kInvalidTarget, "target", "has neither service nor address");
  }
  if (!target.service && !target.via.empty()) {
    Refuse(reason::kInvalidTarget, "target.via", "belongs to a Service");
  }
  if (binding_.client_ip == "Preserve") {
    valid_.client_ip = ClientIp::kPreserve;
  } else if (binding_.client_ip != "Masquerade") {
    Refuse(reason::kInvalidClientIp, "clientIP",
           fmt::format("\"{}\" is neither Masquerade nor Preserve",
                       binding_.client_ip));
  }
}

void BindingJudge::JudgeTargetAddress() {
  const Target& target = binding_.target;
  const auto address = IpAddress::Parse(*target.address);
  if (!address.ok()) {
    Refuse(reason::kInvalidTarget, "target.address",
           fmt::format("\"{}\" is not an IP address", *target.address));
  } else if (const auto why = WhyNoTarget(*address); !why.empty()) {
    Refuse(reason::kInvalidTarget, "target.address",
           fmt::format("{} {}", *target.address, why));
  } else {
    valid_.target.address = *address;
  }
  const bool keeps_ports = binding_.end_port && !target.port;
  valid_.target.port =
      keeps_ports ? valid_.ports.first
                  : Port("target.port", target.port, reason::kInvalidTarget);
  if (target.port) {
    JudgeRangeTarget("target.port", fmt::format("{}", *target.port));
  }
}

void BindingJudge::JudgeTargetService() {
  const ServiceRef& service = *binding_.target.service;
  if (!IsDnsLabel(service.name)) {
    Refuse(reason::kInvalidTarget, "target.service.name",
           fmt::format("\"{}\" is not the name of a Service ({})", service.name,
                       kDnsLabelRule));
  }
  if (!service.name_space.empty() && !IsDnsLabel(service.name_space)) {
    Refuse(reason::kInvalidTarget, "target.service.namespace",
           fmt::format("\"{}\" is not a namespace ({})", service.name_space,
                       kDnsLabelRule));
  }
  if (binding_.target.port) {
    Refuse(reason::kInvalidTarget, "target.port",
           "belongs to an address; a Service has target.service.port");
  }
  const std::string& via = binding_.target.via;
  if (!via.empty() && via != "Endpoints" && via != kViaClusterIp) {
    Refuse(reason::kInvalidTarget, "target.via",
           fmt::format("\"{}\" is neither Endpoints nor ClusterIP", via));
  }
  valid_.service = ServiceTarget{service.name_space, service.name, service.port,
                                 via == kViaClusterIp};
  if (service.port.empty()) {
    if (!binding_.end_port) {
      Refuse(reason::kInvalidTarget, "target.service.port", "is missing");
    }
    return;
  }
  const auto number = AsNumber(service.port);
  if (number ? !IsPort(*number) : !IsPortName(service.port)) {
    Refuse(reason::kInvalidTarget, "target.service.port",
           fmt::format("\"{}\" is neither a port (1-65535) nor a port's name",
                       service.port));
  }
  JudgeRangeTarget("target.service.port", service.port);
}

void BindingJudge::JudgeRangeTarget(std::string_view field,
                                    std::string_view port) {
  if (valid_.ports.is_single()) return;
  if (port == fmt::format("{}", valid_.ports.first)) return;
  Refuse(reason::kInvalidRange, field,
         fmt::format("is {}, but a range keeps its ports: leave it out or make "
                     "it equal to listenPort {}",
                     port, valid_.ports.first));
}

void BindingJudge::JudgeOptions() {
  const bool tcp = valid_.protocol == Protocol::kTcp;
  if (binding_.tcp && !tcp) {
    Refuse(reason::kInvalidOptions, "tcp", "is set on a UDP binding");
  }
  if (binding_.udp && tcp) {
    Refuse(reason::kInvalidOptions, "udp", "is set on a TCP binding");
  }
  if (binding_.tcp) {
    const std::string& version = binding_.tcp->proxy_protocol;
    if (!version.empty() && version != "v1" && version != "v2") {
      Refuse(reason::kInvalidOptions, "tcp.proxyProtocol",
             fmt::format("\"{}\" is neither v1 nor v2", version));
    }
    CheckDuration("tcp.connectTimeout", binding_.tcp->connect_timeout, false);
    JudgeTimeout("tcp.idleTimeout", binding_.tcp->idle_timeout,
                 valid_.timeouts.tcp_idle);
  }
  if (binding_.udp) {
    JudgeTimeout("udp.sessionTimeout", binding_.udp->session_timeout,
                 valid_.timeouts.udp_session);
  }
}

void BindingJudge::JudgeTls() {
  if (!binding_.tls) return;
  static constexpr std::array<std::string_view, 3> kModes = {
      "Passthrough", "Offload", "Mutual"};
  const TlsOptions& tls = *binding_.tls;
  if (valid_.protocol == Protocol::kUdp) {
    Refuse(reason::kInvalidOptions, "tls", "is set on a UDP binding");
  } else if (std::ranges::find(kModes, tls.mode) == kModes.end()) {
    Refuse(reason::kInvalidOptions, "tls.mode",
           fmt::format("\"{}\" is none of Passthrough, Offload, Mutual",
                       tls.mode));
  } else if (tls.mode != "Passthrough" && tls.secret_ref.empty()) {
    Refuse(reason::kInvalidOptions, "tls.secretRef",
           fmt::format("is missing, and mode {} needs it", tls.mode));
  }
}

void BindingJudge::JudgeAccess() {
  if (!binding_.access) return;
  const auto judge = [this](std::string_view field,
                            const std::vector<std::string>& written,
                            std::vector<IpPrefix>& prefixes) {
    for (size_t i = 0; i < written.size(); ++i) {
      const auto prefix = ReadClients(written[i]);
      if (prefix.ok()) {
        prefixes.push_back(*prefix);
      } else {
        Refuse(reason::kInvalidOptions, fmt::format("access.{}[{}]", field, i),
               Message(prefix.status()));
      }
    }
    if (written.size() > protocol::kMostPrefixes) {
      Refuse(reason::kInvalidOptions, fmt::format("access.{}", field),
             fmt::format("has {} prefixes, more than {}", written.size(),
                         protocol::kMostPrefixes));
    }
    // In one order, so that equal lists share a group.
    std::ranges::sort(prefixes);
    prefixes.erase(std::unique(prefixes.begin(), prefixes.end()),
                   prefixes.end());
  };
  protocol::Access& access = valid_.access;
  judge("allowCIDRs", binding_.access->allow_cidrs, access.allow);
  judge("denyCIDRs", binding_.access->deny_cidrs, access.deny);
}

void BindingJudge::JudgeFeatures() {
  const auto missing = [this](bool used, std::string_view field,
                              std::string_view what) {
    if (!used) return;
    Refuse(reason::kFeatureNotAvailable, field,
           fmt::format("this version has no {} yet", what));
  };
  missing(binding_.tls.has_value(), "tls", "TLS");
  if (binding_.tcp) {
    missing(!binding_.tcp->proxy_protocol.empty(), "tcp.proxyProtocol",
            "PROXY protocol");
    missing(binding_.tcp->connect_timeout.has_value(), "tcp.connectTimeout",
            "connect timeout");
  }
}

}  // namespace edged::agent
