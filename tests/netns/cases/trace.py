"""`edged trace`: what becomes of real packets, in words."""

import contextlib
import re
import signal
import socket
import time

import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from product import EDGED, Setup, tcp, udp
from world import A, BACKEND, HOME_LAN

PAGE = f"backend:8080 saw {HOME_LAN}"


def build(lab):
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080", "echo:7000")
    setup.start()
    setup.agent.bind(
        "web", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"),
        tcp(82, f"{BACKEND}:9"),  # nothing listens there
    )
    return setup


def uplink(setup):
    return setup.edge.status()["uplinks"][0]["name"]


class Trace:
    """`edged trace` of one target, until it has ended."""

    def __init__(self, setup, target, *options):
        self._setup = setup
        self._process = setup.edge.host.start([EDGED, "trace", target, *options], "trace")
        self._begin = len(self._process.output())
        self._wait_for("make one now")

    def _wait_for(self, text, seconds=10):
        eventually(lambda: expect_in(text, self.text()), seconds, pause=0.005)

    def text(self):
        return self._process.output()[self._begin:]

    def signal(self, number):
        self._process.signal(number)

    def end(self, code, seconds=15):
        """Its text, when it has ended with this exit code (None: any); nothing is left behind."""
        ended = self._process.wait(seconds)
        if code is not None:
            expect(ended, code, "exit code")
        no_trace_left(self._setup)
        return self.text()


def no_trace_left(setup):
    expect_not_in("trace", setup.edge.host.run(["nft", "list", "tables"]).stdout)


def traced(setup, target, question, code, *options):
    """What trace says while the client asks once."""
    trace = Trace(setup, target, "--connections", "1", "--seconds", "8", *options)
    question()
    return trace.end(code)


def page(setup, port=80):
    return lambda: setup.ask(ask.page, A, port)


@case
def forwarded(setup):
    """A connection that is answered: each step of its way, and exit code 0."""
    text = traced(setup, f"{A}:80", page(setup), 0)
    for words in (
        "198.51.100.9:", f" to {A} tcp/80", "arrived on eth0", "translated to 10.200.0.17:80",
        ", by group ", "sent into the tunnel by edged0", f"came back from {uplink(setup)} after",
        "sent on by eth0", "1 connection in", "1 answered",
    ):
        expect_in(words, text)


@case
def forwarded_udp(setup):
    """The same for UDP."""
    text = traced(setup, f"{A}:7000/udp", lambda: setup.ask(ask.echo, A, 7000), 0)
    expect_in(f" to {A} udp/7000", text)
    expect_in("sent into the tunnel by edged0", text)
    expect_in("1 answered", text)


@case
def not_mapped(setup):
    """A port without a mapping goes to the host's own programs."""
    text = traced(setup, f"{A}:99", page(setup, 99), 1)
    expect_in(f"not translated: {A} tcp/99 is not mapped here", text)
    expect_in("given to this host's own programs", text)


@case
def reserved(setup):
    """A reserved port is never translated, and that is said."""
    text = traced(setup, f"{A}:22", page(setup, 22), 1)
    expect_in(f"not translated: {A} tcp/22 is reserved", text)
    expect_in("given to this host's own programs", text)


@case
def refused_by_the_target(setup):
    """A target where nothing listens is told from the reset that comes back."""
    text = traced(setup, f"{A}:82", page(setup, 82), 1)
    expect_in(f"came back from {uplink(setup)} as a TCP reset", text)
    expect_in("nothing listens at the target", text)
    expect_in("1 refused", text)


STRANGER = """
table ip filter {
  chain FORWARD {
    type filter hook forward priority filter; policy accept;
    jump mine
  }
  chain mine {
    oifname "edged0" tcp dport 80 counter drop
  }
}
"""


