"""The places of the tests and the demo.

    client 198.51.100.9 --- internet --+-- a 203.0.113.1, 203.0.113.2   VPS
                                       +-- b 203.0.113.129              VPS
                                       +-- cgnat 192.0.2.2              masquerades
                                             |
                                           home 192.168.1.2             no inbound path
                                             |
                                           backend 10.244.1.5           no default route
"""

from lab import PYTHON, ROOT

CLIENT = "198.51.100.9"
A, A2 = "203.0.113.1", "203.0.113.2"
B = "203.0.113.129"
CGNAT = "192.0.2.2"
HOME, HOME_LAN = "192.168.1.2", "10.244.1.1"
BACKEND, BACKEND2 = "10.244.1.5", "10.244.1.6"

# What a home router does, and a carrier that hands out private addresses.
CGNAT_RULES = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade
  }
}
table ip filter {
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
        self.cgnat.nft(CGNAT_RULES)

    def _wire_edge(self, name, addresses, router):
        edge = self.edges[name]
        self.lab.wire(edge, "eth0", addresses, self.internet, name, router)
        edge.ip(f"route add default via {router.partition('/')[0]}")

    def serve(self, host, name, *kinds):
        """Starts services, as serve.py names them, and waits until they listen."""
        service = host.start(
            [PYTHON, ROOT / "tests/tools/serve.py", name, *kinds], f"serve-{name}"
        )
        service.wait_for("ready")
        return service
