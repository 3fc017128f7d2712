"""The size of packets: what fits into the tunnel, and what fits through it (D12)."""

import contextlib
import json
import socket
import struct

import ask
from cases import ipv6
from case import case
from expect import becomes, eventually, expect, expect_in
from product import Setup, edge_node, port_binding, tcp, udp
from stream import Transfer
from world import A, A2, A6, B, BACKEND, BACKEND6

LIMIT_SECONDS = 120
COUNT = 1_000_000
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14

# A router that neither tells of what is too big nor lets pieces of it through, to and from DEVICE.
BLACK_HOLE = """
table ip hole {
  chain early { type filter hook prerouting priority -500
    iifname "DEVICE" ip frag-off & 0x3fff != 0 drop
    iifname "DEVICE" ip protocol icmp drop
  }
  chain late { type filter hook postrouting priority 500
    oifname "DEVICE" ip frag-off & 0x3fff != 0 drop
  }
  chain own { type filter hook output priority -500
    ip protocol icmp drop
  }
}
"""


def serving(lab, edges=("a",), ipv6=False, **tunnel):
    setup = Setup(lab, edges, ipv6=ipv6)
    setup.world.serve(
        setup.world.backend, "backend", "talk:8081", "bulk:8082", "echo:7000"
    )
    setup.start(**tunnel)
    for edge in edges:
        setup.agent.write(f"all-{edge}", all_of(edge))
    for edge in edges:
        setup.agent.wait_ready(f"all-{edge}")
    return setup


def all_of(edge):
    return port_binding(
        f"all-{edge}", tcp(81, f"{BACKEND}:8081"), tcp(82, f"{BACKEND}:8082"),
        udp(7000, f"{BACKEND}:7000"), edge=edge,
    )


def underlay(setup, mtu, edge="a"):
    """Both ends of the edge's cable to the internet."""
    setup.edges[edge].host.ip(f"link set dev eth0 mtu {mtu}")
    setup.world.internet.ip(f"link set dev {edge} mtu {mtu}")


def middle(setup, mtu, hole=True):
    """The path between internet and home, which neither end of the tunnel sees."""
    world = setup.world
    world.internet.ip(f"link set dev cgnat mtu {mtu}")
    world.cgnat.ip(f"link set dev wan mtu {mtu}")
    if hole:
        world.cgnat.nft(BLACK_HOLE.replace("DEVICE", "wan"))
        world.internet.nft(BLACK_HOLE.replace("DEVICE", "cgnat"))


def mtus(setup, edge="a"):
    """(the edge's own, the edge's for the uplink, the uplink's own, in use at the uplink)."""
    state = setup.edges[edge].status()
    values = setup.agent.status("edgenodes", edge)["values"]
    uplinks = state.get("uplinks", [])
    return (
        state["tunnel"].get("mtu"), *(one.get("mtu") for one in uplinks),
        *(int(text) if text.isdigit() else text for text in (
            values.get("uplinkMtu", ""), values["mtu"]  # "auto" while there is no contact
        )),
    )


def becomes_mtus(setup, wanted, edge="a", seconds=20):
    becomes(lambda: mtus(setup, edge), wanted, seconds)


def carries(setup, address=A, sizes=(1200, 1300, 1472, 4000)):
    """Bulk both ways and UDP both ways, each within its time."""
    for question in (ask.pull, ask.push):
        got = setup.ask(question, address, 82, COUNT, 15)
        expect(got, f"{COUNT} bytes, checksum right", question.__name__)
    for size in sizes:
        echoed = lambda: "x" * size in setup.ask(ask.echo, address, 7000, "x" * size)  # noqa: E731
        becomes(echoed, True, 6, f"{size} bytes by UDP")


def mss(setup, address=A, port=81):
    """What the client's connection may send at once, as the answer to its SYN said."""
    with setup.world.client.network():
        with socket.create_connection((address, port), 3) as connection:
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def route_mtu(host, address, *words):
    route = json.loads(host.run(["ip", "-j", *words, "route", "get", address]).stdout)[0]
    return next((one["mtu"] for one in route.get("metrics", []) if "mtu" in one), None)


# ---- auto ----


