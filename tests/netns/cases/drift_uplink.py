"""Somebody else changes or removes what is ours in the private network."""

import re
import statistics
import time

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from lab import PYTHON, ROOT
from product import Setup, tcp, udp
from world import A, BACKEND, HOME_LAN

PAGE = f"backend:8080 saw {HOME_LAN}"
MANY = 3


def build(lab):
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080", "echo:7000")
    setup.start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"))
    settled(setup)
    return setup


def device(setup):
    links = setup.world.home.run(["ip", "-o", "link"]).stdout
    return next(word.rstrip(":") for word in links.split() if word.startswith("eu-"))


def settled(setup):
    """Waits until the token's key is replaced: until then there are two peers."""

    def one_peer():
        shown = setup.world.home.run(["wg", "show", device(setup), "peers"]).stdout
        expect(len(shown.split()), 1, "peers")
        expect(setup.edge.status()["tunnel"].get("nextPublicKey", ""), "", "next key")

    eventually(one_peer, 10)


def seen(setup):
    """All that others can change and that the agent must put right."""
    name = device(setup)
    commands = (
        "nft --stateless list table inet clusteragent | sort",  # sets come in any order
        f"ip -o link show {name} | sed 's/^[0-9]*: //; s/ qlen.*//'",
        f"ip -o -4 address show dev {name} | sed 's/^[0-9]*: //'",
        "ip rule", f"ip -4 route show table all dev {name} | sort",
        f"cat /proc/sys/net/ipv4/conf/{name}/forwarding /proc/sys/net/ipv4/conf/{name}/rp_filter",
        "cat /proc/sys/net/ipv4/conf/lan/forwarding",
        f"wg show {name} allowed-ips; wg show {name} public-key; wg show {name} endpoints",
    )
    return setup.world.home.run(["sh", "-c", "; ".join(commands)]).stdout


class Log:
    """The agent's lines about drift since this was made."""

    def __init__(self, setup):
        self._process = setup.agent.process
        self._begin = len(self._process.output())

    def lines(self):
        text = self._process.output()[self._begin:]
        return [line for line in text.splitlines() if "drift:" in line]


def changed_and_repaired(setup, command, words):
    """`command`, typed at home, is told in a line with these words; how long it took, in ms."""
    before = seen(setup)
    log = Log(setup)
    setup.world.home.run(["sh", "-ec", command])
    eventually(lambda: expect(bool(log.lines()), True, f"a line about: {command}"), pause=0.003)
    eventually(lambda: expect(seen(setup), before, f"after {command}"))
    told = log.lines()[0]
    expect_in(words, told, command)
    time.sleep(0.05)  # below the pace of a flood
    return float(re.search(r"repaired in ([0-9.]+) ms", told)[1])


def all_repaired(setup, name, changes, times=MANY):
    took = []
    for command, words in changes * times:
        text = command.replace("DEVICE", device(setup))
        took.append(changed_and_repaired(setup, text, words))
    print(f"    {name}: median {statistics.median(took):.2f} ms, most {max(took):.2f} ms, "
          f"of {len(took)}", flush=True)
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)


TABLE = "inet clusteragent"
BY_NFT = ", by nft (pid "


@case
def table_is_repaired(setup):
    """Whatever somebody does to the uplink's table is undone at once, and told with who did it."""
    all_repaired(setup, "nf_tables", (
        (f"nft delete table {TABLE}", "nf_tables: table deleted" + BY_NFT),
        ("nft flush ruleset", "nf_tables: table deleted" + BY_NFT),
        (f"nft flush map {TABLE} targets4", "of targets4 deleted" + BY_NFT),
        (f"nft flush chain {TABLE} forward", "rules of forward deleted" + BY_NFT),
        (f"nft insert rule {TABLE} forward drop", "1 rule of forward added" + BY_NFT),
        (f"nft add chain {TABLE} odd '{{ type filter hook input priority 5; policy drop; }}'",
         "chain odd added" + BY_NFT),
        (f"nft delete element {TABLE} tunnels '{{ \"DEVICE\" }}'", "1 element of tunnels deleted"),
        (f"nft add table {TABLE} '{{ flags dormant; }}'", "table added" + BY_NFT),
    ))


