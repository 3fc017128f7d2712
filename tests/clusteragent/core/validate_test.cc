#include "clusteragent/core/validate.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

// One line per binding: what it comes to, or why it is refused. The path that
// every message begins with is taken for granted.
std::string Text(const PortBinding& object) {
  const JudgedObject judged = Judge(object);
  std::string text;
  const std::string path = object.Key().ToString() + ": ";
  const auto refusal = [&path](const Refusal& refused) {
    REQUIRE(refused.message.starts_with(path));
    return fmt::format("{}: {}\n", refused.reason,
                       refused.message.substr(path.size()));
  };
  if (judged.refused) text += refusal(*judged.refused);
  for (const JudgedBinding& binding : judged.bindings) {
    if (const Refusal* refused = binding.refused()) {
      text += refusal(*refused);
      continue;
    }
    const ValidBinding& valid = *binding.valid();
    const IpAddress* named = std::get_if<IpAddress>(&valid.public_ip);
    std::string where = "first";
    if (std::holds_alternative<EveryPublicIp>(valid.public_ip)) where = "*";
    if (named != nullptr) where = named->ToString();
    text += fmt::format(
        "{}/{} on {} to {}{}\n", edged::ToString(valid.protocol),
        valid.ports.ToString(), where, valid.target.ToString(),
        valid.client_ip == ClientIp::kPreserve ? " preserving" : "");
  }
  return text;
}

std::string Text(Binding binding) {
  return Text(Object("web", "vps", {std::move(binding)}));
}

TEST_CASE("validate: a plain binding is what it says", "[validate]") {
  Binding binding = Bind("https", "TCP", 443);
  binding.target.port = 8443;
  CHECK(Text(binding) == "tcp/443 on first to 10.0.0.5:8443\n");
  binding.public_ip = "*";
  binding.client_ip = "Preserve";
  CHECK(Text(binding) == "tcp/443 on * to 10.0.0.5:8443 preserving\n");
  binding.public_ip = "203.0.113.1";
  CHECK(Text(binding) ==
        "tcp/443 on 203.0.113.1 to 10.0.0.5:8443 preserving\n");
}

TEST_CASE("validate: ports are 1 to 65535", "[validate]") {
  CHECK(Text(Bind("a", "TCP", 1)) == "tcp/1 on first to 10.0.0.5:1\n");
  CHECK(Text(Bind("a", "TCP", 65535)) ==
        "tcp/65535 on first to 10.0.0.5:65535\n");
  CHECK(
      Text(Bind("a", "TCP", 0)) ==
      "InvalidPort: spec.bindings[0].listenPort: 0 is not a port (1-65535)\n");
  CHECK(Text(Bind("a", "TCP", 65536)) ==
        "InvalidPort: spec.bindings[0].listenPort: 65536 is not a port "
        "(1-65535)\n");
  CHECK(Text(Bind("a", "TCP", -1)) ==
        "InvalidPort: spec.bindings[0].listenPort: -1 is not a port "
        "(1-65535)\n");
  Binding binding = Bind("a", "TCP", 80);
  binding.listen_port.reset();
  CHECK(Text(binding) ==
        "InvalidPort: spec.bindings[0].listenPort: is missing\n");
}

TEST_CASE("validate: protocols are TCP and UDP", "[validate]") {
  CHECK(Text(Bind("a", "UDP", 53)) == "udp/53 on first to 10.0.0.5:53\n");
  CHECK(Text(Bind("a", "SCTP", 80)) ==
        "InvalidProtocol: spec.bindings[0].protocol: \"SCTP\" is neither TCP "
        "nor UDP\n");
  CHECK(Text(Bind("a", "ICMP", 80)) ==
        "InvalidProtocol: spec.bindings[0].protocol: \"ICMP\" is neither TCP "
        "nor UDP\n");
  CHECK(
      Text(Bind("a", "", 80)) ==
      "InvalidProtocol: spec.bindings[0].protocol: is missing (TCP or UDP)\n");
}

TEST_CASE("validate: a range keeps its ports", "[validate]") {
  CHECK(Text(BindRange("a", "UDP", 50000, 50100)) ==
        "udp/50000-50100 on first to 10.0.0.5:50000\n");
  Binding range = BindRange("a", "UDP", 50000, 50100);
  range.target.port = 50000;
  CHECK(Text(range) == "udp/50000-50100 on first to 10.0.0.5:50000\n");
  range.target.port = 40000;
  CHECK(Text(range) ==
        "InvalidRange: spec.bindings[0].target.port: is 40000, but a range "
        "keeps its ports: leave it out or make it equal to listenPort 50000\n");
  CHECK(Text(BindRange("a", "UDP", 50000, 49999)) ==
        "InvalidRange: spec.bindings[0].endPort: 49999 is below listenPort "
        "50000\n");
  CHECK(Text(BindRange("a", "UDP", 50000, 65536)) ==
        "InvalidPort: spec.bindings[0].endPort: 65536 is not a port "
        "(1-65535)\n");
  CHECK(Text(BindRange("a", "UDP", 53, 53)) ==
        "udp/53 on first to 10.0.0.5:53\n");
}

