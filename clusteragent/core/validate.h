#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clusteragent/core/objects.h"
#include "clusteragent/core/service_target.h"
#include "clusteragent/core/verdict.h"
#include "common/protocol/records.h"

// What one PortBinding comes to, judged alone: what is wrong with it whatever
// else exists. Pure.

namespace edged::agent {

// Which public addresses of a selected edge a binding listens on.
struct FirstPublicIp {
  auto operator<=>(const FirstPublicIp&) const = default;
};
struct EveryPublicIp {
  auto operator<=>(const EveryPublicIp&) const = default;
};
using PublicIpChoice = std::variant<FirstPublicIp, EveryPublicIp, IpAddress>;

enum class ClientIp : uint8_t { kMasquerade, kPreserve };

// A binding that makes sense. For a range the target's port is the listener's.
struct ValidBinding {
  Protocol protocol = Protocol::kTcp;
  PortRange ports;
  PublicIpChoice public_ip;
  SocketAddress target;  // of a range: its first port; unless `service`
  std::optional<ServiceTarget> service;  // its namespace empty: the object's
  ClientIp client_ip = ClientIp::kMasquerade;
  protocol::Timeouts timeouts;
  protocol::Access access;
  bool operator==(const ValidBinding&) const = default;
};

// One binding of the object: either valid or refused.
struct JudgedBinding {
  size_t index = 0;  // in spec.bindings
  std::string name;
  std::variant<ValidBinding, Refusal> verdict;

  const ValidBinding* valid() const {
    return std::get_if<ValidBinding>(&verdict);
  }
  const Refusal* refused() const { return std::get_if<Refusal>(&verdict); }
  bool operator==(const JudgedBinding&) const = default;
};

struct JudgedObject {
  std::optional<Refusal> refused;  // the object as a whole: none of it serves
  std::vector<JudgedBinding> bindings;  // as many as written, in their order
  bool operator==(const JudgedObject&) const = default;
};

// Messages read `PortBinding default/web: spec.bindings[1].listenPort: 70000 is
// not a port (1-65535)`. Of two bindings of the object on one listener the
// first in the list stands and the second is refused, naming both.
JudgedObject Judge(const PortBinding& object);

}  // namespace edged::agent
