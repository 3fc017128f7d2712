"""What breaks, each in a lab of its own."""

import os
import signal
import time

import ask
from case import case
from expect import Skipped, becomes, eventually, expect, expect_in, within
from lab import PYTHON
from product import (
    EDGED, NETWORKS, WIREGUARD_GO, Setup, edge_node, port_binding, tcp, udp,
)
from world import A, A2, B, BACKEND, HOME_LAN


def serving(lab, edges=("a",), **options):
    """A setup that serves a page, a talk and an echo."""
    setup = Setup(lab, edges, **options)
    setup.world.serve(
        setup.world.backend, "backend", "page:8080", "talk:8081", "bulk:8082", "echo:7000"
    )
    return setup


def standard():
    return port_binding(
        "standard", tcp(80, f"{BACKEND}:8080"), tcp(81, f"{BACKEND}:8081"),
        tcp(82, f"{BACKEND}:8082"), udp(7000, f"{BACKEND}:7000"),
    )


@case
def dead_uplink_is_refused(lab):
    """D9: when the last uplink dies its ports are refused at once, after at most 2.5 s."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"))
    home = setup.world.home
    for pid in home.pids_of("clusteragent") + home.pids_of("wireguard-go"):
        os.kill(pid, signal.SIGKILL)
    home.run(["nft", "flush", "ruleset"])
    time.sleep(2.5)
    with within(0.5, "the refusal"):
        expect(setup.ask(ask.page, A, 80), "no: connection refused")
        expect(setup.ask(ask.echo, A, 7000), "no: connection refused")


@case
def agent_is_killed(lab):
    """clusteragent, killed, leaves the kernel serving, and takes changes when it is back."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    setup.agent.process.kill()
    for _ in range(8):
        expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
        time.sleep(0.4)
    setup.agent.run()
    setup.agent.bind("more", tcp(90, f"{BACKEND}:8080"))
    expect(setup.ask(ask.page, A, 90), f"backend:8080 saw {HOME_LAN}")


@case
def dead_uplink_comes_back(lab):
    """An uplink whose host was cut off is refused, and serves again when it is connected."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    setup.world.cgnat.ip("link set dev wan down")
    becomes(lambda: setup.ask(ask.page, A, 80), "no: connection refused", seconds=6)
    setup.world.cgnat.ip("link set dev wan up\nroute add default via 192.0.2.1")
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=10)
    setup.agent.wait_edge_ready("a")


@case
def vps_reboots(lab):
    """D10: after a reboot of the VPS edged alone makes the kernel forward again."""
    setup = serving(lab).start()
    setup.agent.write("standard", standard())
    setup.agent.wait_ready("standard")
    before = setup.edge.table()
    host = setup.edge.host
    time.sleep(1.2)  # its state is on disk within a second
    setup.edge.process.kill()
    host.run(["sh", "-c", "nft flush ruleset; ip link del edged0; conntrack -F"], check=False)
    host.sysctl({"conf/eth0/forwarding": "0", "conf/eth0/rp_filter": "0"})
    expect(setup.ask(ask.page, A, 80), "no: connection refused", "while it is down")
    setup.edge.run()
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=16)
    expect(setup.edge.table(), before)


@case
def killed_after_the_first_apply(lab):
    """edged, killed as soon as the first mapping serves, has it again when it is back."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    setup.edge.process.kill()
    setup.edge.run()
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=8)
    setup.agent.wait_edge_ready("a")


@case
def devices_are_made_anew(lab):
    """A tunnel device that is deleted on either side comes back, and serves again."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    links = setup.world.home.run(["ip", "-o", "link"]).stdout
    uplink = next(word.rstrip(":") for word in links.split() if word.startswith("eu-"))
    for host, device in ((setup.edge.host, "edged0"), (setup.world.home, uplink)):
        host.ip(f"link del {device}")
        # Long enough for heartbeats that are not heard to have made the uplink dead.
        time.sleep(3)
        becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=15)
        setup.agent.wait_edge_ready("a", seconds=15)


@case
def edge_state_and_kernel_are_lost(lab):
    """An edge that lost its state and rebooted is found again: the agent introduces itself."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    edge = setup.edge
    edge.process.kill()
    for pid in edge.host.pids_of("wireguard-go"):
        os.kill(pid, signal.SIGKILL)
    edge.host.run(["nft", "flush", "ruleset"])
    (edge.host.folder / "var/lib/edged/state").unlink()
    edge.run()
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=25)
    setup.agent.wait_edge_ready("a", seconds=15)


@case
def a_new_token_disturbs_nobody(lab):
    """A token that is only given out leaves the edge serving; joined, it takes over."""
    setup = serving(lab).start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    token = setup.agent.token("a").stdout
    for _ in range(8):
        expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
        time.sleep(0.25)
    expect(setup.edge.cli("reset").returncode, 0, "exit code")
    setup.edge.join(token)
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=20)
    setup.agent.wait_edge_ready("a", seconds=15)