@case
def network_is_repaired(setup):
    """Link, addresses, routes, rules and settings that somebody changes are as before."""
    all_repaired(setup, "links, addresses, routes, rules", (
        ("ip link set DEVICE down", "network: link eu-"),
        ("ip link set DEVICE mtu 1300", "network: link eu-"),
        # It looks whether it is done, and fails where the repair was faster.
        ("ip address flush dev DEVICE || true", "removed: address 10.200.0.16/32"),
        ("ip address add 10.200.0.99/32 dev DEVICE", "address 10.200.0.99/32"),
        ("ip route flush table 60673", "removed: route 0.0.0.0/0 table 60673"),
        ("ip route replace blackhole default table 60673", "blackhole route 0.0.0.0/0 table 60673"),
        ("ip route replace unreachable 10.200.0.1/32", "unreachable route 10.200.0.1/32"),
        ("ip route del 10.200.0.1/32", "removed: route 10.200.0.1/32"),
        ("ip rule del priority 100", "removed: rule 100"),
        ("ip rule add fwmark 9 table 9 protocol 237", "rule "),
        ("echo 0 > /proc/sys/net/ipv4/conf/DEVICE/forwarding", "settings of link"),
        ("echo 1 > /proc/sys/net/ipv4/conf/DEVICE/rp_filter", "settings of link"),
    ))


@case
def target_without_a_route_is_told(setup):
    """Somebody's blackhole over a target is told within a moment; it is not ours to remove."""
    process = setup.agent.process
    for kind in ("blackhole", "unreachable"):
        for command, words in ((f"add {kind}", f"target {BACKEND} is not reached"),
                               (f"del {kind}", "this host has a route to each target again")):
            said = len(process.output())
            begin = time.monotonic()
            setup.world.home.run(["ip", "route", *command.split(), f"{BACKEND}/32"])
            eventually(lambda: expect_in(words, process.output()[said:]), 2, pause=0.003)
            print(f"    {command}: told after {(time.monotonic() - begin) * 1000:.0f} ms")
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)


@case
def network_that_this_host_routes_is_told(setup):
    """An address of the edge's network on another device is a condition, and its end ends it; a
    VPN's default route in parts overlaps nothing."""
    home = setup.world.home
    ready = lambda: setup.agent.edge_condition("a")  # noqa: E731
    home.ip("address add 10.200.0.77/24 dev lan")
    eventually(lambda: expect(ready()[:2], ("False", "NetworkOverlap")))
    expect_in("10.200.0.0/24, which this host routes", ready()[2])
    home.ip("address del 10.200.0.77/24 dev lan")
    eventually(lambda: expect(ready()[0], "True"))
    way = home.run(["ip", "route", "show", "default"]).stdout.split("\n")[0].replace("default ", "")
    parts = [f"route add {part} {way}\n" for part in ("0.0.0.0/1", "128.0.0.0/1")]
    home.ip("".join(parts))
    setup.agent.bind("late", tcp(83, f"{BACKEND}:8080"))  # by a plan that knows them
    expect(ready()[0], "True", "beside a VPN's default route")
    home.ip("".join(parts).replace("add", "del"))
    setup.agent.remove("late")
    becomes(lambda: "10.200.0.17 . tcp . 83" in seen(setup), False)


@case
def way_to_the_target_is_repaired(setup):
    """A link to a target that no longer forwards does so again within a second."""
    begin = time.monotonic()
    changed_and_repaired(
        setup, "echo 0 > /proc/sys/net/ipv4/conf/lan/forwarding", "something is not as it was left")
    print(f"    after {(time.monotonic() - begin) * 1000:.0f} ms")
    expect(setup.ask(ask.page, A, 80), PAGE)


@case
def peers_are_repaired(setup):
    """The edge as a peer, and the device's key, are as before within a second."""
    peer = setup.world.home.run(["wg", "show", device(setup), "peers"]).stdout.strip()
    strange = "c3RyYW5nZXJzdHJhbmdlcnN0cmFuZ2Vyc3RyYW5nZXI="
    took = []
    for command in (
        f"wg set DEVICE peer {peer} remove",
        f"wg set DEVICE peer {peer} allowed-ips 10.99.0.0/24",
        f"wg set DEVICE peer {strange} allowed-ips 0.0.0.0/0",
        "wg genkey | wg set DEVICE private-key /dev/stdin",
    ):
        begin = time.monotonic()
        changed_and_repaired(
            setup, command.replace("DEVICE", device(setup)), "left, by somebody")
        took.append((time.monotonic() - begin) * 1000)
        becomes(lambda: setup.ask(ask.page, A, 80), PAGE)
    print(f"    peers, from the change to the repair: median {statistics.median(took):.0f} ms, "
          f"most {max(took):.0f} ms, of {len(took)}")


