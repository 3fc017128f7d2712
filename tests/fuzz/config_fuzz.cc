// edged.yaml, which an administrator writes, and join.yaml, which lies in the
// state folder.

#include "common/status.h"
#include "edged/config.h"
#include "edged/join.h"
#include "tests/fuzz/one_line.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

constexpr char kConfig[] = R"(
version: v1
wireguard: userspace
ownership: none
reservedPorts: [22/tcp, 53/udp]
state: /var/lib/edged
log: {format: json, level: debug}
)";

bool TryConfig(std::string_view text) {
  const auto config = edge::ParseConfig(text, "edged.yaml");
  if (!config.ok()) {
    RequireOneLine(Message(config.status()));
    return false;
  }
  for (const edge::ReservedPort& port : config->reserved_ports) {
    const auto again = edge::ParseReservedPort(edge::ToString(port));
    Require(again.ok() && *again == port, "a port is read as it is written");
  }
  return true;
}

bool TryJoin(std::string_view text) {
  const auto join = edge::ParseJoin(text, "join.yaml");
  if (!join.ok()) {
    RequireOneLine(Message(join.status()));
    return false;
  }
  const auto again = edge::ParseJoin(edge::FormatJoin(*join), "join.yaml");
  Require(again.ok() && *again == *join,
          "an enrolment is read as it is written");
  return true;
}

edge::Join Enrolment(std::string_view network) {
  std::array<uint8_t, kKeySize> key;
  key.fill(0x40);
  return {.token_id = "0123456789abcdef",
          .cluster_uid = "home",
          .edge = "fra1",
          .listen_port = 51820,
          .network = *IpPrefix::Parse(network),
          .private_key = PrivateKey(key),
          .control_key = PublicKey(key)};
}

}  // namespace

bool Try(Input input) {
  const bool is_config = TryConfig(AsText(input));
  const bool is_join = TryJoin(AsText(input));
  return is_config || is_join;
}

std::vector<std::string> Seeds() {
  return {kConfig, edge::FormatJoin(Enrolment("10.200.0.0/22")),
          edge::FormatJoin(Enrolment("172.16.0.0/16"))};
}

}  // namespace edged::fuzz
