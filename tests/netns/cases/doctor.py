"""`edged doctor`: each check finds its fault, names the line that mends it, and is quiet without."""

import json
import os
import re
import time

import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from lab import PYTHON, ROOT, unshare
from product import EDGED, NETWORKS, Setup, edge_node, tcp, udp
from world import A, A2, BACKEND, HOME_LAN

PAGE = f"backend:8080 saw {HOME_LAN}"


def build(lab):
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080", "echo:7000")
    setup.start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"))
    return setup


def report(setup, *before):
    """All findings; `before`: shell commands in a mount namespace of doctor's own."""
    script = "; ".join([*before, f"exec {EDGED} doctor -o json"])
    done = setup.edge.host.run([*unshare(), "sh", "-ec", script], check=False)
    findings = json.loads(done.stdout)
    worst = {"ok": 0, "note": 0, "warning": 1, "error": 2}[findings["worst"]]
    expect(done.returncode, worst, "exit code")
    return findings["findings"]


def of(check, findings):
    return [one for one in findings if one["check"] == check]


def finds(setup, check, severity, what, *before):
    """Waits until the check has a finding like this; it."""

    def look():
        found = of(check, report(setup, *before))
        for one in found:
            if one["severity"] == severity and what in one["what"]:
                return one
        raise AssertionError(f"no {severity} of {check} with {what!r}: {found}")

    return eventually(look, 8)


def quiet(setup, check, *before):
    """Waits until all is well for the check."""

    def look():
        found = of(check, report(setup, *before))
        expect([one["severity"] for one in found], ["ok"], f"{check}: {found}")

    eventually(look, 8)


def mend(setup, finding):
    """Types the lines that the finding names."""
    for line in finding["mend"]:
        line = re.sub(r"^sysctl -w ([^=]+)=(\S+)$", _write_sysctl, line)
        setup.edge.host.run(["sh", "-ec", line])


def _write_sysctl(found):  # procps is not everywhere
    return f"echo {found[2]} > /proc/sys/{found[1].replace('.', '/')}"


@case
def healthy(setup):
    """On a host where all is well every check has one line, and none is a warning."""

    def look():
        findings = report(setup)
        wrong = [one for one in findings if one["severity"] not in ("ok", "note")
                 and one["check"] not in ("clock", "conntrack")]  # this machine's own
        expect(wrong, [], "findings")
        return findings

    checks = {one["check"] for one in eventually(look)}
    expect(sorted(checks), sorted((
        "access", "kernel", "clock", "edge", "uplinks", "forwarding", "rp_filter", "routes", "mtu",
        "conntrack", "firewall", "nftables.conf", "addresses", "listeners", "provider")))
    shown = setup.edge.cli("doctor", check=False).stdout
    expect_in("ok       firewall", shown)
    expect_in("0 errors", shown)


@case
def provider(setup):
    """What the provider's firewall must let in: the tunnel, and each mapped port."""
    note = finds(setup, "provider", "note", "the provider's firewall must let in")
    expect_in("udp 51820 (the tunnel), tcp 80; udp 7000", note["what"])
    expect_in("edged trace", note["means"])


@case
def settings_that_somebody_changes_without_edged(setup):
    """Without edged nobody repairs: forwarding, rp_filter and MTU are found, and mended by hand."""
    expect(setup.edge.process.stop(), 0, "exit code")
    try:
        found = finds(setup, "edge", "error", "edged is not running")
        expect_in("systemctl start edged", " ".join(found["mend"]))
        for check, command, what in (
            ("forwarding", "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding",
             "eth0 does not forward IPv4"),
            ("forwarding", "echo 0 > /proc/sys/net/ipv4/conf/edged0/forwarding",
             "edged0 does not forward IPv4"),
            ("rp_filter", "echo 1 > /proc/sys/net/ipv4/conf/edged0/rp_filter",
             "rp_filter is strict on edged0"),
            ("mtu", "ip link set edged0 mtu 1500", "edged0 has MTU 1500, eth0 below it 1500"),
        ):
            quiet(setup, check)
            setup.edge.host.run(["sh", "-ec", command])
            mend(setup, finds(setup, check, "error", what))
            quiet(setup, check)
    finally:
        setup.edge.run()
    quiet(setup, "edge")
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)