@case
def device_is_made_again(setup):
    """A tunnel device that somebody deletes is back, and the edge reached by it."""
    before = seen(setup)
    log = Log(setup)
    begin = time.monotonic()
    setup.world.home.run(["ip", "link", "del", device(setup)])

    def again():
        links = setup.world.home.run(["ip", "-o", "link"]).stdout
        expect_in("eu-", links)
        expect(seen(setup), before, "after ip link del")

    eventually(again, 10)
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE, 10)
    print(f"    a page again after {(time.monotonic() - begin) * 1000:.0f} ms")
    expect_in("link eu-", "\n".join(log.lines()))


STRANGER = ROOT / "tests/tools/stranger.py"
FLOOD_SECONDS, MOST_CHANGES = 4, 100_000


@case
def flood_starves_nobody(setup):
    """Thousands of foreign changes: one line says so, heartbeats and changes of objects go on."""
    home = setup.world.home
    before = seen(setup)
    log = Log(setup)
    begin = time.monotonic()
    bound = False
    stranger = home.start([PYTHON, STRANGER, "clusteragent", MOST_CHANGES], "stranger")
    while not bound or time.monotonic() < begin + FLOOD_SECONDS:
        expect([one.get("alive", False) for one in setup.edge.status()["uplinks"]], [True], "alive")
        expect(setup.ask(ask.page, A, 80), PAGE)
        if not bound and "faster than it is repaired" in "\n".join(log.lines()):
            setup.agent.bind("late", tcp(83, f"{BACKEND}:8080"))
            bound = True
        expect(stranger.running(), True, "the stranger goes on")
    stranger.kill()
    setup.agent.remove("late")
    eventually(lambda: expect_in("the flood is over", "\n".join(log.lines())), 15)
    expect(seen(setup), before, "after the flood")
    begun = [line for line in log.lines() if "faster than it is repaired" in line]
    expect(len(begun), 1, "lines that say so")
    expect(len(log.lines()) < 200, True, f"{len(log.lines())} lines")
    print(f"    changes for {FLOOD_SECONDS} s, {len(log.lines())} lines")


@case
def others_changes_are_not_drift(setup):
    """Routes and links of others are looked at now and then, and nothing is written or told."""
    home = setup.world.home
    said = len(setup.agent.process.output())
    before = seen(setup)
    home.run(["sh", "-ec", "ip link add other0 type veth; ip link set other0 up; "
              "ip address add 172.31.0.1/16 dev other0"])
    routes = "".join(f"route add 10.77.{i % 250}.{i // 250}/32 dev other0\n" for i in range(500))
    home.ip(routes)
    home.ip(routes.replace("add", "del"))
    home.run(["ip", "link", "del", "other0"])
    time.sleep(0.5)
    expect(setup.agent.process.output()[said:], "", "the agent's log")
    expect(seen(setup), before)


@case
def no_other_user_dials_the_edge(setup):
    """A user of the uplink's host who is not the agent reaches neither API nor heartbeats."""
    home = setup.world.home
    edge = "10.200.0.1"
    probe = (
        "import socket\n"
        f"s = socket.create_connection(('{edge}', 7443), 3)\nprint('tcp connected')\n"
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3"]
    bound = (
        f"import socket\ns = socket.socket(); s.setsockopt(1, 25, b'{device(setup)}')\n"
        f"s.settimeout(3); s.connect(('{edge}', 7443)); print('tcp connected')\n"
    )
    datagram = (
        f"import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.connect(('{edge}', 7443))\n"
        "s.send(b'heartbeat'); print('sent')\n"
    )
    for code in (probe, bound, datagram):
        refused = home.run([*nobody, "-c", code], check=False)
        # By the firewall at once, or by its ICMP error a moment later.
        expect(bool(re.search("PermissionError|ConnectionRefusedError", refused.stderr)), True, code)
    expect_in("tcp connected", home.run(["/usr/bin/python3", "-c", probe]).stdout)
