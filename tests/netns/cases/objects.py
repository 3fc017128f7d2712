"""Manifests, right and wrong, while an edge serves: each binding is judged alone."""

import itertools

import ask
from case import case
from expect import eventually, expect, expect_in, expect_not_in
from product import Setup, edge_node, port_binding, tcp, udp
from world import A, A2, BACKEND, BACKEND2, HOME, HOME_LAN


def build(lab):
    setup = Setup(lab)
    world = setup.world
    world.serve(
        world.backend, "backend", "page:8080", "talk:8081", "talk:8091", "echo:7000", "echo:51820"
    )
    world.serve(world.edges["a"], "vps", "talk:22")
    setup.start()
    setup.agent.bind("web", tcp(80, f"{BACKEND}:8080"))
    return setup


def web_serves(setup):
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", "another object's port")


wrong_names = (f"wrong-{number}" for number in itertools.count())


def refused(setup, reason, words, *bindings):
    """The last of these bindings is refused for this reason, and nothing else suffers."""
    name = next(wrong_names)  # a new one each time: no status of before
    setup.agent.write(name, port_binding(name, *bindings))
    got_reason, message = setup.agent.refusal(name, bindings[-1]["name"])
    expect(got_reason, reason, message)
    for word in words:
        expect_in(word, message)
    for good in bindings[:-1]:
        setup.agent.wait_ready(name, good["name"])
    status, _, message = setup.agent.binding_condition(name)
    expect(status, "False", "the object")
    expect_in(f"spec.bindings[{len(bindings) - 1}]", message)
    web_serves(setup)
    setup.agent.remove(name)


@case
def one_wrong_binding(setup):
    """C6: of a valid and a wrong binding in one object the valid one serves, the other is named."""
    setup.agent.write(
        "mixed",
        port_binding("mixed", tcp(200, f"{BACKEND}:8081", "good"), tcp(70000, BACKEND, "bad")),
    )
    setup.agent.wait_ready("mixed", "good")
    expect(setup.ask(ask.talk, A, 200), f"backend:8081 saw {HOME_LAN}: hello")
    status, _, message = setup.agent.binding_condition("mixed")
    expect(status, "False")
    expect_in("spec.bindings[1]", message)
    setup.agent.remove("mixed")


@case
def two_bindings_on_one_listener(setup):
    """V1: two bindings of one object on one listener: the first serves, the second names both."""
    refused(
        setup, "ListenerConflict", ["tcp/443", "first", "second"],
        tcp(443, f"{BACKEND}:8081", "first"), tcp(443, f"{BACKEND2}:8091", "second"),
    )


@case
def tcp_and_udp_on_one_port(setup):
    """V2: TCP and UDP on one port serve both, in one object and in two."""
    setup.agent.bind("both", tcp(443, f"{BACKEND}:8081"), udp(443, f"{BACKEND}:7000"))
    setup.agent.bind("dns-tcp", tcp(53, f"{BACKEND}:8081"))
    setup.agent.bind("dns-udp", udp(53, f"{BACKEND}:7000"))
    for port in (443, 53):
        expect(setup.ask(ask.talk, A, port), f"backend:8081 saw {HOME_LAN}: hello")
        expect(setup.ask(ask.echo, A, port), f"backend:7000 saw {HOME_LAN}: hello")
    for name in ("both", "dns-tcp", "dns-udp"):
        setup.agent.remove(name)


@case
def the_tunnels_port(setup):
    """V3: a UDP binding on the tunnel's port is refused with the port named."""
    refused(setup, "PortReserved", ["51820"], udp(51820, f"{BACKEND}:7000"))


@case
def tcp_on_the_tunnels_port(setup):
    """V5: TCP on the number of the tunnel's port serves."""
    setup.agent.bind("tcp-51820", tcp(51820, f"{BACKEND}:8081"))
    expect(setup.ask(ask.talk, A, 51820), f"backend:8081 saw {HOME_LAN}: hello")
    setup.agent.remove("tcp-51820")