TEST_CASE("validate: a target is a service or an address", "[validate]") {
  Binding binding = Bind("a", "TCP", 80);
  binding.target.service = ServiceRef{.name = "web", .port = "80"};
  CHECK(Text(binding) ==
        "InvalidTarget: spec.bindings[0].target: has both service and address; "
        "one of them is the target\n");
  binding.target = {};
  CHECK(Text(binding) ==
        "InvalidTarget: spec.bindings[0].target: has neither service nor "
        "address\n");
  binding.target = {.service = ServiceRef{.name = "web", .port = "80"},
                    .port = 80};
  CHECK(Text(binding) ==
        "InvalidTarget: spec.bindings[0].target.port: belongs to an address; a "
        "Service has target.service.port\n");
}

TEST_CASE("validate: a target address is the IP address of a host",
          "[validate]") {
  const auto with = [](const std::string& address) {
    Binding binding = Bind("a", "TCP", 80);
    binding.target.address = address;
    return Text(binding);
  };
  for (const std::string wrong : {"foo", "", "10.0.0.0/8", "web.example.com"}) {
    CHECK(with(wrong) ==
          fmt::format("InvalidTarget: spec.bindings[0].target.address: \"{}\" "
                      "is not an IP address\n",
                      wrong));
  }
  CHECK(with("127.0.0.1") ==
        "InvalidTarget: spec.bindings[0].target.address: 127.0.0.1 is a "
        "loopback address, which packets from a tunnel cannot reach; use "
        "another address of that host\n");
  for (const std::string wrong : {"169.254.169.254", "fd00:ec2:0::254"}) {
    CHECK(with(wrong) ==
          fmt::format("InvalidTarget: spec.bindings[0].target.address: {} is "
                      "where a cloud tells a machine its own keys\n",
                      wrong));
  }
  for (const std::string wrong : {"0.0.0.0", "224.0.0.1", "255.255.255.255"}) {
    CHECK(with(wrong) ==
          fmt::format("InvalidTarget: spec.bindings[0].target.address: {} is "
                      "not the address of a host\n",
                      wrong));
  }
  CHECK(with("2001:db8::5") == "tcp/80 on first to [2001:db8::5]:80\n");
}

TEST_CASE("validate: an address target needs a port", "[validate]") {
  Binding binding = Bind("a", "TCP", 80);
  binding.target.port.reset();
  CHECK(Text(binding) ==
        "InvalidTarget: spec.bindings[0].target.port: is missing\n");
  binding.target.port = 0;
  CHECK(Text(binding) ==
        "InvalidTarget: spec.bindings[0].target.port: 0 is not a port "
        "(1-65535)\n");
}

TEST_CASE("validate: a Service is named, and looked up elsewhere",
          "[validate]") {
  const auto with = [](ServiceRef service) {
    Binding binding = Bind("a", "TCP", 80);
    binding.target = {.service = std::move(service)};
    return Text(binding);
  };
  CHECK(with({.name = "web", .port = "http"}) ==
        with({.name = "web", .name_space = "shop", .port = "80"}));
  CHECK(with({.name = "a.b.svc", .port = "80"})
            .starts_with("InvalidTarget: spec.bindings[0].target.service.name: "
                         "\"a.b.svc\" is not the name of a Service"));
  CHECK(with({.name = "web", .name_space = "a/b", .port = "80"})
            .starts_with("InvalidTarget: "
                         "spec.bindings[0].target.service.namespace: \"a/b\""));
  CHECK(with({.name = "web"}) ==
        "InvalidTarget: spec.bindings[0].target.service.port: is missing\n");
  for (const std::string wrong : {"0", "65536", "-5", "a-", "UPPER"}) {
    CHECK(with({.name = "web", .port = wrong}) ==
          fmt::format("InvalidTarget: spec.bindings[0].target.service.port: "
                      "\"{}\" is neither a port (1-65535) nor a port's name\n",
                      wrong));
  }
}