@case
def auto_is_the_least_underlay(lab):
    """Auto follows the links below either end, up and down, and both ends and their status say the
    lesser of the two."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    text = setup.edge.cli("status").stdout
    expect("mtu 1440" in text, True, text)
    underlay(setup, 1400)
    becomes_mtus(setup, (1340, 1340, 1440, 1340))
    expect(mss(setup) <= 1300, True, "MSS")
    carries(setup)
    setup.world.home.ip("link set dev eth0 mtu 1300")
    setup.world.cgnat.ip("link set dev lan mtu 1300")
    becomes_mtus(setup, (1340, 1240, 1240, 1240))
    carries(setup)
    setup.world.home.ip("link set dev eth0 mtu 1500")
    setup.world.cgnat.ip("link set dev lan mtu 1500")
    becomes_mtus(setup, (1340, 1340, 1440, 1340))
    underlay(setup, 1500)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    carries(setup)


@case
def route_below_its_link(lab):
    """A route to the other end with an MTU of its own counts like a link."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    setup.edge.host.ip("route add 192.0.2.0/24 via 203.0.113.126 mtu 1380")
    becomes_mtus(setup, (1320, 1320, 1440, 1320))
    setup.edge.host.ip("route del 192.0.2.0/24")
    becomes_mtus(setup, (1440, 1440, 1440, 1440))


@case
def explicit_mtu(lab):
    """A number in the EdgeNode is what both ends use and tell; what is none is refused by name."""
    setup = serving(lab, mtu=1320)
    becomes_mtus(setup, (1320, 1320, 1320, 1320))
    expect(mss(setup) <= 1280, True, "MSS")
    carries(setup)
    for wrong in (70000, -1, 500, 0):
        setup.agent.write(
            "edge-a", edge_node("a", A, (A, A2), tunnel={"network": "10.200.0.0/22", "mtu": wrong})
        )
        wanted = f"spec.tunnel.mtu: {wrong} "
        eventually(lambda: expect(wanted in setup.agent.process.output(), True, wanted))  # noqa: B023
    becomes_mtus(setup, (1320, 1320, 1320, 1320))


@case
def mtu_changes_alone(lab):
    """A change of nothing but the MTU, to auto and to another number, is followed by both ends."""
    setup = serving(lab, mtu=1320)
    becomes_mtus(setup, (1320, 1320, 1320, 1320))
    for mtu, wanted in (("auto", 1440), (1200, 1200)):
        tunnel = {"network": "10.200.0.0/22", "mtu": mtu}
        setup.agent.write("edge-a", edge_node("a", A, (A, A2), tunnel=tunnel))
        becomes_mtus(setup, (wanted, wanted, wanted, wanted))
        text = setup.edge.host.run(["ip", "link", "show", "dev", "edged0"]).stdout
        expect(f"mtu {wanted} " in text, True, text)
        expect(mss(setup) <= wanted - 40, True, "MSS")


# ---- the path ----


@case
def black_hole_of_1280(lab):
    """On a path of 1280 that drops fragments and ICMP nothing hangs, also when it becomes one while
    a connection is open."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    with setup.ask(ask.Held, A, 81) as held:
        expect(held.ask("x" * 8000)[-8000:], "x" * 8000)
        middle(setup, 1280)
        becomes_mtus(setup, (1440, 1216, 1440, 1216))
        expect(held.ask("y" * 8000)[-8000:], "y" * 8000, "an open connection")
    expect(mss(setup) <= 1176, True, "MSS")
    carries(setup)


@case
def black_hole_from_the_start(lab):
    """A path of 1280 that is a black hole from the beginning is found before it is used much."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "talk:8081", "bulk:8082", "echo:7000")
    middle(setup, 1280)
    setup.start()
    setup.agent.write("all-a", all_of("a"))
    setup.agent.wait_ready("all-a")
    becomes_mtus(setup, (1440, 1216, 1440, 1216))
    carries(setup)


@case
def explicit_mtu_on_a_black_hole(lab):
    """D12: a tunnel of 1420 over an underlay of 1280, no black hole."""
    setup = serving(lab, mtu=1420)
    middle(setup, 1280)
    becomes_mtus(setup, (1420, 1216, 1420, 1216))
    carries(setup)


@case
def two_edges_two_paths(lab):
    """Each edge has what its own path carries."""
    setup = serving(lab, edges=("a", "b"))
    setup.world.internet.ip("link set dev b mtu 1280")
    setup.world.internet.nft(BLACK_HOLE.replace("DEVICE", "cgnat"))
    becomes_mtus(setup, (1440, 1440, 1440, 1440), "a")
    becomes_mtus(setup, (1440, 1216, 1440, 1216), "b")
    carries(setup, A, (1200, 1300))
    carries(setup, B, (1200, 1300))


