"""The kernel's tables of connections: what no longer fits goes, everything else stays."""

import contextlib
import re
import socket
import time

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from product import STATE, Setup, port_binding, tcp, udp
from world import A, BACKEND, BACKEND2, CLIENT, HOME_LAN

LIMIT_SECONDS = 120
OF_A, OF_B = f"backend:7000 saw {HOME_LAN}", f"backend:7001 saw {HOME_LAN}"
MAPPING = "10.200.0.17"  # what stands for A on the uplink


def build(lab):
    setup = Setup(lab)
    world = setup.world
    world.serve(
        world.backend, "backend", "talk:8081", "talk:8082", "echo:7000", "echo:7001",
        "echo:7100-7109",
    )
    setup.start()
    setup.agent.bind("held", tcp(81, f"{BACKEND}:8081"), udp(7000, f"{BACKEND}:7000"))
    return setup


class UdpFlow:
    """One flow of a client, for as long as the block lasts."""

    def __init__(self, setup, port):
        with setup.world.client.network():
            self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind((CLIENT, 0))
        self._socket.connect((A, port))
        self.source = self._socket.getsockname()[1]

    def ask(self, line="hello", seconds=0.15):
        """What one datagram brings back; "nothing"."""
        self._socket.settimeout(seconds)
        try:
            self._socket.send(line.encode())
            return self._socket.recv(1000).decode()
        except OSError:
            return "nothing"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


def table(host, *words):
    """What conntrack lists of a host, a flow a line."""
    listed = host.run(["conntrack", "-L", *words]).stdout.splitlines()
    return [line for line in listed if line]


def flows_of(host, flow):
    """A client's flow in the table of a host, as it came in."""
    return table(host, "-p", "udp", "--orig-port-src", str(flow.source), "-s", CLIENT)


def insert(host, lines):
    """Puts flows into a host's table: words of conntrack(8), a flow a line."""
    host.run(["conntrack", "-R", "-"], input="".join(f"-I {line}\n" for line in lines), seconds=60)


def foreign(count):
    """Flows of others, TCP and UDP, some of them translated by somebody."""
    for number in range(count):
        port = 1024 + number
        yield (f"-p udp -s 192.0.2.77 -d 192.0.2.78 --sport {port} --dport 53 "
               f"-r 192.0.2.78 -q 192.0.2.77 --reply-port-src 53 --reply-port-dst {port} -t 600")
        yield (f"-p udp -s 192.0.2.77 -d {A} --sport {port} --dport 40000 "
               f"-r 172.17.0.2 -q 192.0.2.77 --reply-port-src 53 --reply-port-dst {port} -t 600")
        yield (f"-p tcp -s 192.0.2.77 -d {A} --sport {port} --dport 2222 --state ESTABLISHED "
               f"-r {A} -q 192.0.2.77 --reply-port-src 2222 --reply-port-dst {port} -t 600")


CONNECTED = "--state ESTABLISHED -u SEEN_REPLY"
TRIES = "--state SYN_SENT"


def translated(source, port, protocol="udp", to=MAPPING, state=CONNECTED):
    """A client's flow to a mapping of A, as the edge has it."""
    words = state if protocol == "tcp" else ""
    return (f"-p {protocol} -s {CLIENT} -d {A} --sport {source} --dport {port} {words} "
            f"-r {to} -q {CLIENT} --reply-port-src {port} --reply-port-dst {source} -t 600")


def foreign_count(host):
    return len(table(host, "-s", "192.0.2.77"))


@contextlib.contextmanager
def others_stay(setup, count=1000):
    """Through the block, everybody else's flows stay, on both ends."""
    hosts = (setup.edge.host, setup.world.home)
    for host in hosts:
        host.run(["conntrack", "-D", "-s", "192.0.2.77"], check=False)
        insert(host, foreign(count))
        expect(foreign_count(host), 3 * count, f"{host.name}: put in")
    yield
    for host in hosts:
        expect(foreign_count(host), 3 * count, f"{host.name}: flows of others")


