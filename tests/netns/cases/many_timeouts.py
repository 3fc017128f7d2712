"""As many timeouts as an edge takes."""

import time

from case import case
from expect import eventually, expect, expect_in
from product import Setup, port_binding, udp
from world import BACKEND

COUNT = 256
BOUND = 8  # seconds, for one more binding


def timed(first, last):
    return [udp(10_000 + i, f"{BACKEND}:7000", udp={"sessionTimeout": f"{i + 1}s"})
            for i in range(first, last)]


@case
def each_with_its_own(lab):
    """256 bindings with as many different timeouts are served, and one more soon; a timeout more
    is refused alone, and served when another one has gone."""
    setup = Setup(lab)
    setup.start()
    agent = setup.agent
    agent.write("many", port_binding("many", *timed(0, COUNT), created="2026-01-01T00:00:00Z"))
    agent.wait_ready("many", seconds=20)
    expect(int(setup.edge.status()["mappingCount"]), COUNT)
    began = time.monotonic()
    agent.write("late", port_binding("late", udp(9_000, f"{BACKEND}:7000")))
    agent.wait_ready("late", seconds=BOUND)
    print(f"    one more: {time.monotonic() - began:.1f} s")
    agent.write("odd", port_binding("odd", *timed(COUNT, COUNT + 1)))

    def refused():
        ready, reason, message = agent.binding_condition("odd")
        expect((ready, reason), ("False", "EdgeFull"))
        expect_in("takes 256 different timeouts at most", message)

    eventually(refused)
    agent.write("many", port_binding("many", *timed(1, COUNT), created="2026-01-01T00:00:00Z"))
    agent.wait_ready("odd", seconds=BOUND)
