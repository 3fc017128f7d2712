"""Access rules of bindings: who is dropped, in both families, and what a change does to flows."""

import contextlib
import re
import socket
import struct
import time

import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from product import Setup, port_binding, tcp, udp
from world import A, A6, BACKEND, BACKEND6, CGNAT, CLIENT, HOME6_LAN, HOME_LAN

LIMIT_SECONDS = 120
SAW = f"backend:8080 saw {HOME_LAN}"
SAW6 = f"backend:8080 saw {HOME6_LAN}"
TIMED_OUT = "no: timed out"
CLIENTS, OTHERS = f"{CLIENT}/32", "192.0.2.0/24"
CLIENTS6 = "2001:db8:9::/64"
SHORT = 0.7  # seconds that a dropped client waits


def build(lab):
    setup = Setup(lab, ipv6=True, sysctls={"ip_forward": "1"})
    world = setup.world
    for host in (world.home, world.edges["a"]):
        host.sysctl({"conf/all/forwarding": "1"}, "ipv6")
    world.serve(world.backend, "backend", "page:8080", "talk:8081", "echo:7000")
    setup.start()
    setup.agent.bind("open", tcp(80, f"{BACKEND}:8080"))
    return setup


def pages(setup, port, address=A):
    """What the client and somebody else get."""
    return [setup.ask(ask.page, address, port, SHORT, at=host)
            for host in (setup.world.client, setup.world.cgnat)]


def allow(setup, name, *bindings):
    """The bindings are served as they are now."""
    setup.agent.write(name, port_binding(name, *bindings))

    def look():
        listed = setup.edge.status().get("groups", [])
        wanted = sorted(prefix for one in bindings
                        for prefix in one.get("access", {}).get("allowCIDRs", []))
        found = sorted(prefix for group in listed for prefix in group.get("allowed", []))
        expect(set(wanted) <= set(found) or not wanted, True, f"{wanted} in {found}")

    eventually(look, 5)
    setup.agent.wait_ready(name)


@case
def others_are_dropped(setup):
    """A client of allowCIDRs is served, another one gets no answer; so with denyCIDRs the
    other way round; and bindings beside them are for everybody."""
    setup.agent.bind(
        "choosy",
        tcp(81, f"{BACKEND}:8080", access={"allowCIDRs": [CLIENTS, CLIENTS6]}),
        tcp(82, f"{BACKEND}:8080", access={"denyCIDRs": [CLIENTS]}),
        tcp(83, f"{BACKEND}:8080", access={"allowCIDRs": ["0.0.0.0/0"], "denyCIDRs": [OTHERS]}),
    )
    expect(pages(setup, 81), [SAW, TIMED_OUT])
    expect(pages(setup, 82), [TIMED_OUT, SAW])
    expect(pages(setup, 83), [SAW, TIMED_OUT])
    expect(pages(setup, 80), [SAW, SAW])
    table = setup.edge.table()
    expect_in(f"elements = {{ {CLIENT} }}", table)
    expect_in("ip saddr != @allow-", table)
    setup.agent.remove("choosy")
    becomes(lambda: "allow-" in setup.edge.table(), False)
    becomes(lambda: "clients-" in setup.edge.table(), False)


@case
def both_families(setup):
    """An IPv6 client likewise; a list of the other family alone admits nobody."""
    setup.agent.bind(
        "six",
        tcp(81, f"[{BACKEND6}]:8080", publicIP=A6, access={"allowCIDRs": [CLIENTS6, OTHERS]}),
        tcp(82, f"[{BACKEND6}]:8080", publicIP=A6, access={"allowCIDRs": [CLIENTS]}),
        tcp(83, f"{BACKEND}:8080", access={"allowCIDRs": [CLIENTS6]}),
    )
    expect(pages(setup, 81, A6), [SAW6, TIMED_OUT])
    expect(pages(setup, 82, A6), [TIMED_OUT, TIMED_OUT])
    expect(pages(setup, 83), [TIMED_OUT, TIMED_OUT])
    setup.agent.remove("six")


class UdpFlow:
    """One socket of the client's that stays."""

    def __init__(self, setup, port):
        with setup.world.client.network():
            self._socket = ask.datagram_socket(A)
        self._socket.connect((A, port))
        self._socket.settimeout(0.3)
        self.port = self._socket.getsockname()[1]

    def ask(self):
        with contextlib.suppress(OSError):
            self._socket.send(b"hello")
        return self.hear()

    def hear(self):
        try:
            return self._socket.recv(1000).decode()
        except OSError:
            return "nothing"