@case
def one_edge_not_reachable(lab):
    """An edge that cannot be reached is said so, and the other edge is served meanwhile."""
    setup = serving(lab, ("a", "b"))
    setup.edges["b"].host.ip("link set dev eth0 down")
    for name, address in (("a", A), ("b", B)):
        setup.agent.write(name, edge_node(name, address, tunnel={"network": NETWORKS[name]}))
    for name, edge in setup.edges.items():
        edge.run().join(setup.agent.token(name).stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.agent.bind("on-a", tcp(80, f"{BACKEND}:8080"))
    setup.agent.write("on-b", port_binding("on-b", tcp(80, f"{BACKEND}:8080"), edge="b"))
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    eventually(lambda: expect(setup.agent.edge_condition("b", "TunnelUp")[0], "False"))
    eventually(lambda: expect(setup.agent.binding_condition("on-b")[0], "False"))
    setup.edges["b"].host.ip("link set dev eth0 up\nroute add default via 203.0.113.254")
    setup.agent.wait_edge_ready("b", seconds=30)
    setup.agent.wait_ready("on-b")
    expect(setup.ask(ask.page, B, 80), f"backend:8080 saw {HOME_LAN}")


@case
def low_mtu(lab):
    """D12: over a tunnel of MTU 1280 bulk TCP and large UDP arrive whole."""
    setup = serving(lab).start(mtu=1280)
    setup.agent.write("standard", standard())
    setup.agent.wait_ready("standard")
    for question in (ask.pull, ask.push):
        got = setup.ask(question, A, 82, 3_000_000)
        expect(got, "3000000 bytes, checksum right", question.__name__)
    for size in (1240, 1300, 1472, 4000):
        echoed = lambda: "x" * size in setup.ask(ask.echo, A, 7000, "x" * size)  # noqa: E731
        becomes(echoed, True, 6, f"{size} bytes")


@case
def strict_rp_filter(lab):
    """On hosts with a strict rp_filter everything is served too."""
    strict = {"conf/all/rp_filter": "1", "conf/default/rp_filter": "1"}
    setup = serving(lab, sysctls=strict).start()
    setup.agent.write("standard", standard())
    setup.agent.wait_ready("standard")
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")


@case
def foreign_marks(lab):
    """Marks that others set in other bits neither disturb us nor are lost."""
    setup = serving(lab)
    setup.world.home.nft(
        "table inet foreign {\n"
        "  chain early { type filter hook prerouting priority mangle - 20\n"
        "    ct mark set ct mark or 0x4000\n    meta mark set meta mark or 0x4000\n  }\n"
        "  chain late { type filter hook postrouting priority 300\n"
        "    ip daddr 10.244.1.5 ct mark and 0x4000 == 0x4000 counter comment \"seen\"\n  }\n}\n"
    )
    setup.start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    listing = setup.world.home.run(["nft", "list", "table", "inet", "foreign"]).stdout
    seen = next(line for line in listing.splitlines() if "seen" in line)
    expect("packets 0" in seen, False, seen)


@case
def wireguard_port_taken(lab):
    """When another process has the WireGuard port, edged says which port."""
    setup = serving(lab)
    script = (
        "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 51820))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    taker = setup.edge.host.start([PYTHON, "-c", script], "taker")
    taker.wait_for("ready")
    setup.agent.write("a", edge_node("a", A, (A, A2), tunnel={"network": NETWORKS["a"]}))
    setup.edge.run().join(setup.agent.token("a").stdout)
    eventually(lambda: expect_in("51820", setup.edge.process.output()))
    eventually(lambda: expect_in("51820", setup.edge.cli("status").stdout))
    taker.kill()
    setup.agent.run()
    setup.agent.wait_edge_ready("a", seconds=20)


@case
def without_net_admin(lab):
    """Without CAP_NET_ADMIN edged ends with a message that names it."""
    host = lab.host("poor")
    words = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", EDGED, "run"]
    done = host.run(words, check=False)
    expect(done.returncode != 0, True, "exit code")
    expect_in("CAP_NET_ADMIN", done.stdout + done.stderr)


@case
def without_any_wireguard(lab):
    """Without WireGuard in the kernel and without wireguard-go, edged says how to start one."""
    setup = serving(lab)
    host = setup.edge.host
    if host.run(["ip", "link", "add", "probe", "type", "wireguard"], check=False).returncode == 0:
        raise Skipped("this kernel has WireGuard")
    done = host.run([EDGED, "run"], check=False)
    expect(done.returncode, 1, "exit code")
    expect_in("wireguard-go", done.stderr)
    host.run([WIREGUARD_GO, "edged0"])
    setup.start(options=())
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