@case
def the_older_object_wins(setup):
    """V6: of two objects on one listener the older serves, and the younger names it."""
    agent = setup.agent
    old, new = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
    agent.write("younger", port_binding("younger", tcp(210, f"{BACKEND2}:8091"), created=new))
    agent.wait_ready("younger")
    agent.write("older", port_binding("older", tcp(210, f"{BACKEND}:8081"), created=old))
    agent.wait_ready("older")
    reason, message = agent.refusal("younger")
    expect(agent.refusal("younger", "tcp-210")[0], "ListenerConflict", f"{reason} {message}")
    expect_in("default/older", agent.refusal("younger", "tcp-210")[1])
    expect(setup.ask(ask.talk, A, 210), f"backend:8081 saw {HOME_LAN}: hello")
    web_serves(setup)
    agent.remove("older")
    agent.wait_ready("younger")
    expect(setup.ask(ask.talk, A, 210), f"backend:8091 saw {HOME_LAN}: hello")
    agent.remove("younger")


@case
def one_binding_name_in_two_objects(setup):
    """V7: two objects may use the same binding name."""
    setup.agent.bind("first", tcp(220, f"{BACKEND}:8081", "same"))
    setup.agent.bind("second", tcp(221, f"{BACKEND2}:8091", "same"))
    expect(setup.ask(ask.talk, A, 220), f"backend:8081 saw {HOME_LAN}: hello")
    expect(setup.ask(ask.talk, A, 221), f"backend:8091 saw {HOME_LAN}: hello")
    setup.agent.remove("first")
    setup.agent.remove("second")


@case
def settings_of_the_other_protocol(setup):
    """V9: TCP with udp settings and UDP with tcp settings are refused."""
    refused(
        setup, "InvalidOptions", ["udp"],
        tcp(230, f"{BACKEND}:8081", udp={"sessionTimeout": "30s"}),
    )
    refused(
        setup, "InvalidOptions", ["tcp"],
        udp(230, f"{BACKEND}:7000", tcp={"idleTimeout": "30s"}),
    )


@case
def both_or_neither_target(setup):
    """V9: a target with both or neither of service and address is refused."""
    both = tcp(231, f"{BACKEND}:8081")
    both["target"]["service"] = {"name": "web"}
    refused(setup, "InvalidTarget", ["service", "address"], both)
    neither = tcp(231, f"{BACKEND}:8081")
    neither["target"] = {"port": 8081}
    refused(setup, "InvalidTarget", ["service", "address"], neither)


@case
def features_that_are_not_there(setup):
    """V10: tls and proxyProtocol are FeatureNotAvailable, and no port is opened."""
    for fields in (
        {"tls": {"mode": "Passthrough"}},
        {"tcp": {"proxyProtocol": "v2"}},
    ):
        wrong = tcp(232, f"{BACKEND}:8081", **fields)
        refused(setup, "FeatureNotAvailable", list(fields), wrong)
        expect(setup.ask(ask.talk, A, 232), "no: connection refused")


@case
def targets_that_are_none(setup):
    """V11, V12: an address without a port, or that is no address, is refused."""
    refused(setup, "InvalidTarget", ["port"], tcp(233, BACKEND))
    for address in ("foo", "", "10.0.0.0/8", "example.com"):
        wrong = tcp(233, f"{address}:80")
        refused(setup, "InvalidTarget", ["target.address"], wrong)


@case
def ports_that_are_none(setup):
    """V13: ports 0 and 65536 and a range that ends before it begins are refused with the value."""
    for port in (0, 65536):
        refused(setup, "InvalidPort", ["listenPort", str(port)], tcp(port, f"{BACKEND}:8081"))
    refused(
        setup, "InvalidRange", ["endPort", "299"],
        udp(300, BACKEND, endPort=299),
    )


