"""A VPS with two interfaces and one default route: answers leave where requests came in."""

import ask
from case import case
from cases.ipv6 import let_forward
from expect import becomes, expect, expect_in
from product import Setup, edge_node, tcp, udp
from stream import Stream, Transfer
from world import A, A2, A6, BACKEND, BACKEND6, HOME6_LAN, HOME_LAN

SECOND, ROUTER = "203.0.113.129", "203.0.113.254"
SECOND6, ROUTER6 = "2001:db8:b::1", "2001:db8:b::ff"
SAW = f"backend:8080 saw {HOME_LAN}"
ECHO = f"backend:7000 saw {HOME_LAN}: hello"
TABLE = f"""
route add default via {ROUTER} dev eth1 table 101
rule add from {SECOND} lookup 101
"""


def filter_sources(internet, first=(A, A2), second=(SECOND, SECOND6)):
    """What providers do: by each wire only what has its addresses."""
    internet.nft(f"""
        table inet provider
        delete table inet provider
        table inet provider {{
          chain in {{
            type filter hook prerouting priority raw
            iifname "a" ip saddr != {{ {", ".join(first)} }} drop
            iifname "a-second" meta nfproto ipv4 ip saddr != {{ {second[0]}, {ROUTER} }} drop
          }}
        }}
    """)


def wire(lab, told=TABLE):
    """A world with that VPS; `told` are the ip commands that name the second gateway."""
    setup = Setup(lab)
    world, vps = setup.world, setup.edge.host
    lab.wire(vps, "eth1", f"{SECOND}/25", world.internet, "a-second", f"{ROUTER}/25")
    vps.ip(told)
    filter_sources(world.internet)
    world.serve(world.backend, "backend", "page:8080", "talk:8081", "bulk:8082", "echo:7000")
    return setup


def start(setup):
    setup.agent.write("edge-a", edge_node("a", A, (A, SECOND)))
    setup.edge.run().join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    for name, address in (("first", A), ("second", SECOND)):
        setup.agent.bind(
            name,
            tcp(80, f"{BACKEND}:8080", publicIP=address),
            tcp(81, f"{BACKEND}:8081", publicIP=address),
            tcp(82, f"{BACKEND}:8082", publicIP=address),
            udp(7000, f"{BACKEND}:7000", publicIP=address),
        )
    return setup


def build(lab):
    return start(wire(lab))


def serves(setup, address):
    expect(setup.ask(ask.page, address, 80), SAW, address)
    expect(setup.ask(ask.echo, address, 7000), ECHO, address)


def warnings(setup):
    return "\n".join(setup.edge.status().get("warnings", []))


def of_ways(setup):
    """What edged has made beside the main table: rules, and routes of eth1."""
    vps = setup.edge.host
    rules = vps.run(["ip", "rule", "show", "priority", "90"]).stdout
    routes = vps.run(["ip", "route", "show", "table", "all", "proto", "237"]).stdout
    return rules + "".join(line for line in routes.splitlines(True) if "eth1" in line)


@case
def answers_leave_where_requests_came_in(setup):
    """D24: clients of both addresses are served though each provider drops what is not its own."""
    serves(setup, A)
    serves(setup, SECOND)
    expect(warnings(setup), "")
    [rule, default, network] = of_ways(setup).splitlines()
    expect_in("lookup", rule)
    expect_in(f"default via {ROUTER} dev eth1", default)
    expect_in("203.0.113.128/25 dev eth1", network)


@case
def the_interface_counts_and_not_the_address(setup):
    """What is sent to the second address and comes in by the first interface leaves by the
    first; a neighbour at the second is answered there, without the router."""
    internet = setup.world.internet
    internet.ip(f"route add {SECOND}/32 via {A} dev a")
    filter_sources(internet, first=(A, A2, SECOND), second=("192.0.2.77",))
    serves(setup, SECOND)
    internet.ip(f"route del {SECOND}/32 via {A} dev a")
    filter_sources(internet)
    expect(setup.ask(ask.page, SECOND, 80, at=internet), SAW)


@case
def refusals_leave_there_too(setup):
    """Who is refused hears it at once: by the target's host, and by the edge itself."""
    expect(setup.ask(ask.page, SECOND, 83), "no: connection refused")
    setup.agent.bind("closed", tcp(84, f"{BACKEND}:9", publicIP=SECOND))
    expect(setup.ask(ask.page, SECOND, 84), "no: connection refused")
    setup.world.home.ip("link set eth0 down")
    for address in (A, SECOND):
        becomes(lambda at=address: setup.ask(ask.page, at, 80), "no: connection refused", 10)
    setup.world.home.ip("link set eth0 up\nroute add default via 192.168.1.1")
    for address in (A, SECOND):
        becomes(lambda at=address: setup.ask(ask.page, at, 80), SAW, 20)


@case
def survives_lost_state_and_restarts(setup):
    """Connections by the second interface outlive a flush of what the kernel remembers, and a
    killed edged; a stream loses nothing when it starts anew."""
    client = setup.world.client
    transfers = [Transfer(client, SECOND, 82, verb).flowing() for verb in ("pull", "push")]
    setup.edge.host.run(["conntrack", "-F"])
    expect([transfer.result() for transfer in transfers], ["whole", "whole"])
    expect([transfer.longest_gap < 1 for transfer in transfers], [True, True])
    before = of_ways(setup)
    with setup.ask(ask.Held, SECOND, 81) as held, Stream(client, SECOND, 7000) as stream:
        expect_in("hello", held.ask("hello"))
        setup.edge.process.kill()
        setup.edge.run()
        becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW)
        expect_in("still here", held.ask("still here"))
    expect(stream.lost(), [])
    expect(of_ways(setup), before)


