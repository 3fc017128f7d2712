"""What a packet meets on its way from the internet to a private service."""


import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from lab import PYTHON
from product import EDGE_OVERLAY, Setup, tcp, udp
from world import A, A2, B, BACKEND, BACKEND2, CLIENT, HOME, HOME_LAN


def build(lab):
    setup = Setup(lab, edges=("a", "b"))
    world = setup.world
    world.serve(
        world.backend, "backend", "page:8080", "talk:8081", "talk:8091", "bulk:8082",
        "echo:7000", "echo:20000-29999", "talk:30000-30009",
    )
    world.serve(world.home, "home", "page:8080", "talk:8081", "echo:7000")
    world.serve(world.edges["a"], "vps", "talk:22", "talk:2222", "echo:2222")
    setup.start()
    setup.agent.bind(
        "standard",
        tcp(80, f"{BACKEND}:8080"),
        tcp(81, f"{BACKEND}:8081"),
        tcp(82, f"{BACKEND}:8082"),
        udp(7000, f"{BACKEND}:7000"),
        udp("20000-29999", BACKEND),
        tcp("30000-30009", BACKEND),
        tcp(8080, f"{HOME}:8080", clientIP="Preserve"),
        udp(7001, f"{HOME}:7000", clientIP="Preserve"),
        tcp(8081, f"{HOME}:8081"),
    )
    setup.agent.bind("second-address", tcp(81, f"{BACKEND}:8091", publicIP=A2))
    setup.agent.bind(
        "on-b", tcp(90, f"{BACKEND}:8081"), tcp(82, f"{BACKEND}:8082"),
        udp(7000, f"{BACKEND}:7000"), edge="b",
    )
    return setup


@case
def tcp_is_masqueraded(setup):
    """D2: a client's TCP reaches the backend, which sees the uplink's LAN address."""
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


@case
def udp_is_masqueraded(setup):
    """D2: a client's UDP reaches the backend, which sees the uplink's LAN address."""
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")


@case
def preserve_shows_the_client(setup):
    """D1: with clientIP Preserve the service sees the client's address, TCP and UDP."""
    expect(setup.ask(ask.page, A, 8080), f"home:8080 saw {CLIENT}")
    expect(setup.ask(ask.echo, A, 7001), f"home:7000 saw {CLIENT}: hello")


@case
def own_host_sees_the_client(setup):
    """D22: a target on the uplink's own host sees the client's address without Preserve too."""
    expect(setup.ask(ask.talk, A, 8081), f"home:8081 saw {CLIENT}: hello")


@case
def range_of_10000_udp_ports(setup):
    """D2: each of 10,000 UDP ports reaches the same port of the target."""
    answers = setup.ask(ask.echo_ports, A, range(20000, 30000))
    wrong = [
        port for port in range(20000, 30000)
        if answers.get(port) != f"backend:{port} saw {HOME_LAN}: hello"
    ]
    expect(wrong[:5], [], f"{len(wrong)} ports")
    expect(setup.ask(ask.echo, A, 19999), "no: connection refused", "below the range")
    expect(setup.ask(ask.echo, A, 30000), "no: connection refused", "above the range")


@case
def range_of_tcp_ports(setup):
    """D2: the first and last port of a TCP range serve, their neighbours do not."""
    for port in (30000, 30009):
        expect(setup.ask(ask.talk, A, port), f"backend:{port} saw {HOME_LAN}: hello")
    for port in (29999, 30010):
        expect(setup.ask(ask.talk, A, port), "no: connection refused", str(port))


@case
def one_port_on_two_public_addresses(setup):
    """V1: one port on two public addresses leads to two services."""
    expect(setup.ask(ask.talk, A, 81), f"backend:8081 saw {HOME_LAN}: hello")
    expect(setup.ask(ask.talk, A2, 81), f"backend:8091 saw {HOME_LAN}: hello")


