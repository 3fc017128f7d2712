"""How soon edged has everything in the kernel again. Times are told, not judged."""

import re
import time
from datetime import datetime, timezone

import ask
from case import case
from expect import becomes, eventually, expect
from product import Setup, port_binding, tcp
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
