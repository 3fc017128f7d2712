"""Somebody else changes or removes what is ours on the VPS."""

import os
import re
import statistics
import time
from pathlib import Path

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from lab import PYTHON, ROOT
from product import Setup, tcp, udp
from stream import Transfer
from world import A, BACKEND, HOME_LAN


def build(lab):
    setup = Setup(lab)
    world = setup.world
    world.serve(world.backend, "backend", "page:8080", "talk:8081", "bulk:8082", "echo:7000")
    setup.start()
    setup.agent.bind(
        "standard", tcp(80, f"{BACKEND}:8080"), tcp(81, f"{BACKEND}:8081"),
        tcp(82, f"{BACKEND}:8082"), udp(7000, f"{BACKEND}:7000"),
    )
    return setup


def survive(setup, disturb, what):
    """Both directions at once stay whole while `disturb` is done to the VPS."""
    client = setup.world.client
    transfers = [Transfer(client, A, 82, verb) for verb in ("pull", "push")]
    for transfer in transfers:
        transfer.flowing()
    disturb()
    for transfer, name in zip(transfers, ("download", "upload")):
        expect(transfer.result(), "whole", f"{name} through {what}")
        print(f"    {what}: {name} longest gap {transfer.longest_gap * 1000:.1f} ms", flush=True)


@case
def tcp_survives_a_conntrack_flush(setup):
    """D23: a download and an upload go on when the VPS forgets all connections."""
    survive(setup, lambda: setup.edge.host.run(["conntrack", "-F"]), "conntrack -F")


@case
def guard_stays_through_a_flush(setup):
    """Somebody's `nft flush ruleset` leaves the guard table, which nobody else may delete."""
    host = setup.edge.host
    host.run(["nft", "flush", "ruleset"])
    expect_in("table inet edged-guard", host.run(["nft", "list", "tables"]).stdout)
    refused = host.run(["nft", "delete", "table", "inet", "edged-guard"], check=False)
    expect_in("Operation not permitted", refused.stderr)


@case
def tcp_survives_a_flush(setup):
    """A download and an upload go on through somebody's `nft flush ruleset`."""
    survive(setup, lambda: setup.edge.host.run(["nft", "flush", "ruleset"]), "nft flush ruleset")


# ---- what others do to the edge is put right, and told ----

MANY = 3  # times that each change is made, for the medians


def milliseconds(took):
    """Of a Duration as JSON has it: "0.001234s"."""
    return float(took.rstrip("s")) * 1000


def handle_of(host, chain):
    """The handle of the chain's first rule."""
    listing = host.run(["nft", "-a", "list", "chain", "inet", "edged", chain]).stdout
    rules = [line for line in listing.splitlines() if "# handle" in line and "chain" not in line]
    return rules[0].rpartition(" ")[2]


def seen(host):
    """All that others can change and that the edge must put right."""
    table = host.run(["nft", "--stateless", "list", "table", "inet", "edged"], check=False).stdout
    commands = (
        "ip -o link show edged0 | sed 's/^[0-9]*: //; s/ qlen.*//'",
        "ip -o -4 address show dev edged0 | sed 's/^[0-9]*: //'",
        "ip route show", "ip rule",
        "cat /proc/sys/net/ipv4/conf/edged0/forwarding /proc/sys/net/ipv4/conf/edged0/rp_filter",
        "cat /proc/sys/net/ipv4/conf/eth0/forwarding",
        "wg show edged0 public-key; wg show edged0 listen-port",
        "wg show edged0 allowed-ips | sort",
    )
    return table + host.run(["sh", "-c", "; ".join(commands)]).stdout


def changed_and_repaired(setup, events, command, part, what, by=None, seconds=5):
    """`command`, typed on the VPS, is one drift of this part that begins with these words; its
    Drift, when all is as before."""
    host = setup.edge.host
    before = seen(host)
    events.take()
    host.run(["sh", "-ec", command])
    event = events.next(seconds)
    drift = event.get("drift", {})
    expect(drift.get("part"), f"DRIFT_PART_{part}", command)
    expect_in(what, drift["what"], command)
    expect(drift.get("error", ""), "", command)
    expect(bool(drift["repair"]), True, f"{command}: a repair in {drift}")
    if by is not None:
        expect(drift["by"].get("process", ""), by, f"{command}: by")
        expect(drift["by"].get("pid", 0) > 0, True, f"{command}: pid")
    eventually(lambda: expect(seen(host), before, f"after {command}"), seconds)
    return drift


def median_told(name, values):
    print(f"    {name}: median {statistics.median(values):.2f} ms, most {max(values):.2f} ms, "
          f"of {len(values)}", flush=True)


def all_repaired(setup, name, changes, part, by=None):
    took = []
    with setup.edge.watch_events() as events:
        for command, what in changes * MANY:
            text = command(setup) if callable(command) else command
            drift = changed_and_repaired(setup, events, text, part, what, by)
            took.append(milliseconds(drift["took"]))
            time.sleep(0.05)  # below the pace of a flood
    median_told(name, took)
    shown = setup.edge.cli("status").stdout
    expect_in("CHANGED BY OTHERS", shown)
    expect_in(what, shown)  # the last one
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