@case
def two_edges_by_one_agent(setup):
    """D17: each edge serves its own mappings, and a port of one is refused by the other."""
    expect(setup.ask(ask.talk, B, 90), f"backend:8081 saw {HOME_LAN}: hello")
    expect(setup.ask(ask.echo, B, 7000), f"backend:7000 saw {HOME_LAN}: hello")
    expect(setup.ask(ask.talk, B, 81), "no: connection refused")
    expect(setup.ask(ask.talk, A, 90), "no: connection refused")


@case
def unmapped_ports_stay_the_vps_own(setup):
    """D3: ports without a mapping are the VPS's own, open or closed as before."""
    expect(setup.ask(ask.talk, A, 2222), f"vps:2222 saw {CLIENT}: hello")
    expect(setup.ask(ask.echo, A, 2222), f"vps:2222 saw {CLIENT}: hello")
    expect(setup.ask(ask.talk, A, 2223), "no: connection refused")
    expect(setup.ask(ask.page, A2, 80), "no: connection refused")


@case
def ssh_reaches_the_vps(setup):
    """D4: port 22 is always the VPS's own."""
    expect(setup.ask(ask.talk, A, 22), f"vps:22 saw {CLIENT}: hello")


@case
def connections_made_on_the_vps(setup):
    """A connection that begins on the VPS itself takes the mapping too."""
    edge = setup.world.edges["a"]
    expect(setup.ask(ask.page, A, 80, at=edge), f"backend:8080 saw {HOME_LAN}")


@case
def bulk_both_ways(setup):
    """D12: a large download and a large upload arrive whole through both edges."""
    count = 8_000_000
    for address in (A, B):
        for question in (ask.pull, ask.push):
            got = setup.ask(question, address, 82, count)
            expect(got, f"{count} bytes, checksum right", f"{question.__name__} {address}")


@case
def large_udp(setup):
    """D12: UDP answers around and far above the tunnel's MTU arrive."""
    for size in (1300, 1392, 1393, 1420, 1450, 4000, 30000):
        echoed = lambda: "x" * size in setup.ask(ask.echo, A, 7000, "x" * size)  # noqa: E731
        becomes(echoed, True, 6, f"{size} bytes")


@case
def closed_port_is_refused(setup):
    """D22: a target that refuses is seen as a refusal by the client."""
    setup.agent.bind("closed", tcp(100, f"{BACKEND}:1"), udp(100, f"{BACKEND}:1"))
    expect(setup.ask(ask.talk, A, 100), "no: connection refused")
    expect(setup.ask(ask.echo, A, 100), "no: connection refused")
    setup.agent.remove("closed")


@case
def silent_target_times_out(setup):
    """D22: a target that does not answer is a timeout for the client, of this port alone."""
    setup.world.backend.nft(
        "table inet silent { chain input { type filter hook input priority 0\n"
        "tcp dport 9 drop\n }\n }\n"
    )
    setup.agent.bind("silent", tcp(101, f"{BACKEND}:9"))
    expect(setup.ask(ask.talk, A, 101), "no: timed out")
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    setup.agent.remove("silent")


@case
def retarget_keeps_a_held_connection(setup):
    """D5: after a change of target a held connection stays, a new one reaches the new target."""
    setup.agent.bind("moving", tcp(102, f"{BACKEND}:8081"))
    with setup.ask(ask.Held, A, 102) as held:
        expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
        setup.agent.bind("moving", tcp(102, f"{BACKEND2}:8091"))
        becomes(lambda: setup.ask(ask.talk, A, 102), f"backend:8091 saw {HOME_LAN}: hello")
        expect(held.ask("two"), f"backend:8081 saw {HOME_LAN}: two")
    setup.agent.remove("moving")


def flow_older_than_its_mapping(setup, address, late, seen):
    """A client sends to port 7100 of `address` before it is mapped by `late`, and goes on."""
    with setup.world.client.network():
        flow = ask.datagram_socket(address)
    with flow:
        flow.connect((address, 7100))
        flow.settimeout(0.1)

        def answer():
            try:
                flow.send(b"early")
                return flow.recv(1000).decode()
            except OSError:
                return "nothing"

        expect(answer(), "nothing")
        setup.agent.bind("late", late)
        becomes(answer, f"backend:7000 saw {seen}: early", seconds=3)
    setup.agent.remove("late")


