"""One edge and one uplink that serve a page, and what a case looks at meanwhile."""

import time
from pathlib import Path

import ask
from expect import becomes, eventually, expect, expect_in, expect_not_in
from product import SOCKET, Setup, port_binding, tcp
from world import A, BACKEND, HOME_LAN

SAW = f"backend:8080 saw {HOME_LAN}"
MEGABYTE = 1 << 20


def serving(lab, edges=("a",)):
    """A setup in which port 80 of edge a is served."""
    setup = Setup(lab, edges)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    setup.start()
    setup.agent.bind("web", web(80))
    return setup


def web(port):
    """A binding of the page."""
    return tcp(port, f"{BACKEND}:8080")


def page(setup, port=80):
    return setup.ask(ask.page, A, port)


def serves_more(setup, port=81):
    """A mapping that is wished for now is served, and those before go on."""
    setup.agent.write(f"more-{port}", port_binding(f"more-{port}", web(port)))
    setup.agent.wait_ready(f"more-{port}", seconds=15)
    expect(page(setup, port), SAW)
    expect(page(setup), SAW)


def becomes_served(setup, port=80, seconds=10):
    becomes(lambda: page(setup, port), SAW, seconds)


def socket_of(edge):
    return str(edge.host.folder) + SOCKET


def proc(daemon):
    """Of the program of an Edge or an Agent."""
    name = type(daemon).__name__
    program = {"Edge": "edged", "Agent": "clusteragent"}[name]
    return Path("/proc") / str(daemon.host.pids_of(program)[0])


def descriptors(daemon):
    return len(list((proc(daemon) / "fd").iterdir()))


def memory(daemon, what="VmHWM"):
    """VmRSS or VmHWM in bytes."""
    for line in (proc(daemon) / "status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what}")


def warnings(edge):
    return " / ".join(edge.status().get("warnings", []))


class Undisturbed:
    """A block in which the uplink must not die and be served; with `stream`, on one and the
    same Sync stream. Suspect it may be, for heartbeats that this machine held up."""

    def __init__(self, setup, stream=True):
        self.setup = setup
        self._words = ["→ dead", *(["connected, epoch", "disconnected"] if stream else [])]

    def __enter__(self):
        self._said = self._noise()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            expect(page(self.setup), SAW)
            expect(self._noise(), self._said, "what edged said")

    def _noise(self):
        lines = self.setup.edge.process.output().splitlines()
        return [line for line in lines if any(word in line for word in self._words)]


def durable(edge, seconds=8):
    eventually(lambda: expect_not_in("StateNotDurable", warnings(edge)), seconds)


def not_durable(edge, why):
    eventually(lambda: expect_in("StateNotDurable", warnings(edge)))
    expect_in(why, warnings(edge))
    expect_in("StateNotDurable", edge.cli("status").stdout)


def inside(host, path):
    """A path of the host, also where something is mounted over it there."""
    holder = (host.folder / "holder.pid").read_text().strip()
    return Path(f"/proc/{holder}/root{path}")


def settled():
    """Long enough for the edge to have written its state."""
    time.sleep(1.2)