TEST_CASE("validate: settings belong to their protocol", "[validate]") {
  Binding tcp = Bind("a", "TCP", 80);
  tcp.udp = UdpOptions();
  CHECK(Text(tcp) ==
        "InvalidOptions: spec.bindings[0].udp: is set on a TCP binding\n");
  Binding udp = Bind("a", "UDP", 80);
  udp.tcp = TcpOptions();
  CHECK(Text(udp) ==
        "InvalidOptions: spec.bindings[0].tcp: is set on a UDP binding\n");
  udp.tcp.reset();
  udp.tls = TlsOptions{.mode = "Passthrough"};
  CHECK(Text(udp) ==
        "InvalidOptions: spec.bindings[0].tls: is set on a UDP binding\n");
  tcp.udp.reset();
  tcp.tcp = TcpOptions();
  CHECK(Text(tcp) == "tcp/80 on first to 10.0.0.5:80\n");
}

TEST_CASE("validate: timeouts are whole seconds", "[validate]") {
  using std::chrono::milliseconds;
  const auto with = [](WrittenDuration duration) {
    Binding binding = Bind("a", "UDP", 53);
    binding.udp = UdpOptions{.session_timeout = std::move(duration)};
    return Text(binding);
  };
  CHECK(with({"30s", milliseconds(30000)}) ==
        "udp/53 on first to 10.0.0.5:53\n");
  CHECK(with({"577h", std::chrono::hours(577)}) ==
        "InvalidDuration: spec.bindings[0].udp.sessionTimeout: 577h is more "
        "than the 24 days that the kernel can count\n");
  CHECK(with({"500ms", milliseconds(500)}) ==
        "InvalidDuration: spec.bindings[0].udp.sessionTimeout: 500ms is not a "
        "whole number of seconds, and the kernel keeps no fractions\n");
  for (const std::string wrong : {"BOGUS", "-1s", "0"}) {
    CHECK(with({wrong, std::nullopt}) ==
          fmt::format("InvalidDuration: spec.bindings[0].udp.sessionTimeout: "
                      "\"{}\" is not a duration (\"30s\", \"15m\", "
                      "\"1h30m\")\n",
                      wrong));
  }
  Binding tcp = Bind("a", "TCP", 80);
  tcp.tcp =
      TcpOptions{.idle_timeout = WrittenDuration{"1500ms", milliseconds(1500)}};
  CHECK(Text(tcp).starts_with(
      "InvalidDuration: spec.bindings[0].tcp.idleTimeout: 1500ms"));
  tcp.tcp = TcpOptions{.connect_timeout =
                           WrittenDuration{"500ms", milliseconds(500)}};
  CHECK(
      Text(tcp) ==
      "FeatureNotAvailable: spec.bindings[0].tcp.connectTimeout: this version "
      "has no connect timeout yet\n");
}

TEST_CASE("validate: features that are not there yet open no port",
          "[validate]") {
  Binding binding = Bind("a", "TCP", 443);
  binding.tls = TlsOptions{.mode = "Passthrough"};
  CHECK(Text(binding) ==
        "FeatureNotAvailable: spec.bindings[0].tls: this version has no TLS "
        "yet\n");
  binding.tls = TlsOptions{.mode = "Mutual"};
  CHECK(Text(binding) ==
        "InvalidOptions: spec.bindings[0].tls.secretRef: is missing, and mode "
        "Mutual needs it\n");
  binding.tls = TlsOptions{.mode = "Sometimes"};
  CHECK(Text(binding) ==
        "InvalidOptions: spec.bindings[0].tls.mode: \"Sometimes\" is none of "
        "Passthrough, Offload, Mutual\n");
  binding.tls.reset();
  binding.tcp = TcpOptions{.proxy_protocol = "v2"};
  CHECK(Text(binding) ==
        "FeatureNotAvailable: spec.bindings[0].tcp.proxyProtocol: this version "
        "has no PROXY protocol yet\n");
  binding.tcp->proxy_protocol = "v3";
  CHECK(Text(binding) ==
        "InvalidOptions: spec.bindings[0].tcp.proxyProtocol: \"v3\" is neither "
        "v1 nor v2\n");
  binding.tcp.reset();
}

TEST_CASE("validate: access is two lists of prefixes", "[validate]") {
  Binding binding = Bind("a", "TCP", 443);
  binding.access = AccessOptions{
      .allow_cidrs = {"2001:db8::/32", "10.0.0.0/8", "10.0.0.0/8"},
      .deny_cidrs = {"10.0.0.7/32"}};
  const JudgedObject judged = Judge(Object("web", "a", {binding}));
  REQUIRE(judged.bindings[0].valid() != nullptr);
  CHECK(judged.bindings[0].valid()->access.ToString() ==
        "10.0.0.0/8 2001:db8::/32 not 10.0.0.7/32");
  binding.access->deny_cidrs = {"10.0.0.0/8", "10.0.0.1/8"};
  CHECK(Text(binding) ==
        "InvalidOptions: spec.bindings[0].access.denyCIDRs[1]: \"10.0.0.1/8\" "
        "has host bits set: 10.0.0.0/8 was meant?\n");
  // It would keep out nobody.
  binding.access->deny_cidrs = {"::ffff:192.0.2.0/120"};
  CHECK(Text(binding) ==
        "InvalidOptions: spec.bindings[0].access.denyCIDRs[0]: "
        "\"::ffff:192.0.2.0/120\" is of IPv4, and is to be written so\n");
}

