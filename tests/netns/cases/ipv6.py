"""IPv6 wherever IPv4 works: what a packet meets, in a world of both families."""


import ask
from case import case
from cases import forwarding
from expect import becomes, eventually, expect, expect_in
from lab import PYTHON
from product import EDGED, Setup, port_binding, tcp, udp
from world import (
    A, A6, A6_2, B6, BACKEND, BACKEND6, BACKEND6_2, CLIENT6, HOME6_LAN, HOME_LAN,
)


def let_forward(setup):
    """What only root may set, where the kernel knows no forwarding of single devices."""
    switch = ["test", "-e", "/proc/sys/net/ipv6/conf/all/force_forwarding"]
    for edge in setup.edges.values():
        if edge.host.run(switch, check=False).returncode != 0:
            edge.cli("prepare")
    home = setup.world.home
    if home.run(switch, check=False).returncode != 0:
        home.sysctl({"conf/all/forwarding": "1"}, "ipv6")


def serve(setup):
    world = setup.world
    world.serve(
        world.backend, "backend", "page:8080", "talk:8081", "talk:8091", "bulk:8082",
        "echo:7000", "echo:20000-20099", "talk:30000-30009",
    )
    world.serve(world.home, "home", "page:8080", "talk:8081", "echo:7000")
    world.serve(world.edges["a"], "vps", "talk:22", "talk:2222", "echo:2222")


def build(lab):
    setup = Setup(lab, edges=("a", "b"), ipv6=True)
    let_forward(setup)
    serve(setup)
    setup.start()
    setup.agent.bind(
        "standard",
        tcp(80, f"[{BACKEND6}]:8080", publicIP=A6),
        tcp(81, f"[{BACKEND6}]:8081", publicIP=A6),
        tcp(82, f"[{BACKEND6}]:8082", publicIP=A6),
        udp(7000, f"[{BACKEND6}]:7000", publicIP=A6),
        udp("20000-20099", BACKEND6, publicIP=A6),
        tcp("30000-30009", BACKEND6, publicIP=A6),
        tcp(8080, f"[{HOME6_LAN}]:8080", clientIP="Preserve", publicIP=A6),
        udp(7001, f"[{HOME6_LAN}]:7000", clientIP="Preserve", publicIP=A6),
        tcp(8081, f"[{HOME6_LAN}]:8081", publicIP=A6),
    )
    setup.agent.bind("second-address", tcp(81, f"[{BACKEND6}]:8091", publicIP=A6_2))
    setup.agent.bind(
        "ipv4", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"),
    )
    setup.agent.bind("on-b", tcp(82, f"[{BACKEND6}]:8082", publicIP=B6), edge="b")
    return setup


@case
def both_families_on_one_port(setup):
    """D2: one port serves IPv4 and IPv6 clients, TCP and UDP, each masqueraded."""
    expect(setup.ask(ask.page, A6, 80), f"backend:8080 saw {HOME6_LAN}")
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    expect(setup.ask(ask.echo, A6, 7000), f"backend:7000 saw {HOME6_LAN}: hello")
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")


@case
def preserve_shows_the_ipv6_client(setup):
    """D1: with clientIP Preserve the service sees the client's IPv6 address, TCP and UDP."""
    expect(setup.ask(ask.page, A6, 8080), f"home:8080 saw {CLIENT6}")
    expect(setup.ask(ask.echo, A6, 7001), f"home:7000 saw {CLIENT6}: hello")


@case
def own_host_sees_the_ipv6_client(setup):
    """D22: a target on the uplink's own host sees the client's address without Preserve too."""
    expect(setup.ask(ask.talk, A6, 8081), f"home:8081 saw {CLIENT6}: hello")


@case
def ranges_of_ipv6_ports(setup):
    """D2: each port of an IPv6 range reaches itself; its neighbours are refused."""
    answers = setup.ask(ask.echo_ports, A6, range(20000, 20100))
    wrong = [
        port for port in range(20000, 20100)
        if answers.get(port) != f"backend:{port} saw {HOME6_LAN}: hello"
    ]
    expect(wrong[:5], [], f"{len(wrong)} ports")
    for port in (30000, 30009):
        expect(setup.ask(ask.talk, A6, port), f"backend:{port} saw {HOME6_LAN}: hello")
    for port in (29999, 30010):
        expect(setup.ask(ask.talk, A6, port), "no: connection refused", str(port))


@case
def one_port_on_two_ipv6_addresses(setup):
    """V1: one port on two public IPv6 addresses leads to two services; "*" is all of them."""
    expect(setup.ask(ask.talk, A6, 81), f"backend:8081 saw {HOME6_LAN}: hello")
    expect(setup.ask(ask.talk, A6_2, 81), f"backend:8091 saw {HOME6_LAN}: hello")
    setup.agent.bind("all", tcp(83, f"[{BACKEND6_2}]:8081", publicIP="*"))
    for address in (A6, A6_2):
        expect(setup.ask(ask.talk, address, 83), f"backend:8081 saw {HOME6_LAN}: hello")
    expect(setup.ask(ask.talk, A, 83), "no: connection refused")
    setup.agent.remove("all")


