"""One edge with many mappings, in a folder of manifests: what one change of them costs the
agent."""

from expect import becomes
from processor import changes_row
from product import Setup, port_binding, tcp, udp
from results import at_most
from world import BACKEND

TARGET = f"{BACKEND}:8080"
MOST_BINDINGS = 128  # of one object
OBJECTS = 16  # of one file
FIRST_PORT = 1024
CHANGED_PORT = 60_000  # above all others
TURNS = 9
PAUSE = 1.5  # until all that a change leads to has been done
SECONDS = 60


def objects(count):
    """With so many single ports, half of them UDP."""
    ports = range(FIRST_PORT, FIRST_PORT + count // 2)
    bindings = [make(port, TARGET) for make in (tcp, udp) for port in ports]
    return [
        port_binding(f"many-{first:05}", *bindings[first:first + MOST_BINDINGS])
        for first in range(0, count, MOST_BINDINGS)
    ]


def rows(lab, effort):
    setup = Setup(lab)
    agent = setup.agent

    def change(turn):
        agent.write("one", port_binding("one", tcp(CHANGED_PORT + turn, TARGET)))

    setup.start()
    every = objects(effort.mappings)
    for first in range(0, len(every), OBJECTS):
        agent.write(f"many-{first:05}", *every[first:first + OBJECTS])
    change(TURNS)
    becomes(lambda: setup.edge.status().get("mappingCount"), str(effort.mappings + 1), SECONDS)
    agent.wait_ready("one", seconds=SECONDS)
    yield changes_row(
        "processor time of the agent for one change of a mapping, at "
        f"{effort.mappings:,} on one edge",
        agent.process.pid, change, TURNS, PAUSE, at_most(500),
    )