@case
def udp_follows_its_target(setup):
    """D5: after a change of target a UDP flow goes to the new one, held TCP to the old one, and
    flows of others and of other mappings stay."""
    setup.agent.bind("moving", udp(7010, f"{BACKEND}:7000"), tcp(82, f"{BACKEND}:8081"))
    with others_stay(setup), UdpFlow(setup, 7010) as flow, UdpFlow(setup, 7000) as beside, \
            setup.ask(ask.Held, A, 82) as held:
        expect(flow.ask("one"), f"{OF_A}: one")
        expect(beside.ask("one"), f"{OF_A}: one")
        entries = [flows_of(host, beside) for host in (setup.edge.host, setup.world.home)]
        expect([len(entry) for entry in entries], [1, 1])
        expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
        setup.agent.bind("moving", udp(7010, f"{BACKEND}:7001"), tcp(82, f"{BACKEND2}:8082"))
        becomes(lambda: flow.ask("two"), f"{OF_B}: two", seconds=2)
        expect(held.ask("two"), f"backend:8081 saw {HOME_LAN}: two")
        expect(setup.ask(ask.talk, A, 82), f"backend:8082 saw {HOME_LAN}: hello")
        for host in (setup.edge.host, setup.world.home):
            expect(len(flows_of(host, beside)), 1, f"{host.name}: the flow beside")
    setup.agent.remove("moving")


@case
def udp_of_a_removed_mapping_ends(setup):
    """A live UDP flow ends with its mapping on both ends; a TCP connection goes on."""
    setup.agent.bind("short", udp(7011, f"{BACKEND}:7000"), tcp(83, f"{BACKEND}:8081"))
    with others_stay(setup), UdpFlow(setup, 7011) as flow, setup.ask(ask.Held, A, 83) as held:
        expect(flow.ask(), f"{OF_A}: hello")
        expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
        setup.agent.remove("short")
        becomes(flow.ask, "nothing", seconds=3)
        expect(held.ask("two"), f"backend:8081 saw {HOME_LAN}: two")
        # What the client sends now is nobody's.
        becomes(lambda: MAPPING in "".join(flows_of(setup.edge.host, flow)), False)
        becomes(lambda: flows_of(setup.world.home, flow), [])
        # D20: and somebody's again.
        setup.agent.bind("again", udp(7011, f"{BACKEND}:7001"))
        becomes(flow.ask, f"{OF_B}: hello", seconds=2)
    setup.agent.remove("again")


@case
def udp_of_a_range_ends(setup):
    """Of a range that is removed every UDP flow ends, and none of the mapping beside it."""
    setup.agent.bind("range", udp("7100-7109", BACKEND))
    with others_stay(setup), UdpFlow(setup, 7104) as flow, UdpFlow(setup, 7000) as beside:
        expect(flow.ask(), f"backend:7104 saw {HOME_LAN}: hello")
        expect(beside.ask(), f"{OF_A}: hello")
        setup.agent.remove("range")
        becomes(flow.ask, "nothing", seconds=3)
        expect(len(flows_of(setup.edge.host, beside)), 1, "flows beside")
        becomes(lambda: flows_of(setup.world.home, flow), [])


@case
def udp_moves_beside_a_device_that_fails(setup):
    """An uplink that cannot make a tunnel device ends flows to a former target all the same."""
    home = setup.world.home
    setup.agent.bind("beside", udp(7012, f"{BACKEND}:7000"))
    with UdpFlow(setup, 7012) as flow:
        becomes(flow.ask, f"{OF_A}: hello", seconds=3)
        device = home.run(["cat", f"{STATE}/devices"]).stdout.split()[0]
        take = f"link del {device}\nlink add {device} type veth\n"
        # Somebody else has its name from now on, if faster than the agent.
        eventually(lambda: home.run(["ip", "-batch", "-"], input=take), 10)
        eventually(lambda: expect_in("trying again", setup.agent.process.output()))
        expect(len(flows_of(home, flow)), 1, "flows before")
        # Without a tunnel it is not Ready.
        setup.agent.write("beside", port_binding("beside", udp(7012, f"{BACKEND}:7001")))
        becomes(lambda: flows_of(home, flow), [], seconds=3)
        home.run(["ip", "link", "del", device])
        becomes(flow.ask, f"{OF_B}: hello", seconds=20)
        setup.agent.wait_ready("beside")
    setup.agent.remove("beside")


