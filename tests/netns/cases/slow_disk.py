"""Both daemons on disks that take long for each sync."""

import os
import time

from case import case
from expect import Skipped, eventually, expect, within
from lab import BUILD
from product import Setup, port_binding, tcp, udp
from stream import Stream
from world import A, BACKEND

SYNC = 1.0  # seconds; whoever waits for one misses four heartbeats
COUNT = 6


def disturbed(log):
    """What was said about heartbeats that did not come in time."""
    return [line for line in log.splitlines() if "suspect" in line or "TunnelDown" in line]


@case
def heartbeats_do_not_wait_for_a_disk(lab):
    """While both daemons write to slow disks, uplinks stay alive and edged answers."""
    if BUILD.name == "asan":
        raise Skipped("AddressSanitizer must be the first library")
    speed = lab.folder / "sync-milliseconds"
    speed.write_text("0")
    os.environ["SLOW_FSYNC"] = str(speed)
    os.environ["LD_PRELOAD"] = str(BUILD / "tests/fakes/libslow_fsync.so")
    try:
        setup = Setup(lab)
        setup.world.serve(setup.world.backend, "backend", "page:8080", "echo:7000")
        setup.start()
    finally:
        del os.environ["LD_PRELOAD"]
    setup.agent.bind("echo", udp(7000, f"{BACKEND}:7000"))
    key = lambda: setup.edge.status()["tunnel"].get("keyOfToken", False)  # noqa: E731
    eventually(lambda: expect(key(), False, "key of the token"), 10)
    time.sleep(1)
    logs = [setup.edge.process.log, setup.agent.process.log]
    before = [len(log.read_text()) for log in logs]

    speed.write_text(str(int(SYNC * 1000)))
    with Stream(setup.world.client, A, 7000) as stream:
        for number in range(COUNT):
            name = f"web-{number}"
            setup.agent.write(name, port_binding(name, tcp(80 + number, f"{BACKEND}:8080")))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with within(0.9 * SYNC, "edged status"):
                setup.edge.cli("status")
            time.sleep(0.1)
    speed.write_text("0")
    said = [log.read_text()[start:] for log, start in zip(logs, before)]
    expect([disturbed(text) for text in said], [[], []], "silence")
    expect(stream.lost(), [], "lost datagrams")
    for number in range(COUNT):
        setup.agent.wait_ready(f"web-{number}", seconds=15)
