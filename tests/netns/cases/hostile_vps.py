"""What a VPS that somebody has taken sends through its tunnel to the home."""

import ask
from case import case
from expect import eventually, expect
from product import tcp
from served import serving, settled
from world import BACKEND

UPLINK = {"a": "10.200.0.16", "b": "10.200.4.16"}
MAPPED_BY_B = "10.200.4.17"


def takes_over(edge, *networks):
    """Whoever has the VPS needs no edged, and sends what he likes to that uplink."""
    eventually(lambda: expect(edge.status()["tunnel"].get("keyOfToken", False), False))
    settled()
    edge.process.kill()
    edge.host.run(["nft", "flush", "ruleset"])
    peers = edge.host.run(["wg", "show", "edged0", "allowed-ips"]).stdout.splitlines()
    peer = next(line.split()[0] for line in peers if networks[0] in line)
    edge.host.run(["wg", "set", "edged0", "peer", peer, "allowed-ips", ",".join(networks)])
    for network in networks:
        edge.host.ip(f"route replace {network} dev edged0")


@case
def ports_that_others_translate(lab):
    """What somebody else at home translates (Docker's published ports, Services of Kubernetes)
    is not reached from the edge."""
    setup = serving(lab)
    setup.world.home.nft("""
        table ip others {
            chain prerouting {
                type nat hook prerouting priority dstnat
                fib daddr type local tcp dport 9000 dnat to 10.244.1.5:8080
                ip daddr 10.96.0.1 tcp dport 443 dnat to 10.244.1.5:8080
            }
        }""")
    edge = setup.edge
    takes_over(edge, f"{UPLINK['a']}/28", "10.96.0.0/16")
    for address, port in ((UPLINK["a"], 9000), ("10.96.0.1", 443)):
        got = setup.ask(ask.page, address, port, at=edge.host)
        expect(got.startswith("no: "), True, f"{address}:{port} gives {got}")


@case
def mappings_of_another_edge(lab):
    """What another edge maps, perhaps for some clients alone, is not reached from this one."""
    setup = serving(lab, ("a", "b"))
    setup.agent.bind("choosy", tcp(81, f"{BACKEND}:8080", access={"allowCIDRs": ["192.0.2.0/32"]}),
                     edge="b")
    edge = setup.edges["a"]
    takes_over(edge, f"{UPLINK['a']}/28", f"{UPLINK['b']}/28")
    got = setup.ask(ask.page, MAPPED_BY_B, 81, at=edge.host)
    expect(got.startswith("no: "), True, f"it gives {got}")