def stale_and_live():
    """Flows that no longer fit, and flows that do, as an edge may find them at its start."""
    stale = [
        translated(2001, 7999),  # of a mapping that is gone
        translated(2002, 7000, to="10.200.0.33"),  # of an uplink that is gone
        translated(2003, 81, "tcp", to="10.200.0.33"),
        # Began before its mapping.
        f"-p udp -s {CLIENT} -d {A} --sport 2004 --dport 7000 -r {A} -q {CLIENT} "
        "--reply-port-src 7000 --reply-port-dst 2004 -t 600",
        # Came back by the way-back chains.
        f"-p udp -s {MAPPING} -d {CLIENT} --sport 7998 --dport 2005 -r {CLIENT} -q {A} "
        "--reply-port-src 2005 --reply-port-dst 7998 -t 600",
    ]
    live = [
        translated(3001, 7000),
        translated(3002, 81, "tcp"),
        translated(3003, 84, "tcp"),  # its mapping is gone, which ends no TCP
        # The edge asks a name server.
        f"-p udp -s {A} -d 192.0.2.53 --sport 7000 --dport 53 -r 192.0.2.53 -q {A} "
        "--reply-port-src 53 --reply-port-dst 7000 -t 600",
    ]
    return stale, live


def ports_left(host, words):
    """Which of these flows are in the table, by their source ports."""
    found = "\n".join(table(host))
    ports = [re.search(r"--sport (\d+) --dport (\d+)", word).groups() for word in words]
    return [pair for pair in ports if f"sport={pair[0]} dport={pair[1]} " in found]


@case
def a_start_after_a_crash_cleans_up(setup):
    """What became stale while edged was dead is gone when it is back, and nothing else."""
    edge = setup.edge
    edge.process.kill()
    edge.process.wait(5)
    stale, live = stale_and_live()
    with others_stay(setup):
        insert(edge.host, stale + live)
        expect(len(ports_left(edge.host, stale + live)), 9, "put in")
        edge.run()
        becomes(lambda: ports_left(edge.host, stale), [])
        expect(len(ports_left(edge.host, live)), 4, "live flows")
    expect_in("stale flows: 5 deleted", edge.process.output())
    setup.agent.wait_edge_ready("a")


@case
def an_agent_that_was_dead_cleans_up(setup):
    """A target that changed while the agent was dead has its UDP flows when it is back."""
    setup.agent.bind("moving", udp(7012, f"{BACKEND}:7000"))
    with others_stay(setup), UdpFlow(setup, 7012) as flow:
        expect(flow.ask(), f"{OF_A}: hello")
        setup.agent.process.kill()
        setup.agent.process.wait(5)
        text = (setup.agent.manifests / "moving.yaml").read_text()
        (setup.agent.manifests / "moving.yaml").write_text(text.replace("7000", "7001"))
        setup.agent.run()
        becomes(flow.ask, f"{OF_B}: hello", seconds=10)
        setup.agent.wait_edge_ready("a")
    setup.agent.remove("moving")


@case
def untranslated_by_a_flush_is_mended(setup):
    """A UDP flow that began while somebody had flushed the rules is answered after the repair."""
    edge = setup.edge.host
    with UdpFlow(setup, 7000) as flow:
        edge.run(["conntrack", "-D", "-p", "udp", "--dport", "7000"], check=False)
        insert(edge, [f"-p udp -s {CLIENT} -d {A} --sport {flow.source} --dport 7000 -r {A} "
                      f"-q {CLIENT} --reply-port-src 7000 --reply-port-dst {flow.source} -t 600"])
        # As if it had begun just after this.
        edge.run(["nft", "delete", "table", "inet", "edged"])
        becomes(flow.ask, f"{OF_A}: hello", seconds=3)