def element(setup, port):
    """How the big map has this port: KEY : VALUE."""
    listing = setup.edge.host.run(["nft", "list", "map", "inet", "edged", "ports4"]).stdout
    found = re.search(rf"({re.escape(A)} \. tcp \. {port})[^:]*: (0x[0-9a-f]+)", listing)
    return found[1], found[2]


def change_data(setup):
    key, value = element(setup, 80)
    other = f"{int(value, 16) + 0x10000:#x}"
    return (f"nft 'delete element inet edged ports4 {{ {key} }}; "
            f"add element inet edged ports4 {{ {key} : {other} }}'")


TABLE_CHANGES = (
    ("nft delete table inet edged", "table deleted"),
    ("nft flush ruleset", "table deleted"),
    ("nft flush table inet edged", "rules of "),
    (lambda s: f"nft delete element inet edged ports4 '{{ {element(s, 80)[0]} }}'",
     "1 element of ports4 deleted"),
    ("nft flush map inet edged ports4", "elements of ports4 deleted"),
    (lambda s: f"nft add element inet edged ports4 '{{ {A} . tcp . 99 : {element(s, 80)[1]} }}'",
     "1 element of ports4 added"),
    (change_data, "1 element of ports4 deleted"),
    (lambda s: f"nft delete rule inet edged forward handle {handle_of(s.edge.host, 'forward')}",
     "1 rule of forward deleted"),
    ("nft insert rule inet edged forward drop", "1 rule of forward added"),
    ("nft flush chain inet edged input", "of input deleted"),
    ("nft add chain inet edged stranger '{ type filter hook input priority 5; policy drop; }'",
     "chain stranger added"),
    ("nft 'add chain inet edged odd; add rule inet edged odd drop'", "chain odd added"),
    ("nft add set inet edged others '{ type ipv4_addr; }'", "set others added"),
    ("nft chain inet edged input '{ policy drop; }'", "chain input added"),
    ("nft add table inet edged '{ flags dormant; }'", "table added"),
    ("nft add element inet edged reserved '{ tcp . 443 }'", "1 element of reserved added"),
)


@case
def table_is_repaired(setup):
    """Whatever somebody does to our table is undone at once, and told with who did it."""
    all_repaired(setup, "nf_tables", TABLE_CHANGES, "TABLE", "nft")


NETWORK_CHANGES = (
    ("ip link set edged0 down", "link edged0"),
    ("ip link set edged0 mtu 1300", "link edged0"),
    ("ip address del 10.200.0.1/32 dev edged0", "removed: address 10.200.0.1/32"),
    # It looks whether it is done, and fails where the repair was faster.
    ("ip address flush dev edged0 || true", "removed: address 10.200.0.1/32"),
    ("ip address add 10.200.0.9/32 dev edged0", "address 10.200.0.9/32"),
    ("ip route del 10.200.0.16/28", "removed: route 10.200.0.16/28"),
    ("ip route replace 10.200.0.16/28 dev lo", "route 10.200.0.16/28"),
    ("ip route replace blackhole 10.200.0.16/28", "blackhole route 10.200.0.16/28"),
    ("ip route replace unreachable 10.200.0.16/28", "unreachable route 10.200.0.16/28"),
    ("ip route flush dev edged0", "removed: route 10.200.0."),
    ("ip route add 10.9.9.0/24 dev edged0 protocol 237", "route 10.9.9.0/24"),
    ("echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding", "settings of link"),
    ("echo 0 > /proc/sys/net/ipv4/conf/edged0/forwarding", "settings of link"),
    ("echo 1 > /proc/sys/net/ipv4/conf/edged0/rp_filter", "settings of link"),
)


@case
def network_is_repaired(setup):
    """Links, addresses, routes and settings of devices that somebody changes are as before."""
    all_repaired(setup, "links, addresses, routes", NETWORK_CHANGES, "NETWORK")


def peer_key(setup):
    lines = setup.edge.host.run(["wg", "show", "edged0", "allowed-ips"]).stdout.splitlines()
    return next(line.split()[0] for line in lines if "10.200.0.16/28" in line)


STRANGE_KEY = "c3RyYW5nZXJzdHJhbmdlcnN0cmFuZ2Vyc3RyYW5nZXI="
PEER_CHANGES = (
    (lambda s: f"wg set edged0 peer {peer_key(s)} remove", "peers or settings"),
    (lambda s: f"wg set edged0 peer {peer_key(s)} allowed-ips 10.99.0.0/24", "peers or settings"),
    (lambda s: f"wg set edged0 peer {peer_key(s)} allowed-ips ''", "peers or settings"),
    (f"wg set edged0 peer {STRANGE_KEY} allowed-ips 10.200.0.16/28", "peers or settings"),
    ("wg set edged0 listen-port 51999", "peers or settings"),
    ("wg genkey | wg set edged0 private-key /dev/stdin", "peers or settings"),
)