@case
def connection_table(setup):
    """A small table for the memory, a full one, and nf_conntrack_tcp_loose."""
    where = "/proc/sys/net/netfilter/nf_conntrack"
    folder = "/var/lib/edged"

    def pretend(**values):
        return [f"echo {value} > {folder}/{name}.fake && mount --bind {folder}/{name}.fake "
                f"{where}_{name}" for name, value in values.items()]

    big, small, full = (pretend(max=1 << 20, count=5), pretend(max=2048, count=5),
                        pretend(max=1 << 20, count=1_000_000))
    quiet(setup, "conntrack", *big)
    found = finds(setup, "conntrack", "warning", "room for 2048 connections", *small)
    expect(found["mend"], ["edged prepare"])
    found = finds(setup, "conntrack", "error", "1000000 of 1048576 connections (95 %)", *full)
    expect_in("sysctl -w net.netfilter.nf_conntrack_max=2097152", found["mend"][0])
    setup.edge.host.run(["sh", "-c", f"echo 0 > {where}_tcp_loose; rm {folder}/*.fake"])
    found = finds(setup, "conntrack", "warning", "nf_conntrack_tcp_loose is 0", *big)
    mend_prepare = setup.edge.cli("prepare", check=False)
    expect_in("nf_conntrack_tcp_loose", mend_prepare.stdout)
    quiet(setup, "conntrack", *big)
    setup.edge.host.run(["sh", "-c", f"rm {folder}/*.fake"])


@case
def clock(setup):
    """A clock that was set back: the edge joined in the future."""
    path = setup.edge.host.folder / "var/lib/edged/join.yaml"
    expect([one for one in of("clock", report(setup)) if one["severity"] == "warning"], [])
    then = path.stat()
    later = time.time() + 7200
    os.utime(path, (later, later))
    found = finds(setup, "clock", "warning", "the clock was set back")
    expect_in("timedatectl set-ntp true", found["mend"])
    os.utime(path, (then.st_atime, then.st_mtime))
    eventually(lambda: expect_not_in("set back", str(of("clock", report(setup)))))


@case
def handshakes(setup):
    """An uplink whose agent is gone is named, and an edge without any."""
    name = setup.edge.status()["uplinks"][0]["name"]
    quiet(setup, "uplinks")
    setup.agent.process.kill()
    found = finds(setup, "uplinks", "warning", f"uplink {name}: its tunnel is up, but the last")
    expect_in("udp 7443", found["means"])
    found = finds(setup, "uplinks", "error", "no uplink is alive")
    expect_in("refused", found["means"])
    setup.agent.run()
    quiet(setup, "uplinks")
    setup.agent.wait_ready("web", seconds=10)


@case
def never_joined(lab):
    """Before `edged join` that is the finding, and a token's edge waits for its agent."""
    setup = Setup(lab)
    setup.edge.run()
    found = finds(setup, "edge", "warning", "this edge is not enrolled")
    expect(found["mend"], ["edged join TOKEN"])
    setup.agent.write("edge-a", edge_node("a", A, (A,)))
    setup.edge.join(setup.agent.token("a").stdout)
    found = finds(setup, "edge", "warning", "no agent has called")
    expect_in("must let udp 51820 in", found["means"])


# ---- rules of others ----

