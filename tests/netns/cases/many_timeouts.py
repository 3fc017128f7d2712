"""As many timeouts as bindings."""

import time

from case import case
from expect import eventually, expect
from product import Setup, port_binding, udp
from world import BACKEND

COUNT = 10_000
# Seconds, for one more: 2.6 on a busy machine of two cores. Of 4,000 one more took 0.8, and 4 when
# each timeout had a set of its own.
BOUND = 8


@case
def each_with_its_own(lab):
    """10,000 bindings with as many different timeouts are served, and one more soon."""
    setup = Setup(lab)
    setup.start()
    for begin in range(0, COUNT, 1000):
        name = f"many-{begin}"
        setup.agent.write(name, port_binding(name, *(
            udp(10_000 + i, f"{BACKEND}:7000", udp={"sessionTimeout": f"{i + 1}s"})
            for i in range(begin, begin + 1000))))
    began = time.monotonic()
    eventually(
        lambda: expect(int(setup.edge.status().get("mappingCount", 0)), COUNT), 60, pause=0.1)
    setup.agent.wait_ready(f"many-{COUNT - 1000}", seconds=60)
    took = time.monotonic() - began
    began = time.monotonic()
    setup.agent.write("late", port_binding("late", udp(9_000, f"{BACKEND}:7000")))
    setup.agent.wait_ready("late", seconds=BOUND)
    print(f"    {COUNT} timeouts: {took:.1f} s, one more: {time.monotonic() - began:.1f} s")
