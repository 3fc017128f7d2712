"""Strangers who fill the VPS's table of connections through a mapped port."""

import contextlib
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ask
from case import case
from cases.pmtu import checksum
from expect import Skipped, becomes, eventually, expect, expect_in, expect_not_in, within
from product import Setup, tcp, udp
from served import MEGABYTE, Undisturbed, memory, warnings
from stream import Stream
from world import A, BACKEND, BACKEND2, CLIENT, HOME_LAN

LIMIT_SECONDS = 120
MOVED, STRANGER = "192.0.2.3", "11.0.0.1"
SAW = f"backend:8081 saw {HOME_LAN}: hello"
# As `conntrack -o save` writes it.
HALF_OPEN = "--state SYN_SENT -u UNSET -t 120"
ESTABLISHED = "--state ESTABLISHED -u SEEN_REPLY,ASSURED -t 3600"


def serving(lab):
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080", "talk:8081", "echo:7000")
    setup.start()
    setup.agent.bind(
        "standard", tcp(80, f"{BACKEND}:8080"), tcp(81, f"{BACKEND}:8081"),
        udp(7000, f"{BACKEND}:7000"),
    )
    return setup


def most_of(host):
    return int(host.run(["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]).stdout)


def count_of(host):
    return int(host.run(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]).stdout)


def move(setup):
    """From now on the home's packets come from another address."""
    cgnat = setup.world.cgnat
    cgnat.ip(f"address add {MOVED}/24 dev wan")
    cgnat.nft(f'insert rule ip nat postrouting oifname "wan" snat to {MOVED}')
    cgnat.run(["conntrack", "-F"])


def fill(setup, how):
    """The table as a flood of strangers leaves it, up to its end."""
    host = setup.edge.host
    most = most_of(host)
    if most > 300_000:
        raise Skipped(f"a table of {most} connections takes too long to fill")
    path = setup.lab.folder / "flows"
    with path.open("w") as file:
        for number in range(most + 1000):
            client = f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            file.write(
                f"-A -s {client} -d {A} -r {A} -q {client} -p tcp --sport 4000 --dport 81 "
                f"--reply-port-src 81 --reply-port-dst 4000 {how}\n"
            )
    start = time.monotonic()
    host.run(["conntrack", "-R", path], check=False, seconds=60)
    print(f"    {most} connections in {time.monotonic() - start:.1f} s", flush=True)


@contextlib.contextmanager
def goes_on(setup):
    """What there was before goes on in the block, and edged stays small and quick."""
    client = setup.world.client
    with client.network():
        held = ask.Held(A, 81)
    before = memory(setup.edge)
    with Undisturbed(setup), Stream(client, A, 7000) as stream:
        time.sleep(0.3)
        yield
        expect(held.ask("held"), f"backend:8081 saw {HOME_LAN}: held")
    print(f"    {stream.told()}")
    expect(stream.lost(), [], "lost packets")
    grown = memory(setup.edge) - before
    expect(grown < 16 * MEGABYTE, True, f"grown by {grown}")


def new_connections(setup):
    return setup.ask(ask.talk, A, 81)


@case
def half_open_connections(lab):
    """A table full of connections that nobody answered: whoever comes still finds room."""
    setup = serving(lab)
    with goes_on(setup):
        fill(setup, HALF_OPEN)
        for _ in range(5):
            expect(new_connections(setup), SAW)
        setup.agent.bind("more", udp(7001, f"{BACKEND}:7000"))


@case
def established_connections(lab):
    """A table full of connections that are in use: what there was goes on, edged does its work
    and says why nobody new comes in, and all is well when there is room again."""
    setup = serving(lab)
    edge = setup.edge
    with goes_on(setup):
        fill(setup, ESTABLISHED)
        eventually(lambda: expect_in("table of connections is full", warnings(edge)), 2)
        with within(2, "doctor"):
            shown = edge.cli("doctor", check=False).stdout
        expect_in("connections (100 %)", shown)
        # Every flow is looked through.
        setup.agent.bind("more", udp(7001, f"{BACKEND}:7000"))
        setup.agent.remove("more")
        edge.host.run(["nft", "flush", "table", "inet", "edged"])
        with within(2, "status"):
            edge.cli("status")
        time.sleep(2)
        edge.host.run(["conntrack", "-D", "-s", "11.0.0.0/8"], seconds=30)
        becomes(lambda: new_connections(setup), SAW)
        eventually(lambda: expect_not_in("connections is full", warnings(edge)), 2)


MASQUERADE = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "eth0" masquerade
  }
}
"""


@case
def tunnels_of_others(lab):
    """A container's own WireGuard, to the port that ours has here: its packets keep the entry
    that translates them while the table is full."""
    setup = serving(lab)
    world, host = setup.world, setup.edge.host
    container = lab.host("container")
    lab.wire(host, "docker0", "172.17.0.1/16", container, "eth0", "172.17.0.2/16")
    container.ip("route add default via 172.17.0.1")
    host.sysctl({"ip_forward": "1"})
    host.nft(MASQUERADE)
    world.serve(world.client, "vpn", "echo:51820")
    with Stream(container, CLIENT, 51820) as stream:
        eventually(lambda: expect(len(stream.answered) > 10, True), 2)
        fill(setup, ESTABLISHED)
        eventually(lambda: expect_in("overflow", host.run(["nft", "list", "tables"]).stdout), 2)
        time.sleep(1)
    expect(stream.lost(), [], stream.told())


# Somebody's, who thinks in states: without an entry none of the tunnel's packets passes.
FIREWALL = """
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop
    iifname "lo" accept
    ct state established,related accept
    ct state new udp dport 51820 accept
    ct state new iifname "edged0" meta l4proto { tcp, udp } th dport 7443 accept
  }
  chain output {
    type filter hook output priority filter; policy drop
    oifname "lo" accept
    ct state established,related accept
  }
}
"""


@case
def beside_a_firewall_of_states(lab):
    """The same on a host whose own rules let nothing pass but new connections to known ports and
    what is established: what there was goes on."""
    setup = serving(lab)
    edge = setup.edge
    edge.host.nft(FIREWALL)
    with goes_on(setup):
        fill(setup, ESTABLISHED)
        eventually(lambda: expect_in("but not those of uplinks", warnings(edge)), 2)
        time.sleep(3)
        setup.agent.bind("more", udp(7001, f"{BACKEND}:7000"))
        edge.host.run(["conntrack", "-D", "-s", "11.0.0.0/8"], seconds=30)
        becomes(lambda: new_connections(setup), SAW)


@case
def an_uplink_that_moves(lab):
    """A table full of connections that are in use, and an uplink that comes from another address,
    with an agent that starts anew: its tunnel, heartbeats and the API work, others' connections go
    on, and when there is room all is as it was before."""
    setup = serving(lab)
    edge = setup.edge
    with setup.world.client.network():
        held = ask.Held(A, 81)
    fill(setup, ESTABLISHED)
    eventually(lambda: expect_in("table of connections is full", warnings(edge)), 2)
    start = time.monotonic()
    setup.agent.process.stop()
    move(setup)
    setup.agent.run()
    eventually(lambda: expect_in(MOVED, setup.edge.status()["uplinks"][0]["endpoint"]), 20)
    setup.agent.bind("more", udp(7001, f"{BACKEND}:7000"))
    print(f"    serves from elsewhere after {time.monotonic() - start:.1f} s", flush=True)
    expect(held.ask("held"), f"backend:8081 saw {HOME_LAN}: held")
    expect(most_of(edge.host) - count_of(edge.host) < 100, True, "the table is still full")
    edge.host.run(["conntrack", "-D", "-s", "11.0.0.0/8"], seconds=30)
    becomes(lambda: new_connections(setup), SAW)
    eventually(lambda: expect_not_in("connections is full", warnings(edge)), 2)
    eventually(lambda: expect_not_in("overflow", edge.host.run(["nft", "list", "tables"]).stdout), 2)
    expect(setup.ask(ask.echo, A, 7001), f"backend:7000 saw {HOME_LAN}: hello")


def syn(source, port, to_port):
    """The first packet of a connection to A, as whoever likes may send it in any name."""
    addresses = socket.inet_aton(source) + socket.inet_aton(A)
    header = struct.pack("!HHIIBBHHH", port, to_port, 1, 0, 5 << 4, 2, 64_000, 0, 0)
    total = checksum(addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(header)) + header)
    header = header[:16] + struct.pack("!H", total) + header[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(header), 0, 0, 64, socket.IPPROTO_TCP, 0) \
        + addresses + header


class Syns:
    """Sends so many of them a second, each in another name, while the block lasts."""

    def __init__(self, setup, port, rate):
        # Nobody answers for these names.
        setup.world.internet.ip("route add blackhole 11.0.0.0/8")
        with setup.world.client.network():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._port, self._rate = port, rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._names = random.Random(1)
        self.sent = 0

    def _run(self):
        start = time.monotonic()
        while not self._over.is_set():
            while self.sent < (time.monotonic() - start) * self._rate:
                name = socket.inet_ntoa(struct.pack("!I", 11 << 24 | self._names.getrandbits(24)))
                self._socket.sendto(syn(name, self._names.randrange(1024, 65_536), self._port),
                                    (A, 0))
                self.sent += 1
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._socket.close()


@case
def connections_that_nobody_goes_on_with(lab):
    """Strangers begin 4,000 connections a second to a target, 100,000 in all, and go on with none:
    clients go on getting new ones, though all come from one address of the uplink, which has no
    more than 64,512 ports towards the target."""
    setup = serving(lab)
    home = setup.world.home
    got = []
    with Syns(setup, 81, 4_000) as syns:
        while syns.sent < 100_000:
            got.append(new_connections(setup))
            time.sleep(0.5)
        ports = count_of(home)
    print(f"    {syns.sent} begun, {ports} known to the uplink, "
          f"{got.count(SAW)} of {len(got)} clients served", flush=True)
    expect(got.count(SAW), len(got), "clients that were served")


def half_open(setup, port):
    """The state of the one connection that was begun to this port, as the uplink has it, and the
    seconds that it has left."""
    words = ["-p", "tcp", "--dport", str(port), "-s", STRANGER]
    lines = [line for line in setup.world.home.run(["conntrack", "-L", *words]).stdout.splitlines()
             if line]
    expect(len(lines), 1, f"connections to {port}: {lines}")
    _, _, seconds, state = lines[0].split()[:4]
    return state, int(seconds)


@case
def half_open_for_ten_seconds(lab):
    """A connection that nobody goes on with is forgotten after 10 s, whether its target answered
    or not, and whatever idleTimeout it has; a client whose first packets are lost for longer comes
    in by a later one, and what is gone on with has its own time."""
    setup = serving(lab)
    home, backend = setup.world.home, setup.world.backend
    backend.nft("table inet f { chain c { type filter hook input priority 0; "
                "tcp dport 8081 ip daddr " + BACKEND2 + " drop; }; }")
    setup.agent.bind("slow", tcp(84, f"{BACKEND}:8081", tcp={"idleTimeout": "1h"}),
                     tcp(85, f"{BACKEND2}:8081", tcp={"idleTimeout": "1h"}))
    setup.world.internet.ip("route add blackhole 11.0.0.0/8")
    with setup.world.client.network():
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with sender:
        for port, wanted in ((81, "SYN_RECV"), (84, "SYN_RECV"), (85, "SYN_SENT")):
            sender.sendto(syn(STRANGER, 4000, port), (A, 0))
            becomes(lambda port=port: half_open(setup, port)[:1], (wanted,))
            expect(half_open(setup, port)[1] <= 10, True, f"seconds of {port}")
    start = time.monotonic()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(setup.ask, ask.Held, A, 85, 30)
        time.sleep(10.5)
        expect(home.run(["conntrack", "-L", "-p", "tcp", "-s", STRANGER]).stdout, "", "strangers'")
        backend.run(["nft", "delete", "table", "inet", "f"])
        with slow.result() as held:
            print(f"    came in after {time.monotonic() - start:.1f} s", flush=True)
            expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
            listed = home.run(["conntrack", "-L", "-p", "tcp", "--dport", "85"]).stdout
            expect(3590 <= int(listed.split()[2]) <= 3600, True, listed)