@case
def peers_are_repaired(setup):
    """Peers, port and key of the tunnel that somebody changes are as before within a second."""
    took = []
    with setup.edge.watch_events() as events:
        for command, what in PEER_CHANGES:
            text = command(setup) if callable(command) else command
            begin = time.monotonic()
            changed_and_repaired(setup, events, text, "TUNNEL", what)
            took.append((time.monotonic() - begin) * 1000)
            becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    median_told("peers, from the change to the repair", took)


@case
def forwarding_of_the_host_is_followed(setup):
    """Who switches ip_forward on and off again switches it off for our devices: they have it
    back, and what may not be forwarded is guarded as before."""
    host = setup.edge.host
    before = seen(host)
    with setup.edge.watch_events() as events:
        host.sysctl({"ip_forward": 1})
        told = events.next()["drift"]["repair"]
    expect_in('delete element inet edged switched { "eth0" }', told)  # no guard is needed now
    host.sysctl({"ip_forward": 0})
    becomes(lambda: seen(host), before, what="after ip_forward 0")
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


@case
def device_is_made_again(setup):
    """A tunnel device that somebody deletes is back, with its peers and their endpoints."""
    host = setup.edge.host
    before = seen(host)
    with setup.edge.watch_events() as events:
        begin = time.monotonic()
        host.run(["ip", "link", "del", "edged0"])
        becomes(lambda: seen(host), before, 10, "after ip link del edged0")
        becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
        print(f"    a page again after {(time.monotonic() - begin) * 1000:.0f} ms")
        expect_in("link edged0", events.next()["drift"]["what"])


def processor_seconds(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


STRANGER = ROOT / "tests/tools/stranger.py"
FLOOD_SECONDS, MOST_CHANGES = 4, 100_000


@case
def flood_starves_nobody(setup):
    """Thousands of foreign changes: one event says so, repairs have a pace, all else goes on."""
    host, process = setup.edge.host, setup.edge.process
    before = seen(host)
    with setup.edge.watch_events() as events:
        used = processor_seconds(process.pid)
        begin = time.monotonic()
        slowest = 0
        bound = False
        stranger = host.start([PYTHON, STRANGER, "edged", MOST_CHANGES], "stranger")
        # It goes on until all of this was seen beside it: the warning ends soon after the flood.
        while not bound or time.monotonic() < begin + FLOOD_SECONDS:
            asked = time.monotonic()
            status = setup.edge.status()
            slowest = max(slowest, time.monotonic() - asked)
            expect([one.get("alive", False) for one in status["uplinks"]], [True], "alive")
            expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
            if not bound and "faster than it is repaired" in str(status.get("warnings")):
                setup.agent.bind("late", tcp(83, f"{BACKEND}:8080"))
                bound = True
            expect(stranger.running(), True, "the stranger goes on")
        stranger.kill()
        lasted = time.monotonic() - begin
        used = processor_seconds(process.pid) - used
        setup.agent.remove("late")
        becomes(lambda: seen(host), before, 10, "after the flood")
        told = []

        def is_over():
            told.extend(events.take())
            floods = [event["flood"] for event in told if "flood" in event]
            expect([flood.get("over", False) for flood in floods], [False, True], "flood")
            return floods[1]

        over = eventually(is_over, 15)
    expect_in("python3", over["by"]["process"])
    drifts = sum("drift" in event for event in told)
    expect(drifts < 200, True, f"{drifts} repairs told one by one")
    expect("warnings" in setup.edge.status(), False, "a warning when it is over")
    print(f"    changes for {lasted:.1f} s: {over['changes']} seen, "
          f"{over['repairs']} repairs in the flood, {drifts} told before; edged used "
          f"{used / lasted:.0%} of a processor; `edged status` took {slowest * 1000:.0f} ms at most")


@case
def others_changes_beside_us_cost_nothing(setup):
    """Routes, links and tables of others make the edge write and tell nothing."""
    host, process = setup.edge.host, setup.edge.process
    host.run(["sh", "-ec", "ip link add other0 type veth; ip link set other0 up; "
              "ip address add 172.31.0.1/16 dev other0"])
    routes = "".join(f"route add 10.77.{i % 250}.{i // 250}/32 dev other0\n" for i in range(2000))
    with setup.edge.watch_events() as events:
        used = processor_seconds(process.pid)
        said = len(process.output())
        begin = time.monotonic()
        host.ip(routes)
        host.ip(routes.replace("add", "del"))
        host.run(["nft", "add table ip beside; delete table ip beside"])
        lasted = time.monotonic() - begin
        time.sleep(0.5)
        expect(events.take(), [], "events")
        expect(process.output()[said:], "", "edged's log")
    used = processor_seconds(process.pid) - used
    print(f"    {len(routes.splitlines()) * 2} strange route changes in {lasted:.2f} s cost edged "
          f"{used * 1000:.0f} ms of a processor")
    host.run(["ip", "link", "del", "other0"])
