"""What others do on purpose to the API of an edge, and to its ownership."""

import contextlib
import shutil
import threading
import time

import http2
from case import case
from expect import becomes, eventually, expect, expect_in
from product import EDGE_OVERLAY, NETWORKS, Agent, edge_node, port_binding
from served import (
    MEGABYTE, SAW, Undisturbed, descriptors, memory, page, serves_more, serving, socket_of, web,
)
from world import A

API = (EDGE_OVERLAY["a"], 7443)


@case
def message_of_100_megabytes(lab):
    """A message of 100 MB is refused by name, and takes little memory while it comes."""
    setup = serving(lab)
    before = memory(setup.edge)
    flood = http2.Flood(socket_of(setup.edge), streams=1, size=100 * MEGABYTE)
    flood.pump(5.0)
    grown = memory(setup.edge) - before
    print(f"    sent {flood.sent() / MEGABYTE:.1f} MB, grown {grown / MEGABYTE:.1f} MB")
    expect(flood.ended, {1}, "streams that were ended")
    expect_in(b"grpc-message", flood.said)
    expect(grown < 64 * MEGABYTE, True, f"grown by {grown}")
    flood.close()
    serves_more(setup)


@case
def messages_without_end(lab):
    """Hundreds of large messages that are never complete do not take the edge's memory."""
    setup = serving(lab)
    floods = [http2.Flood(socket_of(setup.edge), streams=50, size=4_000_000) for _ in range(10)]
    with Undisturbed(setup):
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            for flood in floods:
                flood.pump(0.02)
    sent = sum(flood.sent() for flood in floods)
    expect(sent > 100 * MEGABYTE, True, f"sent {sent} bytes")
    most = memory(setup.edge)
    print(f"    sent {sent / MEGABYTE:.0f} MB, the edge has {most / MEGABYTE:.1f} MB at most")
    expect(most < 160 * MEGABYTE, True, f"the edge grew to {most} bytes")
    serves_more(setup)
    for flood in floods:
        flood.close()


@case
def thousand_streams_dropped(lab):
    """1,000 connections that open a stream and vanish leave no descriptor behind."""
    setup = serving(lab)
    before = descriptors(setup.edge)
    for where, host in ((socket_of(setup.edge), None), (API, setup.world.home)):
        with host.network() if host else contextlib.nullcontext():
            for number in range(500):
                flood = http2.Flood(where, streams=1 + number % 3, size=(number % 2) * 1000)
                if number % 5 == 0:
                    flood.pump(0.002)
                flood.close()
    becomes(lambda: descriptors(setup.edge) <= before, True, 10, "descriptors as before")
    serves_more(setup)


@case
def silent_connections_are_closed(lab):
    """Whoever connects and says nothing is disconnected within half a minute."""
    setup = serving(lab)
    before = descriptors(setup.edge)
    held = [http2.connect(socket_of(setup.edge)) for _ in range(20)]
    becomes(lambda: descriptors(setup.edge) >= before + 15, True, 8, "they are taken")
    becomes(lambda: descriptors(setup.edge) <= before, True, 30, "descriptors as before")
    for one in held:
        one.close()


@case
def connections_without_end(lab):
    """Of thousands of connections from one uplink the edge keeps a few."""
    setup = serving(lab)
    before = descriptors(setup.edge)
    held = []
    with Undisturbed(setup), setup.world.home.network():
        for _ in range(3000):
            held.append(http2.connect(API))
        # Three for each of eight.
        expect(descriptors(setup.edge) <= before + 24, True, "descriptors")
        with contextlib.closing(http2.connect(socket_of(setup.edge))):
            expect(setup.edge.cli("status").returncode, 0, "edged status meanwhile")
    serves_more(setup)
    for one in held:
        one.close()