@case
def edged_restarts_on_a_black_hole(lab):
    """What was found out outlives a restart of edged, from the first packet."""
    setup = serving(lab)
    middle(setup, 1280)
    becomes_mtus(setup, (1440, 1216, 1440, 1216))
    setup.edge.process.kill()
    setup.edge.run()
    expect(route_mtu(setup.edge.host, "10.200.0.17"), 1216, "the route to the uplink")
    becomes_mtus(setup, (1440, 1216, 1440, 1216))
    carries(setup, sizes=(1300,))


# ---- ICMP through the NAT ----


@case
def the_edge_tells_the_client(lab):
    """A client that sends more than the tunnel takes hears so from the public address, and has it
    in its cache."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    with setup.world.client.network(), ask.datagram_socket(A) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sender.connect((A, 7000))
        sender.send(b"x" * 1472)
        becomes(lambda: sender.getsockopt(socket.IPPROTO_IP, IP_MTU), 1440, 3)
        sender.settimeout(2)
        with contextlib.suppress(OSError):  # the error that is waiting
            sender.send(b"x" * 1380)
        sender.send(b"x" * 1380)
        expect(len(sender.recv(65536)) > 1380, True, "the answer")
    expect(route_mtu(setup.world.client, A), 1440)


@case
def the_uplink_tells_the_target(lab):
    """A target whose answer does not fit hears so from whom it answers, and has it in its cache."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    host = setup.world.backend
    with host.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        target.bind(("", 7777))
        target.settimeout(3)
        setup.agent.bind("own", udp(7777, f"{BACKEND}:7777"))
        with setup.world.client.network(), ask.datagram_socket(A) as client:
            client.connect((A, 7777))
            client.send(b"hello")
            _, peer = target.recvfrom(100)
            target.sendto(b"y" * 1472, peer)
            becomes(lambda: route_mtu(host, peer[0]), 1440, 3)
            with contextlib.suppress(OSError):
                target.sendto(b"y" * 1400, peer)
            target.sendto(b"y" * 1400, peer)
            client.settimeout(3)
            expect(len(client.recv(65536)), 1400)


@case
def routers_behind_either_end_are_heard(lab):
    """ "Fragmentation needed" of a router before the client reaches the target, and of one before
    the target reaches the client."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    world = setup.world
    world.internet.ip("link set dev client mtu 1280")
    expect(setup.ask(ask.pull, A, 82, COUNT), f"{COUNT} bytes, checksum right")
    expect(route_mtu(world.backend, "10.244.1.1"), 1280, "what the target has learnt")
    world.internet.ip("link set dev client mtu 1500")
    world.home.ip("link set dev lan mtu 1300")
    with world.client.network(), ask.datagram_socket(A) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sender.connect((A, 7000))
        sender.send(b"x" * 1400)
        becomes(lambda: sender.getsockopt(socket.IPPROTO_IP, IP_MTU), 1300, 3)
    expect(route_mtu(world.client, A), 1300, "what the client has learnt")


# ---- IPv6 ----


def serving6(lab, outer=A, **tunnel):
    """Both families inside; `outer` is what home dials."""
    setup = Setup(lab, ipv6=True)
    ipv6.let_forward(setup)
    setup.world.serve(setup.world.backend, "backend", "talk:8081", "bulk:8082", "echo:7000")
    setup.agent.write(
        "edge-a", edge_node("a", outer, (A, A2, A6), tunnel={"network": "10.200.0.0/22", **tunnel})
    )
    setup.edge.run().join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.agent.bind(
        "all", tcp(81, f"{BACKEND}:8081"), tcp(82, f"{BACKEND}:8082"), udp(7000, f"{BACKEND}:7000"),
        tcp(81, f"[{BACKEND6}]:8081", "talk6", publicIP=A6),
        tcp(82, f"[{BACKEND6}]:8082", "bulk6", publicIP=A6),
        udp(7000, f"[{BACKEND6}]:7000", "echo6", publicIP=A6),
    )
    return setup


@case
def outer_ipv6(lab):
    """Dialled by IPv6, a packet grows by 80 bytes, and both families are carried inside."""
    setup = serving6(lab, outer=A6)
    becomes_mtus(setup, (1420, 1420, 1420, 1420))
    for address in (A, A6):
        carries(setup, address)
    underlay(setup, 1400)
    becomes_mtus(setup, (1320, 1320, 1420, 1320))
    for address in (A, A6):
        carries(setup, address)


@case
def ipv6_inside_over_a_small_underlay(lab):
    """Over an underlay of 1280 IPv4 keeps to what fits and IPv6 goes in fragments, and that is
    said."""
    setup = serving6(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    underlay(setup, 1280)
    becomes_mtus(setup, (1220, 1220, 1440, 1220))
    for address in (A, A6):
        carries(setup, address, (1100, 1200, 1472, 4000))
    becomes(lambda: "carries packets of 1220 bytes" in setup.edge.cli("status").stdout, True)
    underlay(setup, 1500)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))


@case
def ipv6_inside_a_black_hole(lab):
    """On a path that takes 1320 and drops the rest, bulk and datagrams by IPv6 arrive."""
    setup = serving6(lab)
    middle(setup, 1380)
    becomes_mtus(setup, (1440, 1312, 1440, 1312))
    for address in (A, A6):
        carries(setup, address)


# ---- who speaks ----


def probe(setup, source, uplink_mtu, size):
    """A probe from `source` at home; the size of its echo, and the edge's MTU in it."""
    payload = b"edpp\x01" + struct.pack(">QII", 7, uplink_mtu, 0)
    with setup.world.home.network(), ask.datagram_socket(A) as sender:
        sender.bind((source, 0))
        sender.settimeout(1)
        sender.sendto(payload[:size].ljust(size, b"\0"), ("10.200.0.1", 7443))
        try:
            echo = sender.recv(65536)
        except TimeoutError:
            return "no echo"
    return len(echo), struct.unpack(">I", echo[17:21])[0]


