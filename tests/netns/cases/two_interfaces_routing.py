"""Two interfaces on hosts that route in ways of their own, and that change under traffic."""

import time

import ask
from case import case
from cases.two_interfaces import ROUTER, SAW, SECOND, build, filter_sources, serves, start, warnings, wire
from expect import becomes, expect, expect_in
from product import Setup, edge_node, tcp, udp
from world import A, A2, BACKEND

METRIC = f"route add default via {ROUTER} dev eth1 metric 4096"
THIRD, ROUTER3 = "192.0.2.130", "192.0.2.129"

# What a firewall for several providers does: packets are marked as their connections are.
RESTORE = """
table inet mangle {
  chain prerouting {
    type filter hook prerouting priority mangle
    meta mark set ct mark
  }
}
"""
FILTER_THIRD = f"""
table inet third {{
  chain in {{
    type filter hook prerouting priority raw
    iifname "a-third" ip saddr != {{ {THIRD}, {ROUTER3} }} drop
  }}
}}
"""


def drifts(setup):
    """How often edged has told of others' changes, once it says no more."""
    told = lambda: setup.edge.process.output().count(" drift: ")  # noqa: E731
    last = -1
    while last != told():
        last = told()
        time.sleep(0.5)
    return last


@case
def gateway_of_no_network(lab):
    """An address without a network, whose gateway is a neighbour in another table only."""
    setup = Setup(lab)
    world, vps = setup.world, setup.edge.host
    lab.wire(vps, "eth1", f"{SECOND}/32", world.internet, "a-second", f"{ROUTER}/25")
    vps.ip(f"""
        route add {ROUTER} dev eth1 table 101
        route add default via {ROUTER} dev eth1 table 101
    """)
    filter_sources(world.internet)
    world.serve(world.backend, "backend", "page:8080", "talk:8081", "bulk:8082", "echo:7000")
    start(setup)
    for address in (A, SECOND):
        serves(setup, address)
    expect(warnings(setup), "")


@case
def gateway_of_ipv6(lab):
    """IPv4 by way of a router that has IPv6 alone."""
    setup = wire(lab, told="")
    setup.world.internet.ip("address add fe80::fe/64 dev a-second nodad")
    setup.world.internet.ip(f"route replace {SECOND}/32 dev a-second")
    setup.edge.host.ip("route add 0.0.0.0/0 via inet6 fe80::fe dev eth1 metric 4096")
    start(setup)
    for address in (A, SECOND):
        serves(setup, address)
    expect_in("via inet6 fe80::fe", setup.edge.host.run(["ip", "route", "show", "table", "60929"]).stdout)
    expect(warnings(setup), "")


@case
def multipath_default(lab):
    """One default route by both: each connection has its own way all the same."""
    setup = wire(lab, told="")
    setup.edge.host.ip(f"""
        route del default
        route add default nexthop via 203.0.113.126 dev eth0 nexthop via {ROUTER} dev eth1
    """)
    start(setup)
    for _ in range(4):
        for address in (A, SECOND):
            serves(setup, address)


@case
def others_mark_packets(lab):
    """Who marks each packet as its connection is does not lead what is for uplinks astray."""
    setup = build(lab)
    setup.edge.host.nft(RESTORE)
    for address in (A, SECOND):
        serves(setup, address)