def under_attack(setup, frames, seconds=4, connections=4):
    """Attacks the API from the uplink by some connections at once. The uplink stays alive and
    served, and as soon as it ends new mappings are served, too."""
    before = memory(setup.edge)
    results = []

    def attack():
        with setup.world.home.network():
            results.append(http2.attack(API, frames, seconds))

    attackers = [threading.Thread(target=attack) for _ in range(connections)]
    with Undisturbed(setup, stream=False):
        for attacker in attackers:
            attacker.start()
        while any(attacker.is_alive() for attacker in attackers):
            becomes(lambda: page(setup), SAW, 3)
            time.sleep(0.1)
        for attacker in attackers:
            attacker.join()
    port = 100 + len(list(setup.agent.manifests.iterdir()))
    start = time.monotonic()
    setup.agent.write(f"more-{port}", port_binding(f"more-{port}", web(port)))
    becomes(lambda: page(setup, port), SAW, 15)
    written, hung_up = (sum(column) for column in zip(*results))
    grown = memory(setup.edge) - before
    print(
        f"    {frames.__name__}: {written} written, hung up {hung_up} times, "
        f"grown by {grown / MEGABYTE:.1f} MB, a mapping {time.monotonic() - start:.1f} s after it"
    )
    expect(written > 0, True, "something was written")
    expect(grown < 64 * MEGABYTE, True, f"the edge grew by {grown} bytes")


@case
def rapid_resets(lab):
    """Streams that are opened and taken back without end hold up nobody."""
    setup = serving(lab)
    under_attack(setup, http2.rapid_resets)

    def of_nothing():
        return http2.resets_of("edged.v1.EdgeService", "NoSuchMethod")

    def of_health():
        return http2.resets_of("grpc.health.v1.Health", "Check")

    for frames in (of_nothing, of_health):
        under_attack(setup, frames, seconds=3)


@case
def control_frames_without_end(lab):
    """Floods of pings, settings and headers hold up nobody."""
    setup = serving(lab)
    for frames in (http2.pings, http2.settings, http2.headers_without_end):
        under_attack(setup, frames, seconds=3)


@case
def answers_that_nobody_reads(lab):
    """Whoever asks without end and reads nothing holds up nobody."""
    setup = serving(lab)

    def states():
        return http2.calls("GetState")

    def listings():
        return http2.calls("ListMappings")

    for frames in (states, listings):
        under_attack(setup, frames, seconds=3)


def stranger(setup, control_key=False):
    """An agent of another cluster that believes the edge to be its own: with a token of its own
    that nobody joined, or with all that the owner's agent has but its uplink's key."""
    lab, world = setup.lab, setup.world
    host = lab.host("stranger")
    lab.wire(host, "eth0", "192.0.3.2/24", world.internet, "stranger", "192.0.3.1/24")
    host.ip("route add default via 192.0.3.1")
    agent = Agent(host)
    agent.write("a", edge_node("a", A, tunnel={"network": NETWORKS["a"]}))
    if not control_key:
        agent.token("a")
        return agent.run()
    shutil.copytree(setup.agent.state, agent.state, dirs_exist_ok=True)
    owner = setup.edge.status()["enrolment"]["clusterUid"]
    cluster = agent.state / "cluster.yaml"
    cluster.write_text(
        cluster.read_text().replace(owner, "00000000-0000-0000-0000-000000000001")
    )
    key = agent.state / "keys/a.yaml"
    own = host.run(["wg", "genkey"]).stdout.strip()
    lines = [
        f"privateKey: {own}" if line.startswith("privateKey:") else line
        for line in key.read_text().splitlines()
    ]
    key.write_text("\n".join([*lines, ""]))
    return agent.run()


def undisturbed(setup, seconds):
    """The owner is served all the time, on one and the same stream."""
    deadline = time.monotonic() + seconds
    number = 100
    with Undisturbed(setup):
        while time.monotonic() < deadline:
            serves_more(setup, number)
            number += 1
            time.sleep(0.2)


@case
def two_clusters_at_once(lab):
    """Another cluster's agent that wants the same edge gets nothing and disturbs nobody."""
    setup = serving(lab)
    other = stranger(setup)
    undisturbed(setup, 4)
    eventually(lambda: expect(other.edge_condition("a", "TunnelUp")[0], "False"), 15)
    expect(other.edge_condition("a")[0], "False", "Ready for the stranger")


@case
def two_clusters_with_one_control_key(lab):
    """Another cluster with the owner's control key is refused by the name of the owner, and
    disturbs nobody."""
    setup = serving(lab)
    owner = setup.edge.status()["enrolment"]["clusterUid"]
    other = stranger(setup, control_key=True)
    eventually(lambda: expect_in(owner, other.process.output()), 25)
    expect_in("edged reset --owner", other.process.output())
    undisturbed(setup, 4)
    expect(other.edge_condition("a")[0], "False", "Ready for the stranger")
    expect(setup.edge.status()["enrolment"]["clusterUid"], owner)