def entry(host, protocol, port, source):
    """One flow of the client to a mapped port, as a host has it: seconds left, whole line."""
    words = ["-p", protocol, "--dport", str(port), "--orig-port-src", str(source)]
    lines = table(host, *words)
    expect(len(lines), 1, f"{host.name}: flows to {protocol}/{port}")
    return int(lines[0].split()[2]), lines[0]


def timeouts_listed(host, name):
    """Names of bindings' own `ct timeout` objects in a table."""
    listed = host.run(["nft", "list", "table", "inet", name]).stdout
    return sorted(set(re.findall(r"ct timeout (\S+) {", listed)) - {"tcp-half-open"})


def lives(setup, protocol, port, least, most):
    """A new connection's entry has between so many seconds to live, on both ends."""
    if protocol == "udp":
        with UdpFlow(setup, port) as flow:
            expect(flow.ask(), f"{OF_A}: hello")
            look(setup, protocol, port, least, most, flow.source)
    else:
        with setup.ask(ask.Held, A, port) as held:
            expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
            look(setup, protocol, port, least, most, held.source)


def look(setup, protocol, port, least, most, source):
    for host in (setup.edge.host, setup.world.home):
        left, line = entry(host, protocol, port, source)
        expect(least <= left <= most, True, f"{host.name}: {least} to {most} s: {line}")


@case
def a_binding_has_its_timeouts(setup):
    """idleTimeout and sessionTimeout are what conntrack lists of new connections on both ends,
    and others keep the host's own; without them they are the host's own again."""
    setup.agent.bind(
        "timed",
        tcp(84, f"{BACKEND}:8081", tcp={"idleTimeout": "1h"}),
        udp(7020, f"{BACKEND}:7000", udp={"sessionTimeout": "15m"}),
        udp("7100-7101", BACKEND, name="range", udp={"sessionTimeout": "10m"}),
    )
    lives(setup, "tcp", 84, 3590, 3600)
    lives(setup, "udp", 7020, 890, 900)
    with UdpFlow(setup, 7101) as flow:
        expect(flow.ask(), f"backend:7101 saw {HOME_LAN}: hello")
        look(setup, "udp", 7101, 590, 600, flow.source)
    lives(setup, "tcp", 81, 3601, 432_000)
    lives(setup, "udp", 7000, 1, 180)
    for host, name in ((setup.edge.host, "edged"), (setup.world.home, "clusteragent")):
        expect(timeouts_listed(host, name), ["tcp-3600", "udp-600", "udp-900"], host.name)
    setup.agent.bind(
        "timed", tcp(84, f"{BACKEND}:8081"), udp(7020, f"{BACKEND}:7000"),
        udp("7100-7101", BACKEND, name="range"),
    )
    for host, name in ((setup.edge.host, "edged"), (setup.world.home, "clusteragent")):
        becomes(lambda at=host, table=name: timeouts_listed(at, table), [])
    lives(setup, "tcp", 84, 3601, 432_000)
    lives(setup, "udp", 7020, 1, 180)
    setup.agent.remove("timed")


@case
def a_session_ends_when_it_was_idle(setup):
    """sessionTimeout 2s: an idle session is forgotten after 2 s and not before; packets keep it."""
    setup.agent.bind(
        "brief", udp(7021, f"{BACKEND}:7000", udp={"sessionTimeout": "2s"}))
    hosts = (setup.edge.host, setup.world.home)
    with UdpFlow(setup, 7021) as flow:
        for _ in range(4):
            expect(flow.ask(), f"{OF_A}: hello")
            time.sleep(0.8)
        expect(flow.ask(), f"{OF_A}: hello")
        begin = time.monotonic()
        time.sleep(1.2)
        for host in hosts:
            expect(len(flows_of(host, flow)), 1, f"{host.name} after 1.2 s")
        for host in hosts:
            becomes(lambda at=host: flows_of(at, flow), [], seconds=2.5)
        expect(time.monotonic() - begin < 3.5, True, "ended soon")
    setup.agent.remove("brief")


