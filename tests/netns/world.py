"""The places of the tests and the demo.

    client 198.51.100.9 --- internet --+-- a 203.0.113.1, 203.0.113.2   VPS
                                       +-- b 203.0.113.129              VPS
                                       +-- cgnat 192.0.2.2              masquerades
                                             |
                                           home 192.168.1.2             no inbound path
                                             |
                                           backend 10.244.1.5           no default route

Where a case asks for it, every host has IPv6 beside that, and nothing translates
it: home is still reached by nobody.
"""

from lab import PYTHON, ROOT

CLIENT = "198.51.100.9"
A, A2 = "203.0.113.1", "203.0.113.2"
B = "203.0.113.129"
CGNAT = "192.0.2.2"
HOME, HOME_LAN = "192.168.1.2", "10.244.1.1"
BACKEND, BACKEND2 = "10.244.1.5", "10.244.1.6"

CLIENT6 = "2001:db8:9::9"
A6, A6_2 = "2001:db8:a::1", "2001:db8:a::2"
B6 = "2001:db8:b::1"
HOME6, HOME6_LAN = "2001:db8:d::2", "fd10:244:1::1"
BACKEND6, BACKEND6_2 = "fd10:244:1::5", "fd10:244:1::6"

# What a home router does, and a carrier that hands out private addresses.
CGNAT_RULES = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade
  }
}
"""
CGNAT_FILTER = """
table inet filter {
  chain forward {
    type filter hook forward priority filter
    iifname "wan" ct state != { established, related } drop
  }
}
"""


class World:
    """All hosts, wired; no product on them yet."""

    def __init__(self, lab, edges=("a", "b"), sysctls=None):
        self.lab = lab
        router = {"ip_forward": "1"}
        self.client = lab.host("client")
        self.internet = lab.host("internet", router)
        self.cgnat = lab.host("cgnat", router)
        self.home = lab.host("home", sysctls)
        self.backend = lab.host("backend")
        self._wire_inside()
        self.edges = {name: lab.host(name, sysctls) for name in edges}
        if "a" in self.edges:
            self._wire_edge("a", f"{A}/25 {A2}/25", "203.0.113.126/25")
        if "b" in self.edges:
            self._wire_edge("b", f"{B}/25", "203.0.113.254/25")

    def _wire_inside(self):
        wire = self.lab.wire
        wire(self.client, "eth0", f"{CLIENT}/24", self.internet, "client", "198.51.100.1/24")
        wire(self.cgnat, "wan", f"{CGNAT}/24", self.internet, "cgnat", "192.0.2.1/24")
        wire(self.home, "eth0", f"{HOME}/24", self.cgnat, "lan", "192.168.1.1/24")
        wire(
            self.backend, "eth0", f"{BACKEND}/24 {BACKEND2}/24",
            self.home, "lan", f"{HOME_LAN}/24",
        )
        self.client.ip("route add default via 198.51.100.1")
        self.cgnat.ip("route add default via 192.0.2.1")
        self.home.ip("route add default via 192.168.1.1")
        self.cgnat.nft(CGNAT_RULES + CGNAT_FILTER)

    def _wire_edge(self, name, addresses, router):
        edge = self.edges[name]
        self.lab.wire(edge, "eth0", addresses, self.internet, name, router)
        edge.ip(f"route add default via {router.partition('/')[0]}")

    def add_ipv6(self, at_home=True):
        """IPv6 for all hosts; without `at_home` home's provider has none."""
        for router in (self.internet, self.cgnat):
            router.sysctl({"conf/all/forwarding": "1"}, "ipv6")
        wires = [
            (self.client, "eth0", f"{CLIENT6}/64", self.internet, "client", "2001:db8:9::1"),
            (self.backend, "eth0", f"{BACKEND6}/64 {BACKEND6_2}/64", self.home, "lan", HOME6_LAN),
        ]
        if "a" in self.edges:
            wires.append(
                (self.edges["a"], "eth0", f"{A6}/64 {A6_2}/64", self.internet, "a", "2001:db8:a::ff")
            )
        if "b" in self.edges:
            wires.append((self.edges["b"], "eth0", f"{B6}/64", self.internet, "b", "2001:db8:b::ff"))
        if at_home:
            wires.append((self.home, "eth0", f"{HOME6}/64", self.cgnat, "lan", "2001:db8:d::1"))
            wires.append(
                (self.cgnat, "wan", "2001:db8:c::2/64", self.internet, "cgnat", "2001:db8:c::1")
            )
        for host, device, addresses, other, other_device, router in wires:
            for one in addresses.split():
                host.ip(f"address add {one} dev {device} nodad")
            other.ip(f"address add {router}/64 dev {other_device} nodad")
            if host is not self.backend:
                host.ip(f"route add default via {router}")
        if at_home:
            self.internet.ip("route add 2001:db8:d::/64 via 2001:db8:c::2")

    def serve(self, host, name, *kinds):
        """Starts services, as serve.py names them, and waits until they listen."""
        service = host.start(
            [PYTHON, ROOT / "tests/tools/serve.py", name, *kinds], f"serve-{name}"
        )
        service.wait_for("ready")
        return service