UFW = """
table ip filter {
  chain ufw-user-input { tcp dport 22 accept; }
  chain ufw-before-input { iifname "lo" accept; ct state established,related accept; }
  chain INPUT {
    type filter hook input priority filter; policy drop;
    jump ufw-before-input
    jump ufw-user-input
  }
  chain ufw-user-forward { }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    jump ufw-user-forward
  }
}
"""
# What the two lines that doctor names make ufw do.
UFW_MENDED = """
add rule ip filter ufw-user-input udp dport 51820 accept
add rule ip filter ufw-user-input iifname "edged0" accept
add rule ip filter ufw-user-forward oifname "edged0" accept
add rule ip filter ufw-user-forward iifname "edged0" accept
"""
FIREWALLD = """
table inet firewalld {
  chain filter_IN_public { tcp dport 22 accept; }
  chain filter_INPUT {
    type filter hook input priority 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    jump filter_IN_public
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct state { established, related } accept
    reject with icmpx admin-prohibited
  }
}
"""
DOCKER = """
table ip filter {
  chain DOCKER-USER { }
  chain DOCKER { }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    jump DOCKER-USER
    oifname "docker0" ct state established,related accept
    iifname "docker0" accept
  }
}
"""
PLAIN = """
table inet strict {
  chain in {
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    tcp dport 22 accept
  }
  chain through {
    type filter hook forward priority filter; policy drop;
  }
  chain early {
    type filter hook prerouting priority raw;
    iifname "eth0" tcp dport != 22 drop
  }
}
"""


def without(setup, *tables):
    for table in tables:
        setup.edge.host.run(["nft", "delete", "table", *table.split()])
    quiet(setup, "firewall")


def firewall(setup):
    """What is wrong, one line each."""
    return [one for one in of("firewall", report(setup)) if one["severity"] in ("warning", "error")]


@case
def ufw(setup):
    """ufw is named by its chains, with the lines of ufw itself."""
    quiet(setup, "firewall")
    setup.edge.host.nft(UFW)
    found = finds(setup, "firewall", "error", "table ip filter (ufw), chain FORWARD: its policy drops")
    expect_in("tcp 80; udp 7000", found["what"])
    lines = [line for one in firewall(setup) for line in one["mend"]]
    for line in ("ufw allow 51820/udp", "ufw route allow out on edged0",
                 "ufw allow in on edged0 to any port 7443"):
        expect_in(line, lines)
    expect(setup.ask(ask.page, A, 80, 1), "no: timed out")
    setup.edge.host.nft(UFW_MENDED)
    quiet(setup, "firewall")
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)
    without(setup, "ip filter")


@case
def firewalld(setup):
    """So is firewalld, by firewall-cmd; it refuses instead of dropping."""
    setup.edge.host.nft(FIREWALLD)
    found = finds(setup, "firewall", "error", "(firewalld), chain filter_FORWARD")
    expect_in("refuses", found["what"])
    lines = [line for one in firewall(setup) for line in one["mend"]]
    expect_in("firewall-cmd --permanent --add-port=51820/udp", lines)
    expect_in("firewall-cmd --permanent --zone=trusted --add-interface=edged0", lines)
    without(setup, "inet firewalld")


@case
def docker(setup):
    """docker's FORWARD policy is found, and the line for DOCKER-USER opens the way."""
    setup.edge.host.nft(DOCKER)
    expect(setup.ask(ask.page, A, 80, 1), "no: timed out")
    found = finds(setup, "firewall", "error", "table ip filter (docker), chain FORWARD: its policy")
    expect_in("nft insert rule ip filter DOCKER-USER", found["mend"][0])
    for one in firewall(setup):
        mend(setup, one)
    quiet(setup, "firewall")
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)
    without(setup, "ip filter")