@case
def a_client_that_may_no_more(setup):
    """Its UDP flows end with the change, also where the target goes on sending; its TCP
    connections stay, and it gets no new ones. Allowed again, its old socket is answered."""
    def bindings(prefix):
        access = {"allowCIDRs": [prefix]}
        return (tcp(90, f"{BACKEND}:8081", access=access),
                udp(90, f"{BACKEND}:7000", access=access))

    allow(setup, "change", *bindings(CLIENTS))
    answer = f"backend:7000 saw {HOME_LAN}: hello"
    flow = UdpFlow(setup, 90)
    expect(flow.ask(), answer)
    with setup.world.client.network():
        held = ask.Held(A, 90)
    with held:
        expect_in("hello", held.ask())
        allow(setup, "change", *bindings(OTHERS))
        becomes(flow.ask, "nothing")
        expect(flow.ask(), "nothing")
        expect_in("hello", held.ask())
        expect(setup.ask(ask.talk, A, 90, "hello", SHORT), TIMED_OUT)
        expect_in("hello", setup.ask(ask.talk, A, 90, at=setup.world.cgnat))
        allow(setup, "change", *bindings(CLIENTS))
        becomes(flow.ask, answer)
    setup.agent.remove("change")


def datagram(source, source_port, destination, port, payload):
    """An IPv4 packet (RFC 791) with UDP (RFC 768)."""
    udp_header = struct.pack(">HHHH", source_port, port, 8 + len(payload), 0)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(destination)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:] + udp_header + payload


@case
def no_way_back_to_others(setup):
    """What an uplink begins anew, after the edge's connection state is gone, reaches clients
    that are allowed and no other."""
    links = setup.world.home.run(["ip", "-o", "link"]).stdout
    device = next(word.rstrip(":") for word in links.split() if word.startswith("eu-"))

    def begin_anew(flow):
        """A datagram from the uplink, as the target's answer; what the client hears."""
        setup.edge.host.run(["conntrack", "-F"])
        with setup.world.home.network():
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sender:
                sender.sendto(datagram("10.200.0.17", 91, CLIENT, flow.port, b"anew"),
                              (device, 0x0800))
        return flow.hear()

    allow(setup, "back", udp(91, f"{BACKEND}:7000", access={"allowCIDRs": [CLIENTS]}))
    flow = UdpFlow(setup, 91)
    expect_in("hello", flow.ask())
    expect(begin_anew(flow), "anew")
    allow(setup, "back", udp(91, f"{BACKEND}:7000", access={"allowCIDRs": [OTHERS]}))
    becomes(flow.ask, "nothing")
    expect(begin_anew(flow), "nothing")
    setup.agent.remove("back")


@case
def the_table_is_put_right(setup):
    """An element, a rule and a set of an access list that somebody takes away come back."""
    allow(setup, "drift", tcp(92, f"{BACKEND}:8080", access={"allowCIDRs": [CLIENTS, OTHERS]}))
    expect(pages(setup, 92), [SAW, SAW])
    host = setup.edge.host
    before = setup.edge.table()
    [name] = re.findall(r"set (allow-\S+) {[^}]*elements = {[^}]*192", before)
    host.run(["nft", "delete", "element", "inet", "edged", name, "{", OTHERS, "}"])
    becomes(setup.edge.table, before)
    host.run(["nft", "add", "element", "inet", "edged", name, "{", "10.9.0.0/16", "}"])
    becomes(setup.edge.table, before)
    chain = name.replace("allow-", "group-")
    host.run(["nft", "flush", "chain", "inet", "edged", chain])
    becomes(setup.edge.table, before)
    host.run(["nft", "flush", "set", "inet", "edged", name])
    becomes(setup.edge.table, before)
    host.run(["nft", "delete", "table", "inet", "edged"])
    becomes(lambda: sorted(setup.edge.table().splitlines()), sorted(before.splitlines()))
    expect(pages(setup, 92), [SAW, SAW])
    setup.agent.remove("drift")


@case
def a_restart_keeps_the_rules(setup):
    """The state on disk has them: an edge that starts again without an agent lets nobody in."""
    allow(setup, "kept", tcp(93, f"{BACKEND}:8080", access={"allowCIDRs": [CLIENTS]}))
    time.sleep(0.3)  # until it is on disk
    setup.edge.process.stop()
    setup.edge.host.run(["nft", "delete", "table", "inet", "edged"])
    setup.edge.run()
    becomes(lambda: pages(setup, 93), [SAW, TIMED_OUT], 15)
    expect_not_in("damaged", setup.edge.process.output())
    setup.agent.remove("kept")


@case
def a_hundred_networks(setup):
    """Lists may be long and overlap."""
    prefixes = [f"10.{one}.0.0/16" for one in range(100)]
    prefixes += ["10.0.0.0/9", OTHERS, f"{CGNAT}/32", "192.0.2.0/25"]
    allow(setup, "long", tcp(94, f"{BACKEND}:8080", access={"allowCIDRs": prefixes}))
    expect(pages(setup, 94), [TIMED_OUT, SAW])
    setup.agent.remove("long")

