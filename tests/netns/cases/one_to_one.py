"""A VPS of a cloud that translates its public address to a private one of the interface."""

import ask
from case import case
from expect import becomes, eventually, expect
from product import Setup, edge_node, tcp, udp
from stream import Stream
from world import A, BACKEND, HOME_LAN

PRIVATE, LATER = "10.0.0.4", "10.0.0.9"
ROUTER = "10.0.0.1"
SAW = f"backend:8080 saw {HOME_LAN}"


def translate(setup, private):
    """What the cloud does from now on, also with flows that it knows."""
    cloud = setup.world.internet
    cloud.run(["nft", "-f", "-"], input=f"""
        table ip cloud
        delete table ip cloud
        table ip cloud {{
          chain in {{
            type nat hook prerouting priority dstnat
            ip daddr {A} dnat to {private}
          }}
          chain out {{
            type nat hook postrouting priority srcnat
            ip saddr {private} snat to {A}
          }}
        }}
    """)
    cloud.run(["conntrack", "-F"])


def build(lab):
    setup = Setup(lab)
    world, vps = setup.world, setup.edge.host
    world.internet.ip(f"address add {ROUTER}/24 dev a")
    vps.ip("address flush dev eth0")
    vps.ip(f"address add {PRIVATE}/24 dev eth0")
    vps.ip(f"route add default via {ROUTER}")
    translate(setup, PRIVATE)
    world.serve(world.backend, "backend", "page:8080", "echo:7000")
    setup.agent.write("edge-a", edge_node("a", A, (A,)))
    setup.edge.run().join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.agent.bind("standard", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"))
    return setup


def nic_address(setup):
    [address] = setup.edge.status()["addresses"]
    return address["address"], address.get("nicAddress")


@case
def forwards(setup):
    """D21: clients of the public address are served, and status says where they arrive."""
    expect(setup.ask(ask.page, A, 80), SAW)
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")
    expect(nic_address(setup), (A, PRIVATE))


@case
def follows_the_interface(setup):
    """D21: the interface gets another address under traffic, and clients never need another."""
    vps = setup.edge.host
    with Stream(setup.world.client, A, 7000):
        vps.ip(f"address del {PRIVATE}/24 dev eth0")
        vps.ip(f"address add {LATER}/24 dev eth0")
        vps.ip(f"route add default via {ROUTER}")
        translate(setup, LATER)
        becomes(lambda: setup.ask(ask.page, A, 80), SAW, 20)
    eventually(lambda: expect(nic_address(setup), (A, LATER)))
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")