@case
def anybody(setup):
    """Of any other table each rule that drops is named; the lines, typed, open every way."""
    setup.edge.host.nft(PLAIN)
    expect(setup.ask(ask.page, A, 80, 1), "no: timed out")
    found = finds(setup, "firewall", "error", "table inet strict, chain early: `")
    expect_in("(handle ", found["what"])
    # An uplink that is alive lives by its established flow: a warning.
    finds(setup, "firewall", "error", "table inet strict, chain through: its policy drops")
    for one in firewall(setup):
        mend(setup, one)
    quiet(setup, "firewall")
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE, 10)
    becomes(lambda: setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")
    without(setup, "inet strict")


@case
def others_that_let_us_pass(setup):
    """Rules that let our traffic pass are no finding, whatever else they drop."""
    setup.edge.host.nft("""
table inet strict {
  chain in {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname { "lo", "edged0" } accept
    udp dport 51820 accept
    tcp dport 22 accept
  }
  chain through {
    type filter hook forward priority filter; policy drop;
    iifname "edged0" accept
    oifname "edged0" accept
    tcp dport 25 drop
  }
}
""")
    quiet(setup, "firewall")
    expect(setup.ask(ask.page, A, 80), PAGE)
    without(setup, "inet strict")


# What docker writes, with a priority that comes before edged's.
DOCKER_NAT = """
table ip nat {
  chain DOCKER {
    iifname != "docker0" tcp dport 80 counter dnat to 10.66.0.2:8080
    iifname != "docker0" tcp dport 81 counter dnat to 10.66.0.2:8081
  }
  chain PREROUTING {
    type nat hook prerouting priority PRIORITY; policy accept;
    fib daddr type local counter jump DOCKER
  }
}
"""


@case
def who_translates_before_us(setup):
    """A foreign DNAT that comes before ours is named; at docker's own priority it is harmless."""
    host = setup.edge.host
    host.nft(DOCKER_NAT.replace("PRIORITY", "dstnat"))
    quiet(setup, "firewall")
    expect(setup.ask(ask.page, A, 80), PAGE)
    host.run(["nft", "delete", "table", "ip", "nat"])
    host.nft(DOCKER_NAT.replace("PRIORITY", "-150"))
    expect(setup.ask(ask.page, A, 80, 1), "no: timed out")
    found = finds(setup, "firewall", "error", "table ip nat (docker), chain DOCKER: `")
    expect_in("tcp dport 80", found["what"])
    expect(bool(re.search(r"\(handle \d+\) takes connections to mapped ports \(tcp 80\)$",
                          found["what"])), True, found["what"])
    expect_in("priority -150, edged's is -110", found["means"])
    expect_in("Docker makes it again", found["means"])
    mend(setup, found)
    quiet(setup, "firewall")
    becomes(lambda: setup.ask(ask.page, A, 80), PAGE)
    without(setup, "ip nat")


# ---- routes and rules of others ----


@case
def ways_away_from_the_tunnel(setup):
    """Foreign routes and rules that take uplinks' packets are named with the line that helps."""
    host = setup.edge.host
    mapping = "10.200.0.17/32"
    for command, undo, what in (
        (f"ip route add {mapping} via 203.0.113.126", "",
         f"route {mapping} via 203.0.113.126 dev eth0 of table main"),
        (f"ip route add blackhole {mapping}", "", f"route blackhole {mapping} of table main"),
        (f"ip route add unreachable {mapping}", "", f"route unreachable {mapping} of table main"),
        ("ip rule add to 10.200.0.0/22 prohibit priority 40", "",
         "rule 40: from all to 10.200.0.0/22 prohibit"),
        ("ip route add default via 203.0.113.126 table 100; ip rule add lookup 100 priority 50",
         "ip rule del priority 50; ip rule del priority 49; ip route flush table 100",
         "route 0.0.0.0/0 via 203.0.113.126 dev eth0 of table 100, by rule 50: from all lookup"),
        ("ip route add blackhole default table 100; ip rule add iif eth0 lookup 100 priority 50",
         "ip rule del priority 50; ip rule del priority 49; ip route flush table 100",
         "route blackhole 0.0.0.0/0 of table 100, by rule 50: from all iif eth0 lookup 100"),
    ):
        quiet(setup, "routes")
        host.run(["sh", "-ec", command])
        expect_in("no: ", setup.ask(ask.page, A, 80, 1))
        mend(setup, finds(setup, "routes", "error", what))
        quiet(setup, "routes")
        becomes(lambda: setup.ask(ask.page, A, 80), PAGE)
        if undo:
            host.run(["sh", "-ec", undo])
    # One that is for some clients only.
    host.run(["ip", "rule", "add", "from", "198.51.100.0/24", "blackhole", "priority", "60"])
    found = finds(setup, "routes", "warning", "from 198.51.100.0/24 do not go into the tunnel")
    expect(found["mend"], ["ip rule del priority 60"])
    mend(setup, found)
    quiet(setup, "routes")


@case
def status_tells_of_ways_away(setup):
    """The daemon itself says so as soon as the route or rule is there, and when it is gone."""
    host = setup.edge.host
    host.run(["ip", "rule", "add", "lookup", "100", "priority", "50"])
    ends = lambda: setup.edge.process.output().count("go into the tunnel again")  # noqa: E731
    for command, undo in (
        ("ip route add default via 203.0.113.126 table 100", "ip route flush table 100"),
        ("ip route add blackhole 10.200.0.16/32", "ip route del blackhole 10.200.0.16/32"),
        ("ip rule add to 10.200.0.0/22 unreachable priority 40", "ip rule del priority 40"),
    ):
        begin, ended = time.monotonic(), ends()
        host.run(["sh", "-ec", command])
        eventually(lambda: expect_in(
            "do not go into the tunnel", str(setup.edge.status().get("warnings"))),
            2, pause=0.005)
        print(f"    told {(time.monotonic() - begin) * 1000:.0f} ms after: {command}")
        host.run(["sh", "-ec", undo])
        eventually(lambda: expect(setup.edge.status().get("warnings", []), []))
        becomes(ends, ended + 1)
    host.run(["ip", "rule", "del", "priority", "50"])
    setup.agent.wait_edge_ready("a", seconds=20)


# ---- files, addresses, listeners ----


@case
def saved_tables(setup):
    """A saved copy of our table in /etc/nftables.conf, also in a file that it includes."""
    host = setup.edge.host
    folder = host.folder / "var/lib/edged"
    listing = host.run(["nft", "list", "table", "inet", "edged"]).stdout
    (folder / "saved.conf").write_text(f"flush ruleset\n{listing}")
    (folder / "good.conf").write_text("flush ruleset\ntable inet mine {\n}\n")
    (folder / "including.conf").write_text('include "/var/lib/edged/saved.conf"\n')
    try:
        instead = "mount --bind /var/lib/edged/{} /etc/nftables.conf"
        quiet(setup, "nftables.conf", instead.format("good.conf"))
        found = finds(setup, "nftables.conf", "warning", "/var/lib/edged/saved.conf holds a copy",
                      instead.format("including.conf"))
        expect_in("inet edged", found["what"])
        found = finds(setup, "nftables.conf", "warning", "/etc/nftables.conf holds a copy",
                      instead.format("saved.conf"))
        line = found["mend"][0].replace("/etc/nftables.conf", "/var/lib/edged/saved.conf")
        host.run(["sh", "-ec", line])
        quiet(setup, "nftables.conf", instead.format("saved.conf"))
        expect((folder / "saved.conf").read_text(), "flush ruleset\n")
    finally:
        for name in ("saved", "good", "including"):
            (folder / f"{name}.conf").unlink()


def public_addresses(setup, *addresses):
    setup.agent.write("edge-a", edge_node(
        "a", A, publicIPs=list(addresses), tunnel={"network": NETWORKS["a"]}))


@case
def translated_address(setup):
    """An address that the cloud translates 1:1 is a note with the address it arrives as."""
    host = setup.edge.host
    quiet(setup, "addresses")
    host.ip(f"address del {A2}/25 dev eth0\naddress add 10.1.2.3/24 dev eth0")
    found = finds(setup, "addresses", "error", A2)  # it could be either
    expect_in(f"publicIPs: [{{address: {A2}, nicAddress: ADDRESS}}]", found["mend"])
    public_addresses(setup, {"address": A}, {"address": A2, "nicAddress": "10.1.2.3"})
    note = finds(setup, "addresses", "note", f"{A2} is not on this host: it arrives as 10.1.2.3 on eth0")
    expect_in("translates 1:1", note["means"])
    host.ip(f"address del 10.1.2.3/24 dev eth0\naddress add {A2}/25 dev eth0")
    public_addresses(setup, {"address": A}, {"address": A2})
    quiet(setup, "addresses")


@case
def listeners(setup):
    """A process of this host on a mapped port is named with its pid."""
    quiet(setup, "listeners")
    service = setup.edge.host.start(
        [PYTHON, ROOT / "tests/tools/serve.py", "own", "page:80"], "own")
    service.wait_for("ready")
    found = finds(setup, "listeners", "warning", "listens on 80/tcp, which is mapped")
    expect(bool(re.match(r"python3\S* \(pid \d+\) ", found["what"])), True, found["what"])
    service.kill()
    quiet(setup, "listeners")