@case
def probes_of_whoever(lab):
    """An echo is never larger than its probe, only uplinks have one, and what an uplink says limits
    nobody but itself, to 576 at least."""
    setup = serving(lab)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))
    expect(probe(setup, "10.200.0.16", 0, 21), (21, 1440))
    expect(probe(setup, "10.200.0.16", 0, 1000), (1000, 1440))
    expect(probe(setup, "10.200.0.16", 0, 20), "no echo")
    setup.world.home.ip("address add 10.200.0.18/32 dev lo")
    expect(probe(setup, "10.200.0.18", 600, 21), "no echo")
    expect(mtus(setup)[1], 1440)
    expect(probe(setup, "10.200.0.16", 1, 21), (21, 1440))
    becomes(lambda: mtus(setup)[1], 576, 2)
    becomes_mtus(setup, (1440, 1440, 1440, 1440))  # as the uplink itself says


@case
def path_of_1280_that_fragments(lab):
    """Over a path of 1280 whose routers do what they should, everything arrives."""
    setup = serving(lab)
    middle(setup, 1280, hole=False)
    carries(setup)
    middle(setup, 1500, hole=False)
    carries(setup)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def forge_too_big(setup, mtu):
    """Anybody on the internet tells the VPS that its tunnel's packets are too big on the way."""
    endpoint = eventually(lambda: setup.edge.status()["uplinks"][0]["endpoint"])
    address, port = endpoint.rsplit(":", 1)
    sent = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1400, 0, 0, 64, 17, 0,
                       socket.inet_aton(A), socket.inet_aton(address))
    sent += struct.pack("!HHHH", 51820, int(port), 1380, 0)
    error = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + sent
    error = error[:2] + struct.pack("!H", checksum(error)) + error[4:]
    with setup.world.internet.network():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with raw:
        raw.sendto(error, (A, 0))


def told_mtus(setup):
    """What doctor says of MTUs that the kernel was told."""
    done = setup.edge.cli("doctor", "-o", "json", check=False)
    return [one for one in json.loads(done.stdout)["findings"]
            if one["check"] == "mtu" and "the kernel was told" in one["what"]]


@case
def forged_too_big(lab):
    """One forged ICMP error cuts the tunnel's packets on the VPS: doctor says so, and what forgets
    it; after `edged prepare` no such error goes below 1280, and a path without fragments lives."""
    setup = serving(lab)
    host = setup.edge.host
    expect(told_mtus(setup), [])
    forge_too_big(setup, 552)
    found = eventually(lambda: told_mtus(setup)[0])
    expect_in("only packets of 552 bytes reach ", found["what"])
    expect_in("ip route flush cache", found["mend"])
    host.run(["ip", "route", "flush", "cache"])
    eventually(lambda: expect(told_mtus(setup), []))
    expect_in("net.ipv4.route.min_pmtu: 552 -> 1280", setup.edge.cli("prepare", check=False).stdout)
    forge_too_big(setup, 552)
    found = eventually(lambda: told_mtus(setup)[0])
    expect_in("only packets of 1280 bytes reach ", found["what"])
    setup.world.cgnat.nft(BLACK_HOLE.replace("DEVICE", "wan"))
    transfer = Transfer(setup.world.client, A, 82, "pull")
    expect(transfer.result(), "whole", "a download where fragments are dropped")