@case
def timeouts_survive_others(setup):
    """The listed tables load again; what somebody removes of the timeouts comes back."""
    setup.agent.bind("kept", udp(7022, f"{BACKEND}:7000", udp={"sessionTimeout": "5m"}),
                     tcp(85, f"{BACKEND}:8081", tcp={"idleTimeout": "120h"}))
    for host, name in ((setup.edge.host, "edged"), (setup.world.home, "clusteragent")):
        listed = host.run(["nft", "list", "table", "inet", name]).stdout
        expect_in("ct timeout udp-300 {", listed, host.name)
        again = setup.lab.host(f"again-{name}")
        again.nft(listed)
        expect(again.run(["nft", "list", "table", "inet", name]).stdout, listed, f"{name}: loaded again")
        busy = host.run(["nft", "delete", "ct", "timeout", "inet", name, "udp-300"], check=False)
        expect_in("busy", busy.stderr.lower())
        chains = re.findall(r"chain (\S+) {[^}]*udp-300", listed)
        host.run(["sh", "-ec", "\n".join(
            [*(f"nft flush chain inet {name} {chain}" for chain in chains),
             f"nft delete ct timeout inet {name} udp-300 || true"])])
        becomes(lambda at=host, table=name: timeouts_listed(at, table),
                ["tcp-432000", "udp-300"])
    becomes(lambda: setup.ask(ask.echo, A, 7022), f"{OF_A}: hello")
    lives(setup, "udp", 7022, 290, 300)
    # A restart adopts what is there.
    setup.edge.process.stop()
    setup.edge.run()
    setup.agent.wait_edge_ready("a")
    lives(setup, "udp", 7022, 290, 300)
    setup.agent.remove("kept")


@case
def of_51000_flows_1000_go(setup):
    """Of a table of 51,000 flows the 1,000 of a mapping go with it at once; all others stay."""
    setup.agent.bind("crowded", udp(7013, f"{BACKEND}:7000"))
    edge = setup.edge.host
    with others_stay(setup, 16_667):
        insert(edge, [translated(10_000 + number, 7013) for number in range(1000)])
        setup.agent.remove("crowded")
        said = eventually(
            lambda: re.search(r"stale flows: 1000 deleted, (\d+) ms",
                              setup.edge.process.output()) or expect("not yet", "deleted"), 5)
        print(f"    1,000 of 51,000 flows deleted in {said.group(1)} ms", flush=True)
        expect(int(said.group(1)) < 1000, True, f"{said.group(0)}: soon enough")
        expect(table(edge, "-p", "udp", "--dport", "7013"), [])


@case
def a_dead_uplink_loses_its_flows(lab):
    """D8: when an uplink dies its UDP flows and what tries to connect go at once, its TCP
    connections after 30 s; flows of others and of the edge itself stay."""
    setup = build(lab)
    edge = setup.edge.host
    attempt = translated(2010, 81, "tcp", state=TRIES)
    insert(edge, [attempt])
    with others_stay(setup), UdpFlow(setup, 7000) as flow, setup.ask(ask.Held, A, 81) as held:
        expect(flow.ask(), f"{OF_A}: hello")
        expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
        setup.agent.process.kill()
        for pid in setup.world.home.pids_of("wireguard-go"):
            setup.world.home.run(["kill", "-9", str(pid)])
        eventually(lambda: expect_in("alive → ", setup.edge.process.output()), 5)
        becomes(lambda: flows_of(edge, flow), [], seconds=5)
        expect(ports_left(edge, [attempt]), [], "an attempt to connect")
        expect(len(table(edge, "-p", "tcp", "--dport", "81")), 1, "TCP of the dead uplink")
        eventually(lambda: expect(flow.ask(), "nothing"), 2)
        expect(len(table(edge, "-p", "tcp", "--dport", "81")), 1, "TCP of the dead uplink")
        becomes(lambda: table(edge, "-p", "tcp", "--dport", "81"), [], seconds=40)