@case
def protocols_that_are_none(setup):
    """V13: SCTP and ICMP are refused by name."""
    for protocol in ("SCTP", "ICMP"):
        wrong = tcp(234, f"{BACKEND}:8081")
        wrong["protocol"] = protocol
        refused(setup, "InvalidProtocol", [protocol], wrong)


@case
def range_with_a_moved_target_port(setup):
    """A range keeps its ports: another target port is refused."""
    refused(setup, "InvalidRange", ["target.port"], udp("300-310", f"{BACKEND}:400"))


@case
def overlapping_ranges(setup):
    """Two ranges that overlap: the first serves, the second names it."""
    refused(
        setup, "ListenerConflict", ["low", "high", "7010-7020"],
        udp("7000-7010", BACKEND, "low"), udp("7010-7020", BACKEND, "high"),
    )


@case
def ranges_over_reserved_ports(setup):
    """V16: a range over ssh or the tunnel is refused with the port named, and both go on."""
    refused(setup, "PortReserved", ["22"], tcp("1-65535", BACKEND))
    refused(setup, "PortReserved", ["51820"], udp("50000-52000", BACKEND))
    refused(setup, "PortReserved", ["22"], tcp(22, f"{BACKEND}:8081"))
    expect(setup.ask(ask.talk, A, 22)[:3], "vps")


@case
def durations(setup):
    """V17: whole seconds are taken; fractions and nonsense are refused with the value."""
    for text in ("500ms", "BOGUS", "-1s", "0"):
        refused(
            setup, "InvalidDuration", ["sessionTimeout", text],
            udp(235, f"{BACKEND}:7000", udp={"sessionTimeout": text}),
        )


@case
def public_address_of_nobody(setup):
    """A binding on an address that the edge does not have is refused with the address."""
    refused(
        setup, "PublicIPNotOnEdge", ["203.0.113.77"],
        tcp(236, f"{BACKEND}:8081", publicIP="203.0.113.77"),
    )


@case
def every_public_address(setup):
    """publicIP "*" listens on all addresses of the edge."""
    setup.agent.bind("all", tcp(237, f"{BACKEND}:8081", publicIP="*"))
    for address in (A, A2):
        expect(setup.ask(ask.talk, address, 237), f"backend:8081 saw {HOME_LAN}: hello")
    setup.agent.remove("all")


@case
def preserve_behind_the_uplink(setup):
    """clientIP Preserve for a target that is not on the uplink's host is refused."""
    refused(
        setup, "PreserveNotPossible", [BACKEND],
        tcp(238, f"{BACKEND}:8081", clientIP="Preserve"),
    )


@case
def unknown_edge(setup):
    """A binding for an EdgeNode that does not exist says so, and is served when it comes."""
    setup.agent.write("lost", port_binding("lost", tcp(239, f"{BACKEND}:8081"), edge="nowhere"))
    expect_in("nowhere", setup.agent.refusal("lost")[1])
    web_serves(setup)
    setup.agent.remove("lost")


@case
def file_that_does_not_parse(setup):
    """V18: a file with an unknown key is refused whole, and its last good version serves."""
    good = port_binding("kept", tcp(240, f"{BACKEND}:8081"))
    setup.agent.write("kept", good)
    setup.agent.wait_ready("kept")
    bad = port_binding("kept", tcp(241, f"{BACKEND}:8081", listnPort=1))
    setup.agent.write("kept", bad)
    eventually(lambda: expect_in("listnPort", setup.agent.process.output()))
    expect_in("kept.yaml:", setup.agent.process.output())
    expect(setup.ask(ask.talk, A, 240), f"backend:8081 saw {HOME_LAN}: hello")
    expect(setup.ask(ask.talk, A, 241), "no: connection refused")
    setup.agent.write("kept", good)
    setup.agent.remove("kept")