@case
def dropped_by_a_stranger(setup):
    """A rule of somebody else that drops is named, with its table, chain and handle."""
    host = setup.edge.host
    host.nft(STRANGER)
    text = traced(setup, f"{A}:80", lambda: setup.ask(ask.page, A, 80, 1.5), 1)
    host.run(["nft", "delete", "table", "ip", "filter"])
    expect(bool(re.search(
        r'dropped by `oifname "edged0" tcp dport 80 counter.* drop` \(handle \d+\) '
        r"of table ip filter, chain mine", text)), True, text)
    expect_in("$ nft -a list chain ip filter mine", text)
    expect_in("1 dropped", text)
    expect(setup.ask(ask.page, A, 80), PAGE)


@case
def dropped_by_a_policy(setup):
    """So is the policy of somebody's chain."""
    host = setup.edge.host
    host.nft("table inet strict { chain in { type filter hook prerouting priority -200; "
             "policy drop; udp dport 51820 accept; iifname { edged0, lo } accept; }; }")
    text = traced(setup, f"{A}:80", lambda: setup.ask(ask.page, A, 80, 1.5), 1)
    host.run(["nft", "delete", "table", "inet", "strict"])
    expect_in("dropped by the policy of table inet strict, chain in", text)


DOCKER = """
table ip nat {
  chain DOCKER { iifname != "docker0" tcp dport 80 counter dnat to 203.0.113.126:80; }
  chain PREROUTING {
    type nat hook prerouting priority -150; policy accept;
    fib daddr type local counter jump DOCKER
  }
}
"""


@case
def taken_by_a_stranger(setup):
    """A rule of somebody else that translates the packet first is named."""
    host = setup.edge.host
    host.nft(DOCKER)
    text = traced(setup, f"{A}:80", lambda: setup.ask(ask.page, A, 80, 1.5), 1)
    host.run(["nft", "delete", "table", "ip", "nat"])
    expect_in("taken: sent to 203.0.113.126:80", text)
    expect(bool(re.search(
        r"by `.*tcp dport 80 .*nat` \(handle \d+\) of table ip nat \(docker\), chain DOCKER, "
        r"which comes before edged", text)), True, text)
    expect_in("$ nft -a list chain ip nat DOCKER", text)
    expect(setup.ask(ask.page, A, 80), PAGE)


@case
def led_elsewhere_by_a_route(setup):
    """Not our rule is to blame but the route or the rule that takes the translated packet."""
    host = setup.edge.host
    for command, undo, what in (
        ("ip route add 10.200.0.17/32 via 203.0.113.126", "ip route del 10.200.0.17/32",
         "led away from edged0 by route 10.200.0.17/32 via 203.0.113.126 dev eth0 of table main"),
        ("ip route add blackhole 10.200.0.17/32", "ip route del blackhole 10.200.0.17/32",
         "led away from edged0 by route blackhole 10.200.0.17/32 of table main"),
        ("ip route add default via 203.0.113.126 table 100; "
         "ip rule add from 198.51.100.0/24 lookup 100 priority 50",
         "ip rule del priority 50; ip route flush table 100",
         "of table 100, by rule 50: from 198.51.100.0/24 lookup 100"),
    ):
        host.run(["sh", "-ec", command])
        text = traced(setup, f"{A}:80", lambda: setup.ask(ask.page, A, 80, 1.5), 1)
        host.run(["sh", "-ec", undo])
        expect_in(what, text)
        expect(setup.ask(ask.page, A, 80), PAGE)


@case
def dies_at_the_uplink(setup):
    """What the private network swallows: it went into the tunnel and nothing came back."""
    home = setup.world.home
    home.nft("table inet strict { chain f { type filter hook forward priority 5; "
             "tcp dport 8080 drop; }; }")
    text = traced(setup, f"{A}:80", lambda: setup.ask(ask.page, A, 80, 1.5), 1)
    home.run(["nft", "delete", "table", "inet", "strict"])
    expect_in("sent into the tunnel by edged0", text)
    expect_in(f"nothing came back from {uplink(setup)} within 3 s", text)
    expect_in("clusteragent status", text)


@case
def nothing_arrives(setup):
    """Silence is told as silence, with what the provider must let in."""
    # No client of the cases before tries this port again.
    trace = Trace(setup, f"{A}:444", "--seconds", "1")
    text = trace.end(1)
    expect_in("nothing arrived in ", text)
    expect_in("provider's firewall must let tcp 444 in", text)