@case
def drift_is_repaired(setup):
    """Whoever takes away the rule, the routes or the marks gets them back, under traffic."""
    vps = setup.edge.host
    before = of_ways(setup)
    for damage in (
        "ip rule del priority 90",
        "ip route flush table 60929",
        "ip route replace table 60929 blackhole default",
        "ip link set eth1 down; ip link set eth1 up; "
        f"ip route add default via {ROUTER} dev eth1 table 101",
        "nft flush chain inet edged answer",
        "nft delete rule inet edged arrival handle "
        "$(nft -a list chain inet edged arrival | sed -n 's/.*iifname.*# handle //p')",
    ):
        vps.run(["sh", "-ec", damage])
        becomes(lambda: of_ways(setup), before, what=damage)
        becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW, what=damage)
    expect(warnings(setup), "")


@case
def reset_leaves_nothing(lab):
    """`edged reset` takes the rules and routes away, and leaves those of others."""
    setup = build(lab)
    setup.edge.process.stop()
    setup.edge.cli("reset")
    expect(of_ways(setup), "")
    expect_in(ROUTER, setup.edge.host.run(["ip", "route", "show", "table", "101"]).stdout)


@case
def a_gateway_that_nothing_names(lab):
    """D24: without any route by it the only neighbour is taken for the gateway: the first
    client waits for a second, no later one does, and nothing has to be configured."""
    setup = start(wire(lab, told=""))
    serves(setup, A)
    becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW)
    serves(setup, SECOND)
    expect(warnings(setup), "")
    [_, default, _] = of_ways(setup).splitlines()
    expect_in(f"default via {ROUTER} dev eth1", default)
    # It moves, and is followed when it speaks.
    internet, moved = setup.world.internet, "203.0.113.253"
    internet.ip(f"address add {moved}/25 dev a-second\naddress del {ROUTER}/25 dev a-second")
    internet.ip(f"address replace {moved}/25 dev a-second")
    setup.edge.host.ip("neighbour flush dev eth1")
    becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW, 10)


@case
def several_neighbours(lab):
    """Of several neighbours none is taken: edged says what lacks, and the line that mends it
    does, also for a connection that has begun."""
    setup = wire(lab, told="")
    setup.edge.host.ip("neighbour add 203.0.113.200 lladdr 02:00:00:00:00:01 dev eth1")
    setup.edge.host.ip("neighbour add 203.0.113.201 lladdr 02:00:00:00:00:02 dev eth1")
    start(setup)
    serves(setup, A)
    expect_in("no route names a gateway of eth1, where 203.0.113.129 is", warnings(setup))
    line = f"ip route add default via {ROUTER} dev eth1 metric 4096"
    expect_in(line.replace(ROUTER, "GATEWAY"), warnings(setup))
    expect_in("GATEWAY", setup.edge.cli("doctor", check=False).stdout)
    # A neighbour of the second interface needs no gateway.
    expect(setup.ask(ask.page, SECOND, 80, at=setup.world.internet), SAW)
    expect(setup.ask(ask.page, SECOND, 80), "no: timed out")
    setup.edge.host.run(line.split())
    becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW)
    becomes(lambda: warnings(setup), "")
    # The gateway moves, and is followed.
    internet, moved = setup.world.internet, "203.0.113.253"
    internet.ip(f"address add {moved}/25 dev a-second\naddress del {ROUTER}/25 dev a-second")
    internet.ip(f"address replace {moved}/25 dev a-second")
    setup.edge.host.ip(f"route replace default via {moved} dev eth1 metric 4096")
    becomes(lambda: setup.ask(ask.page, SECOND, 80), SAW)


@case
def ipv6(lab):
    """The same of IPv6, whose gateway a default route of a higher metric names."""
    setup = Setup(lab, ipv6=True)
    world, vps = setup.world, setup.edge.host
    let_forward(setup)
    lab.wire(vps, "eth1", f"{SECOND}/25", world.internet, "a-second", f"{ROUTER}/25")
    vps.ip(f"address add {SECOND6}/64 dev eth1 nodad")
    world.internet.ip(f"address add {ROUTER6}/64 dev a-second nodad")
    vps.ip(f"route add default via {ROUTER6} dev eth1 metric 4096")
    world.internet.nft(f"""
        table inet provider {{
          chain in {{
            type filter hook prerouting priority raw
            iifname "a" ip6 saddr {SECOND6} drop
          }}
        }}
    """)
    world.serve(world.backend, "backend", "page:8080", "echo:7000")
    setup.agent.write("edge-a", edge_node("a", A, (A, A6, SECOND6)))
    setup.edge.run().join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    for name, address in (("first", A6), ("second", SECOND6)):
        setup.agent.bind(
            name,
            tcp(80, f"[{BACKEND6}]:8080", publicIP=address),
            udp(7000, f"[{BACKEND6}]:7000", publicIP=address),
        )
    for address in (A6, SECOND6):
        expect(setup.ask(ask.page, address, 80), f"backend:8080 saw {HOME6_LAN}", address)
        expect_in("hello", setup.ask(ask.echo, address, 7000), address)