@case
def plan_touches_nothing(setup):
    """clusteragent plan prints what an edge would get, and nothing changes by it."""
    # When what the case before took away is gone.
    eventually(lambda: expect_not_in(" . 240", setup.edge.table()))
    before = setup.edge.table()
    folder = setup.world.home.folder / "planned"
    folder.mkdir()
    (folder / "edge.yaml").write_text(PLANNED)
    text = setup.agent.cli("plan", "--manifests", folder).stdout
    for words in ("vps", "203.0.113.9", "tcp/443", f"{BACKEND}:8080"):
        expect_in(words, text)
    expect(setup.edge.table(), before)


PLANNED = f"""
apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata: {{name: vps}}
spec: {{address: 203.0.113.9}}
---
apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata: {{name: web, namespace: default}}
spec:
  edgeNodeRef: {{name: vps}}
  bindings:
  - name: https
    protocol: TCP
    listenPort: 443
    target: {{address: {BACKEND}, port: 8080}}
"""


def planned(setup, edge, *objects):
    """The plan for an EdgeNode and other objects, of a fresh agent."""
    folder = setup.world.home.folder / "planned-one"
    folder.mkdir(exist_ok=True)
    agent = setup.agent
    before, agent.manifests = agent.manifests, folder
    try:
        agent.write("edge", edge, *objects)
        return agent.cli("plan", "--manifests", folder).stdout
    finally:
        agent.manifests = before


@case
def the_tunnels_port_however_written(setup):
    """V3, V4: the tunnel's port is refused, default or explicit; free when the tunnel moves."""
    wanted = port_binding("w", udp(51820, f"{BACKEND}:7000"))
    for spec in ({}, {"tunnel": {}}, {"tunnel": {"listenPort": 51820}}):
        expect_in("PortReserved", planned(setup, edge_node("a", A, **spec), wanted), str(spec))
    moved = planned(setup, edge_node("a", A, tunnel={"listenPort": 51821}), wanted)
    expect_not_in("PortReserved", moved)
    expect_in("udp/51820", moved)


@case
def networks(setup):
    """V14: networks of 64 blocks are taken; others are refused by name."""
    for network in ("10.210.0.0/18", "10.210.0.0/22", "10.210.0.0/24", "10.210.0.128/25"):
        expect_in(network, planned(setup, edge_node("a", A, tunnel={"network": network})))
    for network in ("10.210.0.0/26", "10.210.0.0/31", "10.210.0.1/22", "not-a-cidr"):
        node = edge_node("a", A, tunnel={"network": network})
        folder = setup.world.home.folder / "network.yaml"
        setup.agent.manifests, before = folder.parent, setup.agent.manifests
        setup.agent.write("network", node)
        setup.agent.manifests = before
        done = setup.agent.cli("validate", folder, check=False)
        expect(done.returncode != 0, True, network)
        expect_in(network, done.stdout + done.stderr)
    overlapping = planned(
        setup, edge_node("a", A, tunnel={"network": "10.210.0.0/22"}),
        edge_node("b", "203.0.113.129", tunnel={"network": "10.210.2.0/24"}),
    )
    expect_in("NetworkOverlap", overlapping)


@case
def plan_knows_this_host(setup):
    """V14: the plan knows the routes and addresses of the host that it is made on."""
    routed = planned(setup, edge_node("a", A, tunnel={"network": "10.244.0.0/22"}))
    expect_in("NetworkOverlap", routed)
    expect_in("10.244.1.0/24", routed)
    preserve = port_binding("own", tcp(80, f"{HOME}:80", clientIP="Preserve"))
    expect_in("Preserve", planned(setup, edge_node("a", A), preserve))
    expect_not_in("PreserveNotPossible", planned(setup, edge_node("a", A), preserve))


@case
def defaults_of_two_edges(setup):
    """V15: two EdgeNodes with everything left out get ports and networks that do not collide."""
    text = planned(setup, edge_node("a", A), edge_node("b", "203.0.113.129"))
    expect_in("51820", text)
    expect_in("10.200.0.0/22", text)
    expect_in("10.200.4.0/22", text)
