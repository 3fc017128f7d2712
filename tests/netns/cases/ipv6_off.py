"""What is in IPv6's way: each binding says it, and IPv4 serves on."""

from pathlib import Path

import ask
from case import case
from expect import Skipped, becomes, eventually, expect, expect_in
from product import Setup, edge_node, port_binding, tcp, udp
from world import A, A2, A6, A6_2, BACKEND, BACKEND6, CLIENT6, HOME6_LAN, HOME_LAN
from cases.ipv6 import expect_no_router, let_forward, serve

LIMIT_SECONDS = 90
FORWARDING = "net.ipv6.conf.all.forwarding is 0"


def both():
    """A page of each family."""
    return port_binding(
        "both", tcp(80, f"{BACKEND}:8080", name="four"),
        tcp(80, f"[{BACKEND6}]:8080", name="six", publicIP=A6),
    )


def started(lab, before_start=lambda setup: None):
    """A setup with both pages wanted, started after `before_start`."""
    setup = Setup(lab, ipv6=True)
    serve(setup)
    before_start(setup)
    setup.start()
    setup.agent.write("both", both())
    setup.agent.wait_ready("both", "four")
    return setup


def expect_only_ipv4(setup, what, answer="no: connection refused", seconds=5):
    """IPv4 serves; the IPv6 binding is not Ready, and `what` is in the message."""
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")

    def says():
        _, message = setup.agent.refusal("both", "six")
        expect_in(what, message)

    eventually(says, seconds)
    becomes(lambda: setup.ask(ask.page, A6, 80), answer)


def expect_both(setup, seconds=10):
    setup.agent.wait_ready("both", "six", seconds)
    becomes(lambda: setup.ask(ask.page, A6, 80), f"backend:8080 saw {HOME6_LAN}")
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


def make_sysctls_read_only(host):
    """As a sandbox or a container does it; only for what starts after it."""
    host.run(["mount", "--bind", "/proc/sys", "/proc/sys"])
    host.run(["mount", "-o", "remount,bind,ro", "/proc/sys"])


def set_forwarding(host, value):
    """From outside: /proc/sys is read-only for the host's programs."""
    with host.network():
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text(value)


@case
def edge_may_not_forward(lab):
    """An edge that may not write the sysctl names it, and serves when somebody sets it."""
    setup = started(lab, lambda setup: (
        make_sysctls_read_only(setup.world.edges["a"]), let_forward_at_home(setup),
    ))
    expect_only_ipv4(setup, f"{FORWARDING} on this edge, and edged may not write it")
    expect_in(FORWARDING, setup.edge.cli("status").stdout)
    set_forwarding(setup.edge.host, "1")
    expect_both(setup)
    set_forwarding(setup.edge.host, "0")
    expect_only_ipv4(setup, FORWARDING)


def let_forward_at_home(setup):
    setup.world.home.sysctl({"conf/all/forwarding": "1"}, "ipv6")


@case
def uplink_may_not_forward(lab):
    """An uplink that may not write the sysctl names it, but for targets on its own host."""
    setup = started(lab, lambda setup: (
        let_forward(setup), setup.world.home.sysctl({"conf/all/forwarding": "0"}, "ipv6"),
        make_sysctls_read_only(setup.world.home),
    ))
    expect_only_ipv4(setup, f"{FORWARDING} on the host of this uplink")
    setup.agent.bind("own", tcp(81, f"[{HOME6_LAN}]:8080", publicIP=A6))
    expect(setup.ask(ask.page, A6, 81), f"home:8080 saw {CLIENT6}")
    set_forwarding(setup.world.home, "1")
    expect_both(setup)


@case
def prepared_edge_is_no_router(lab):
    """`edged prepare` lets an edge forward IPv6 to the tunnel, and to nothing else."""
    def prepare(setup):
        setup.world.edges["a"].sysctl({"conf/eth0/accept_ra": "1"}, "ipv6")
        setup.edge.cli("prepare")
        make_sysctls_read_only(setup.world.edges["a"])
        let_forward_at_home(setup)

    setup = started(lab, prepare)
    expect_both(setup)
    expect_no_router(setup)