@case
def strict_reverse_paths(lab):
    """Strict rp_filter where the only public address is not on the default route's interface."""
    setup = wire(lab)
    setup.edge.host.sysctl({"conf/eth0/rp_filter": "1", "conf/eth1/rp_filter": "1"})
    setup.agent.write("edge-a", edge_node("a", A, (SECOND,)))
    setup.edge.run().join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.agent.bind("second", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"))
    serves(setup, SECOND)


@case
def clients_on_the_host(lab):
    """Containers reach both addresses, and hear refusals."""
    setup = start(wire(lab, told=METRIC))
    container = lab.host("container")
    lab.wire(setup.edge.host, "docker0", "172.17.0.1/16", container, "eth0", "172.17.0.2/16")
    container.ip("route add default via 172.17.0.1")
    setup.edge.host.sysctl({"ip_forward": "1"})
    for address in (A, SECOND):
        becomes(lambda at=address: setup.ask(ask.page, at, 80, at=container), SAW, what=address)
    setup.agent.bind("closed", tcp(84, f"{BACKEND}:9", publicIP=SECOND))
    expect(setup.ask(ask.page, SECOND, 84, at=container), "no: connection refused")
    setup.world.home.ip("link set eth0 down")
    for address in (A, SECOND):
        for host in (container, setup.world.client):
            becomes(
                lambda at=address, of=host: setup.ask(ask.page, at, 80, at=of),
                "no: connection refused", 10, what=f"{address} of {host.name}",
            )


@case
def an_address_moves(lab):
    """A connection goes on by the other interface when its address moves there."""
    setup = build(lab)
    world, vps = setup.world, setup.edge.host
    vps.sysctl({"conf/eth1/promote_secondaries": "1"})
    vps.ip("address add 203.0.113.131/25 dev eth1")
    with setup.ask(ask.Held, SECOND, 81) as held:
        expect_in("hello", held.ask("hello"))
        vps.ip(f"address del {SECOND}/25 dev eth1\naddress add {SECOND}/32 dev eth0")
        world.internet.ip(f"route add {SECOND}/32 via {A} dev a")
        filter_sources(world.internet, first=(A, A2, SECOND), second=("192.0.2.77",))
        becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW)
        expect_in("still here", held.ask("still here"))


@case
def interfaces_come_back_in_another_order(lab):
    """Each keeps its table, and so connections their way."""
    setup = wire(lab)
    world, vps = setup.world, setup.edge.host
    lab.wire(vps, "eth2", f"{THIRD}/25", world.internet, "a-third", f"{ROUTER3}/25")
    routes = {"eth1": f"via {ROUTER} dev eth1 table 101", "eth2": f"via {ROUTER3} dev eth2 table 102"}
    vps.ip(f"route add default {routes['eth2']}")
    world.internet.nft(FILTER_THIRD)
    start(setup)

    def of_ways():
        listed = vps.run(["ip", "route", "show", "table", "all", "proto", "237"]).stdout
        return [line for line in listed.splitlines() if line.startswith("default")]

    before = of_ways()
    expect(len(before), 2)
    with setup.ask(ask.Held, SECOND, 81) as held:
        expect_in("hello", held.ask("hello"))
        vps.ip("link set eth1 down\nlink set eth2 down")
        becomes(of_ways, [])
        vps.ip(f"link set eth2 up\nroute add default {routes['eth2']}")
        becomes(of_ways, before[1:])
        vps.ip(f"link set eth1 up\nroute add default {routes['eth1']}")
        becomes(of_ways, before)
        expect_in("still here", held.ask("still here"))


@case
def a_router_learns_routes(lab):
    """Routes that a routing daemon learns on the second interface are nothing to tell of."""
    setup = start(wire(lab, told=METRIC))
    vps = setup.edge.host
    learnt = [f"10.{i >> 8}.{i & 255}.0/24 via {ROUTER} dev eth1 proto bird" for i in range(600)]
    vps.ip("\n".join(f"route add {route}" for route in learnt))
    copied = ["ip", "route", "show", "table", "60929"]
    becomes(lambda: len(vps.run(copied).stdout.splitlines()), 3)
    # What came before there were that many is still told of.
    before = drifts(setup)
    for verb in ("del", "add"):
        for route in learnt[:50]:
            vps.ip(f"route {verb} {route}")
    expect(drifts(setup), before)
    serves(setup, SECOND)


@case
def a_vpn_takes_the_default_route(lab):
    """A rule leads all packets by a table of its own, as VPNs do: clients of the address where
    the main table's default route leaves are answered there all the same."""
    setup = start(wire(lab, told=f"""
        route add 192.0.2.0/24 via 203.0.113.126
        rule add priority 32700 lookup main suppress_prefixlength 0
        route add default via {ROUTER} dev eth1 table 51820
        rule add priority 32701 lookup 51820
    """))
    serves(setup, A)
    serves(setup, SECOND)
    setup.edge.host.ip("rule del priority 32701")
    for address in (A, SECOND):
        becomes(lambda at=address: setup.ask(ask.page, at, 80), SAW)
