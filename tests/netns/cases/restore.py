"""How soon edged has everything in the kernel again. Times are told, not judged."""

import re
import time
from datetime import datetime, timezone

import ask
from case import case
from expect import becomes, eventually, expect
from product import Setup, port_binding, tcp, udp
from slowness import SLOWNESS
from stream import Stream
from world import A, BACKEND, HOME_LAN

COUNT = 10_000
FIRST = 10_000


def serving_after(edge):
    """Milliseconds from the start of the process until edged says that it serves."""
    began = time.time()
    edge.process.log.write_text("")
    edge.start()
    edge.process.wait_for("serving: device", 30)
    line = next(l for l in edge.process.output().splitlines() if "serving: device" in l)
    expect(int(re.search(r"(\d+) mappings", line)[1]), COUNT, line)
    at = datetime.strptime(line.split()[0], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return (at.timestamp() - began) * 1000


def elements(edge):
    """How many single ports are mapped in the kernel."""
    listed = edge.host.run(["nft", "list", "map", "inet", "edged", "ports4"], seconds=30).stdout
    return listed.count(" : 0x")


@case
def ten_thousand_mappings(lab):
    """10,000 mappings and the peers are in the kernel again after a reboot, or a restart."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    setup.start()
    setup.agent.write("many", port_binding("many", *[
        tcp(port, f"{BACKEND}:8080", name=f"p{port}")
        for port in range(FIRST, FIRST + COUNT)
    ]))
    setup.agent.wait_ready("many", seconds=30)
    edge = setup.edge
    eventually(lambda: expect(elements(edge), COUNT), 10)
    peers = edge.host.run(["wg", "show", "edged0", "peers"]).stdout.split()
    time.sleep(1.2)  # its state is on disk within a second

    edge.process.kill()
    after_restart = serving_after(edge)
    edge.process.kill()
    edge.host.run(["nft", "flush", "ruleset"])
    edge.host.ip("link set edged0 down\naddress flush dev edged0")
    for peer in peers:
        edge.host.run(["wg", "set", "edged0", "peer", peer, "remove"])
    after_loss = serving_after(edge)
    expect(elements(edge), COUNT)
    for port in (FIRST, FIRST + COUNT - 1):
        becomes(lambda: setup.ask(ask.page, A, port), f"backend:8080 saw {HOME_LAN}", 5)
    print(f"    {COUNT} mappings: all is there {after_loss:.0f} ms after the start, "
          f"{after_restart:.0f} ms where the kernel still had it", flush=True)


@case
def network_comes_late(lab):
    """A VPS whose way to the internet comes after edged, with the agent dead and the uplink
    idle: the edge speaks first, and traffic flows within 2 s."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "echo:7000")
    setup.start()
    setup.agent.write("one", port_binding("one", udp(7000, f"{BACKEND}:7000")))
    setup.agent.wait_ready("one")
    becomes(lambda: "uses key" in setup.agent.process.output(), True)
    edge = setup.edge
    time.sleep(1)
    setup.agent.process.kill()
    edge.process.kill()
    edge.host.run(["sh", "-c", "nft flush ruleset; conntrack -F"], check=False)
    way = edge.host.run(["ip", "route", "show", "default"]).stdout.strip()
    edge.host.ip("route del default\nlink set edged0 down")
    for peer in edge.host.run(["wg", "show", "edged0", "peers"]).stdout.split():
        edge.host.run(["wg", "set", "edged0", "peer", peer, "remove"])
    edge.run()
    with Stream(setup.world.client, A, 7000) as stream:
        time.sleep(1.5)
        expect(stream.first_answer_after(0), None, "an answer without a way")
        edge.host.ip(f"route add {way}")
        start = time.monotonic()
        eventually(lambda: expect(stream.first_answer_after(start) is not None, True, "an answer"))
        took = stream.first_answer_after(start) - start
    print(f"    traffic {took:.2f} s after the way")
    expect(took < 2 * SLOWNESS, True, f"{took:.2f} s is below 2 s")