@case
def udp_flow_older_than_its_mapping(setup):
    """D20: a UDP flow that began before its mapping is answered when the mapping comes."""
    flow_older_than_its_mapping(setup, A, udp(7100, f"{BACKEND}:7000"), HOME_LAN)


@case
def removal_takes_exactly_one(setup):
    """D6: removing a mapping removes this one alone, and the table is as it was before."""
    eventually(lambda: expect_not_in("7100", setup.edge.table()))  # of the case before
    before = setup.edge.table()
    setup.agent.bind("extra", tcp(103, f"{BACKEND}:8080"))
    expect(setup.ask(ask.page, A, 103), f"backend:8080 saw {HOME_LAN}")
    expect_in(". 103", setup.edge.table())
    setup.agent.remove("extra")
    becomes(lambda: setup.ask(ask.page, A, 103), "no: connection refused")
    eventually(lambda: expect(setup.edge.table(), before))
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


def tunnel_device(setup, edge):
    """The uplink's device that leads to this edge."""
    routes = setup.world.home.run(["ip", "-o", "route", "get", EDGE_OVERLAY[edge]]).stdout
    return routes.split(" dev ")[1].split()[0]


def talk_through(setup, edge, address, port):
    """A connection from home that is forced into the tunnel to an edge."""
    device = tunnel_device(setup, edge)
    script = (
        "import socket, sys; s = socket.socket(); s.settimeout(0.7)\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())\n"
        "try: s.connect((sys.argv[2], int(sys.argv[3]))); print('connected')\n"
        "except OSError as e: print('no:', e.strerror or e)"
    )
    words = [PYTHON, "-c", script, device, address, str(port)]
    return setup.world.home.run(words).stdout.strip()


@case
def uplink_reaches_only_the_api(setup):
    """D18: through the tunnel an uplink reaches the API, not the VPS's own listeners."""
    expect(talk_through(setup, "a", EDGE_OVERLAY["a"], 7443), "connected")
    for address in (EDGE_OVERLAY["a"], A):
        for port in (22, 2222):
            expect(talk_through(setup, "a", address, port), "no: timed out", f"{address}:{port}")


@case
def uplink_does_not_reach_the_internet(setup):
    """D18: the VPS does not carry an uplink's own connections to the internet."""
    setup.world.serve(setup.world.client, "outside", "talk:9000")
    expect(setup.ask(ask.talk, CLIENT, 9000, at=setup.world.home)[:7], "outside")
    expect(talk_through(setup, "a", CLIENT, 9000), "no: timed out")


@case
def neighbour_does_not_reach_the_tunnel_address(setup):
    """D19: a neighbour on the VPS's segment cannot send to its tunnel address."""
    internet = setup.world.internet
    internet.ip(f"route add {EDGE_OVERLAY['a']}/32 via {A}")
    for port in (22, 2222, 7443):
        expect(setup.ask(ask.talk, EDGE_OVERLAY["a"], port, at=internet), "no: timed out")


@case
def vps_does_not_become_a_router(setup):
    """With ip_forward off, what a neighbour sends through the VPS to others is dropped."""
    internet = setup.world.internet
    setup.world.serve(setup.world.client, "beyond", "echo:9001")
    neighbour = setup.lab.host("neighbour")
    setup.lab.wire(neighbour, "eth0", "100.64.0.2/24", internet, "neighbour", "100.64.0.1/24")
    neighbour.ip("route add default via 100.64.0.1")
    expect(setup.ask(ask.echo, CLIENT, 9001, at=neighbour)[:6], "beyond", "directly")
    internet.ip(f"route add default via {A} table 7\nrule add iif neighbour lookup 7")
    expect(setup.ask(ask.echo, CLIENT, 9001, at=neighbour), "no: timed out", "through the VPS")