@case
def switched_off_on_the_edge(lab):
    """disable_ipv6 on the VPS before edged starts, and while it runs, leaves IPv4 alone."""
    off, on = {"conf/all/disable_ipv6": "1"}, {"conf/all/disable_ipv6": "0"}
    setup = started(lab, lambda setup: (
        let_forward(setup), setup.world.edges["a"].sysctl(off, "ipv6"),
    ))
    off_on_edge = "IPv6 is switched off on this edge: net.ipv6.conf.edged0.disable_ipv6 is 1"
    nobody = "no: timed out"  # the address itself is gone
    expect_only_ipv4(setup, off_on_edge, nobody)
    host = setup.edge.host
    host.sysctl(on, "ipv6")
    host.ip(
        f"address add {A6}/64 dev eth0 nodad\naddress add {A6_2}/64 dev eth0 nodad\n"
        "route add default via 2001:db8:a::ff"
    )
    expect_both(setup)
    host.sysctl(off, "ipv6")
    expect_only_ipv4(setup, off_on_edge, nobody)


@case
def switched_off_at_home(lab):
    """disable_ipv6 at home before the agent starts, and while it runs, leaves IPv4 alone."""
    off, on = {"conf/all/disable_ipv6": "1"}, {"conf/all/disable_ipv6": "0"}
    setup = started(lab, lambda setup: (
        let_forward(setup), setup.world.home.sysctl(off, "ipv6"),
    ))
    expect_only_ipv4(setup, "IPv6 is switched off on the host of this uplink")
    home = setup.world.home
    home.sysctl(on, "ipv6")
    home.ip(f"address add {HOME6_LAN}/64 dev lan nodad")
    expect_both(setup)
    home.sysctl(off, "ipv6")
    expect_only_ipv4(setup, "IPv6 is switched off on the host of this uplink")


@case
def not_in_the_kernel(lab):
    """Started with ipv6.disable=1, both ends serve IPv4 and say what IPv6 lacks."""
    setup = Setup(lab)
    if setup.world.home.run(["test", "-e", "/proc/sys/net/ipv6"], check=False).returncode == 0:
        raise Skipped("this kernel has IPv6")
    serve(setup)
    setup.start()
    setup.agent.write("edge-a", edge_node("a", A, (A, A2, A6), tunnel={"network": "10.200.0.0/22"}))
    setup.agent.write("both", both())
    setup.agent.wait_ready("both", "four")
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    expect_in("the kernel on the host of this uplink has no IPv6",
              setup.agent.refusal("both", "six")[1])


@case
def small_mtu(lab):
    """A tunnel with an MTU below IPv6's least serves IPv4, and the IPv6 binding says why."""
    setup = Setup(lab, ipv6=True)
    let_forward(setup)
    serve(setup)
    setup.start(mtu=1200)
    setup.agent.write("both", both())
    setup.agent.wait_ready("both", "four")
    expect_only_ipv4(setup, "the tunnel's MTU 1200 is below IPv6's least, 1280")


@case
def tunnel_over_ipv6(lab):
    """The tunnel itself runs over IPv6: an address, and a host name that has only IPv6."""
    setup = Setup(lab, ipv6=True)
    let_forward(setup)
    serve(setup)
    # No IPv4 between home and the VPS.
    setup.world.home.ip("route del default via 192.168.1.1")
    node = edge_node("a", A6, (A, A6), tunnel={"network": "10.200.0.0/22"})
    setup.agent.write("edge-a", node)
    setup.edge.run()
    setup.edge.join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.agent.write("both", both())
    expect_both(setup)
    expect_in("[2001:db8:d::2]:", setup.edge.cli("status").stdout)
    count = 2_000_000
    setup.agent.bind("bulk", tcp(82, f"[{BACKEND6}]:8082", publicIP=A6), udp(7000, f"{BACKEND}:7000"))
    expect(setup.ask(ask.pull, A6, 82, count), f"{count} bytes, checksum right")
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")

    hosts = setup.world.home.folder / "hosts"
    hosts.write_text(f"{A6} vps.example.com\n")
    setup.world.home.run(["mount", "--bind", hosts, "/etc/hosts"])
    setup.agent.process.stop()
    node["spec"]["address"] = "vps.example.com"
    setup.agent.write("edge-a", node)
    setup.agent.run()
    setup.agent.bind("more", tcp(83, f"[{BACKEND6}]:8080", publicIP=A6))
    expect(setup.ask(ask.page, A6, 83), f"backend:8080 saw {HOME6_LAN}")