@case
def ports_of_the_vps_itself(setup):
    """D3, D4: ports without a mapping, and 22 always, are the VPS's own, by IPv6 too."""
    expect(setup.ask(ask.talk, A6, 2222), f"vps:2222 saw {CLIENT6}: hello")
    expect(setup.ask(ask.echo, A6, 2222), f"vps:2222 saw {CLIENT6}: hello")
    expect(setup.ask(ask.talk, A6, 22), f"vps:22 saw {CLIENT6}: hello")
    expect(setup.ask(ask.talk, A6, 2223), "no: connection refused")
    edge = setup.world.edges["a"]
    expect(setup.ask(ask.page, A6, 80, at=edge), f"backend:8080 saw {HOME6_LAN}")


@case
def bulk_by_ipv6(setup):
    """D12: a large download and upload, and UDP above the MTU, arrive whole by IPv6."""
    count = 4_000_000
    for address in (A6, B6):
        for question in (ask.pull, ask.push):
            got = setup.ask(question, address, 82, count)
            expect(got, f"{count} bytes, checksum right", f"{question.__name__} {address}")
    for size in (1300, 1372, 1373, 1420, 4000):
        echoed = lambda: "x" * size in setup.ask(ask.echo, A6, 7000, "x" * size)  # noqa: E731
        becomes(echoed, True, 6, f"{size} bytes")


@case
def packet_too_big_passes_the_nat(setup):
    """D12: a router's "packet too big" behind the client reaches the target through both NATs."""
    setup.world.internet.ip("link set dev client mtu 1280")
    try:
        got = setup.ask(ask.pull, A6, 82, 1_000_000)
        expect(got, "1000000 bytes, checksum right")
        route = setup.world.backend.run(["ip", "-6", "route", "get", HOME6_LAN]).stdout
        expect_in("mtu 1280", route, "what the target has learnt")
    finally:
        setup.world.internet.ip("link set dev client mtu 1500")


@case
def unreachable_passes_the_nat(setup):
    """D22: a target that refuses, TCP or UDP, is seen as a refusal by the IPv6 client."""
    setup.agent.bind(
        "closed", tcp(100, f"[{BACKEND6}]:1", publicIP=A6), udp(100, f"[{BACKEND6}]:1", publicIP=A6)
    )
    expect(setup.ask(ask.talk, A6, 100), "no: connection refused")
    becomes(lambda: setup.ask(ask.echo, A6, 100), "no: connection refused")
    setup.agent.remove("closed")


@case
def ping_through_the_tunnel(setup):
    """The edge's own address in its IPv6 network answers home's ping, and no neighbour's."""
    network = setup.edge.call("GetState")["tunnel"]["network6"]
    own = network.replace("::/64", "::1")
    expect(ping(setup.world.home, own), "1 received")
    setup.world.internet.ip(f"route add {own}/128 via {A6}")
    expect(ping(setup.world.internet, own), "0 received")


def ping(host, address):
    """One echo request, with what Python brings along."""
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)\n"
        "s.settimeout(0.7)\n"
        "s.connect((sys.argv[1], 0))\n"
        "s.send(bytes([128, 0, 0, 0, 0xed, 0xed, 0, 1]))\n"
        "try:\n"
        "  while s.recv(100)[0] != 129: pass\n"
        "  print('1 received')\n"
        "except OSError: print('0 received')"
    )
    return host.run([PYTHON, "-c", script, address]).stdout.strip()


@case
def way_back_after_a_flush(setup):
    """D23: a held IPv6 connection outlives the loss of the edge's connection table."""
    with setup.ask(ask.Held, A6, 81) as held:
        expect(held.ask("one"), f"backend:8081 saw {HOME6_LAN}: one")
        setup.world.edges["a"].run(["conntrack", "-F"])
        expect(held.ask("two"), f"backend:8081 saw {HOME6_LAN}: two")


@case
def ipv6_flow_older_than_its_mapping(setup):
    """D20: an IPv6 UDP flow that began before its mapping is answered when it comes."""
    late = udp(7100, f"[{BACKEND6}]:7000", publicIP=A6)
    forwarding.flow_older_than_its_mapping(setup, A6, late, HOME6_LAN)


@case
def ipv6_flow_follows_its_target(setup):
    """D5: an IPv6 UDP flow goes to the new target and has the binding's timeout on both ends;
    IPv6 flows of others stay."""
    hosts = (setup.world.edges["a"], setup.world.home)
    foreign = ("-p udp -s 2001:db8:77::7 -d 2001:db8:77::8 --sport 77 --dport 53 -r 2001:db8:77::8 "
               "-q 2001:db8:77::7 --reply-port-src 53 --reply-port-dst 77 -t 600")
    for host in hosts:
        host.run(["conntrack", "-I", *foreign.split()])

    def moving(port):
        setup.agent.bind("moving", udp(7101, f"[{BACKEND6}]:{port}", publicIP=A6,
                                       udp={"sessionTimeout": "15m"}))

    moving(7000)
    with setup.world.client.network():
        flow = ask.datagram_socket(A6)
    with flow:
        flow.connect((A6, 7101))
        flow.settimeout(0.2)

        def answer():
            try:
                flow.send(b"hello")
                return flow.recv(1000).decode()
            except OSError:
                return "nothing"

        becomes(answer, f"backend:7000 saw {HOME6_LAN}: hello")
        moving(20000)
        becomes(answer, f"backend:20000 saw {HOME6_LAN}: hello", seconds=3)
        for host in hosts:
            listed = host.run(["conntrack", "-L", "-f", "ipv6", "-p", "udp", "--dport", "7101"])
            left = int(listed.stdout.split()[2])
            expect(890 <= left <= 900, True, f"{host.name}: {listed.stdout}")
            others = host.run(["conntrack", "-L", "-f", "ipv6", "-s", "2001:db8:77::7"]).stdout
            expect_in("sport=77", others, host.name)
    setup.agent.remove("moving")


