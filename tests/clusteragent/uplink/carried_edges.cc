#include "tests/clusteragent/uplink/carried_edges.h"

#include <unistd.h>

#include "common/wireguard/client.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {

std::string WhyNoUplink() {
  if (access("/usr/sbin/nft", X_OK) != 0) return "there is no nft tool";
  if (wireguard::OpenKernelClient().ok()) return "";
  if (access(kWireguardGo, X_OK) != 0) return "there is no wireguard-go";
  return access("/dev/net/tun", R_OK | W_OK) == 0 ? "" : "no /dev/net/tun";
}

Plan PlanToCarry(const std::vector<std::string>& edges, const std::string& run,
                 uint16_t port) {
  World world;
  for (const std::string& name : edges) {
    world.edge_nodes.push_back(
        Edge(name, {name == "a" ? "203.0.113.1" : "203.0.113.129"}));
    world.edge_nodes.back().meta.uid = run + name;
    world.port_bindings.push_back(
        Object("web-" + name, name,
               {Bind("http", "TCP", 80), BindRange("media", "UDP", 100, 200)}));
    std::vector<Binding>& bindings = world.port_bindings.back().bindings;
    for (Binding& binding : bindings) binding.target.address = "10.9.0.5";
    bindings[0].target.port = port;
  }
  return PlanOf(world, FactsFor(edges));
}

std::map<std::string, EdgeAccess> AccessTo(
    const std::vector<std::string>& edges) {
  std::map<std::string, EdgeAccess> access;
  for (const std::string& name : edges) {
    access[name] = {
        .own_key = PrivateKey(KeyNumber(0x40).bytes()),
        .edge_key = KeyNumber(7),
        .endpoint = SocketAddress{IpAddress::Parse("10.9.0.2").value(), 51820}};
  }
  return access;
}

}  // namespace edged::agent