TEST_CASE("validate: words are checked", "[validate]") {
  Binding binding = Bind("a", "TCP", 443);
  binding.client_ip = "Keep";
  CHECK(Text(binding) ==
        "InvalidClientIP: spec.bindings[0].clientIP: \"Keep\" is neither "
        "Masquerade nor Preserve\n");
  binding = Bind("a", "TCP", 443);
  binding.public_ip = "eth0";
  CHECK(Text(binding) ==
        "InvalidPublicIP: spec.bindings[0].publicIP: \"eth0\" is neither an IP "
        "address nor \"*\"\n");
  CHECK(Text(Bind("", "TCP", 443))
            .starts_with("InvalidName: spec.bindings[0].name: \"\" is not a "
                         "name"));
  CHECK(Text(Bind("a b", "TCP", 443))
            .starts_with("InvalidName: spec.bindings[0].name: \"a b\""));
}

TEST_CASE("validate: two bindings on one listener, the first serves",
          "[validate]") {
  CHECK(Text(Object("web", "vps",
                    {Bind("a", "TCP", 443), Bind("b", "TCP", 443),
                     Bind("c", "UDP", 443)})) ==
        "tcp/443 on first to 10.0.0.5:443\n"
        "ListenerConflict: spec.bindings[1]: \"b\" listens on tcp/443, which "
        "\"a\" (spec.bindings[0]) of the same object has\n"
        "udp/443 on first to 10.0.0.5:443\n");
  Binding other = Bind("b", "TCP", 443);
  other.public_ip = "203.0.113.2";
  CHECK(Text(Object("web", "vps", {Bind("a", "TCP", 443), other})) ==
        "tcp/443 on first to 10.0.0.5:443\n"
        "tcp/443 on 203.0.113.2 to 10.0.0.5:443\n");
}

TEST_CASE("validate: ranges that overlap are one listener twice",
          "[validate]") {
  CHECK(
      Text(Object("web", "vps",
                  {BindRange("a", "UDP", 100, 200), Bind("b", "UDP", 200),
                   BindRange("c", "UDP", 50, 100), Bind("d", "UDP", 201)})) ==
      "udp/100-200 on first to 10.0.0.5:100\n"
      "ListenerConflict: spec.bindings[1]: \"b\" listens on udp/200, which "
      "\"a\" (spec.bindings[0]) of the same object has\n"
      "ListenerConflict: spec.bindings[2]: \"c\" listens on udp/50-100, which "
      "\"a\" (spec.bindings[0]) of the same object has\n"
      "udp/201 on first to 10.0.0.5:201\n");
}

TEST_CASE("validate: a refused binding holds no listener", "[validate]") {
  Binding wrong = Bind("a", "TCP", 443);
  wrong.target.address = "foo";
  CHECK(Text(Object("web", "vps", {wrong, Bind("b", "TCP", 443)})) ==
        "InvalidTarget: spec.bindings[0].target.address: \"foo\" is not an IP "
        "address\n"
        "tcp/443 on first to 10.0.0.5:443\n");
}

TEST_CASE("validate: names are unique within an object", "[validate]") {
  CHECK(
      Text(Object("web", "vps", {Bind("a", "TCP", 1), Bind("a", "TCP", 2)})) ==
      "tcp/1 on first to 10.0.0.5:1\n"
      "DuplicateName: spec.bindings[1].name: \"a\" is the name of "
      "spec.bindings[0] already\n");
}

TEST_CASE("validate: an object says which edges, in one way", "[validate]") {
  PortBinding object = Object("web", "vps", {Bind("a", "TCP", 1)});
  object.edge_node_selector = Selector();
  CHECK(Text(object).starts_with(
      "InvalidEdgeNodeRef: spec: has both edgeNodeRef and edgeNodeSelector"));
  object.edge_node.reset();
  CHECK(Text(object) == "tcp/1 on first to 10.0.0.5:1\n");
  object.edge_node_selector.reset();
  CHECK(Text(object).starts_with(
      "InvalidEdgeNodeRef: spec: has neither edgeNodeRef nor"));
  object.edge_node = "";
  CHECK(Text(object).starts_with(
      "InvalidEdgeNodeRef: spec.edgeNodeRef.name: is empty"));
  CHECK(Text(Object("web", "vps", {})) ==
        "NoBindings: spec.bindings: is empty\n");
}

}  // namespace
}  // namespace edged::agent