@case
def other_family_is_refused(setup):
    """A target of the other family is that binding's condition, with both addresses."""
    setup.agent.write(
        "mixed",
        port_binding(
            "mixed", tcp(110, f"[{BACKEND6}]:8080", name="to6", publicIP=A),
            tcp(111, f"{BACKEND}:8080", name="to4", publicIP=A6),
            tcp(112, f"[{BACKEND6}]:8080", name="good", publicIP=A6),
        ),
    )
    for name, address, target in (("to6", A, BACKEND6), ("to4", A6, BACKEND)):
        reason, message = setup.agent.refusal("mixed", name)
        expect(reason, "FamilyMismatch", message)
        expect_in(f"public address {address} and target {target}", message)
    setup.agent.wait_ready("mixed", "good")
    expect(setup.ask(ask.page, A6, 112), f"backend:8080 saw {HOME6_LAN}")
    setup.agent.remove("mixed")


@case
def status_speaks_of_ipv6(setup):
    """Status on both ends tells the IPv6 network and where public addresses arrive."""
    text = setup.edge.cli("status").stdout
    network = setup.agent.status("edgenodes", "a")["values"]["network6"]
    expect_in(f"IPv6 in {network}", text)
    expect_in(A6, text)
    other = setup.agent.status("edgenodes", "b")["values"]["network6"]
    expect(other[:14], network[:14], "the cluster's prefix")
    expect(other != network, True, f"each edge has its own: {network}, {other}")


@case
def trace_of_ipv6(setup):
    """`edged trace [ADDRESS]:PORT` tells an IPv6 connection's way and its uplink."""
    words = [EDGED, "trace", f"[{A6}]:80", "--connections", "1", "--seconds", "10"]
    trace = setup.edge.host.start(words, "trace")
    trace.wait_for("make one now")
    setup.ask(ask.page, A6, 80)
    eventually(lambda: expect_in("came back from ", trace.output()))


def expect_no_router(setup):
    """What a neighbour of the VPS sends through it to others by IPv6 is dropped."""
    internet = setup.world.internet
    setup.world.serve(setup.world.client, "beyond", "echo:9001")
    neighbour = setup.lab.host("neighbour")
    setup.lab.wire(neighbour, "eth0", "100.64.0.2/24", internet, "neighbour", "100.64.0.1/24")
    neighbour.ip("address add 2001:db8:e::2/64 dev eth0 nodad")
    internet.ip("address add 2001:db8:e::1/64 dev neighbour nodad")
    neighbour.ip("route add default via 2001:db8:e::1")
    expect(setup.ask(ask.echo, CLIENT6, 9001, at=neighbour)[:6], "beyond", "directly")
    internet.ip(f"route add default via {A6} table 7")
    internet.run(["ip", "-6", "rule", "add", "iif", "neighbour", "lookup", "7"])
    expect(setup.ask(ask.echo, CLIENT6, 9001, at=neighbour), "no: timed out", "through the VPS")


@case
def ipv6_does_not_make_a_router(setup):
    """What a neighbour sends through the VPS to others by IPv6 is dropped."""
    expect_no_router(setup)


@case
def home_without_ipv6_internet(lab):
    """Home's provider has no IPv6: the VPS's addresses serve targets behind home and on it."""
    setup = Setup(lab, ipv6=True, ipv6_at_home=False)
    let_forward(setup)
    serve(setup)
    setup.start()
    setup.agent.bind(
        "web",
        tcp(80, f"[{BACKEND6}]:8080", publicIP=A6),
        tcp(8080, f"[{HOME6_LAN}]:8080", clientIP="Preserve", publicIP=A6),
        udp(7001, f"[{HOME6_LAN}]:7000", clientIP="Preserve", publicIP=A6),
    )
    expect(setup.ask(ask.page, A6, 80), f"backend:8080 saw {HOME6_LAN}")
    expect(setup.ask(ask.page, A6, 8080), f"home:8080 saw {CLIENT6}")
    expect(setup.ask(ask.echo, A6, 7001), f"home:7000 saw {CLIENT6}: hello")
    got = setup.ask(ask.talk, CLIENT6, 9, at=setup.world.home)
    expect(got.startswith("no: ") and "timed out" not in got, True, f"home's own way out: {got}")