@case
def elsewhere(setup):
    """An address that is not this host's is named."""
    trace = Trace(setup, "203.0.113.77:80", "--seconds", "1")
    expect_in("203.0.113.77 is not an address of this host", trace.end(1))


@case
def loopback(setup):
    """Nobody outside can ask 127.0.0.1: no word of a provider's firewall."""
    text = Trace(setup, "127.0.0.1:80", "--seconds", "1").end(1)
    expect_in("127.0.0.1 is for this host's own programs", text)
    expect_not_in("provider", text)


@case
def ipv6(setup):
    """An IPv6 target has its own form."""
    trace = Trace(setup, "[::1]:99", "--connections", "1", "--seconds", "5")
    with setup.edge.host.network():
        probe = socket.socket(socket.AF_INET6)
    with probe:
        expect(probe.connect_ex(("::1", 99)) != 0, True, "refused")
    text = trace.end(1)
    expect_in(" to ::1 tcp/99", text)
    expect_in("arrived on lo", text)
    expect_in("not translated", text)


@case
def wrong_targets(setup):
    """What is no target is said in one line."""
    for target in ("", "203.0.113.1", f"{A}:80/sctp", f"{A}:0", f"{A}:70000", "host:80"):
        done = setup.edge.cli("trace", target, check=False)
        expect(done.returncode, 1, target)
        expect(len(done.stderr.splitlines()), 1, f"{target}: {done.stderr}")


@case
def leaves_nothing_behind(setup):
    """Ctrl-C, SIGTERM and kill -9 end it, and its table is gone each time."""
    host = setup.edge.host
    for number, code in ((signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGKILL, -9)):
        trace = Trace(setup, f"{A}:80", "--seconds", "30")
        expect_in("table inet edged-trace", host.run(["nft", "list", "tables"]).stdout)
        trace.signal(number)
        trace.end(code)
    # One that nobody owns, as from a listing that was loaded.
    host.nft("table inet edged-trace { chain prerouting { type filter hook prerouting "
             "priority -350; meta nftrace set 1; }; }")
    setup.edge.process.kill()
    setup.edge.run()
    no_trace_left(setup)
    setup.agent.wait_edge_ready("a", seconds=20)


@case
def two_at_once(setup):
    """A second trace says that one runs, and does not disturb it."""
    first = Trace(setup, f"{A}:80", "--connections", "1", "--seconds", "10")
    second = setup.edge.cli("trace", f"{A}:82", check=False)
    expect(second.returncode, 1)
    expect_in("belongs to a trace that runs", second.stderr)
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)
    expect_in("1 answered", first.end(0))


@case
def many_packets_do_not_swamp_it(setup):
    """Under thousands of packets it tells a few connections, and ends by itself."""
    begin = time.monotonic()
    trace = Trace(setup, f"{A}:7000/udp", "--seconds", "20")
    with setup.world.client.network(), contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(200)]
        for number in range(4000):
            sockets[number % 200].sendto(b"x", (A, 7000))
    text = trace.end(None, 25)
    took = time.monotonic() - begin
    lines = len(text.splitlines())
    expect(lines < 100, True, f"{lines} lines")
    expect_in("5 connections in", text)
    expect(took < 15, True, f"took {took:.1f} s")
    print(f"    4000 packets: {lines} lines, {took:.1f} s")


@case
def no_uplink_alive(lab):
    """With no uplink the group's own rule refuses, and trace says so."""
    setup = build(lab)
    setup.agent.process.kill()
    home = setup.world.home
    for pid in home.pids_of("wireguard-go"):
        home.run(["kill", str(pid)])
    becomes(page(setup), "no: connection refused", 10)
    text = traced(setup, f"{A}:80", page(setup), 1)
    expect(bool(re.search(r"refused by `.*reject.*` \(handle \d+\) of table inet edged, chain group",
                          text)), True, text)
    expect_in("none of its uplinks is alive", text)
