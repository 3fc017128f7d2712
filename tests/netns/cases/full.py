"""One tenant wants more than an edge is asked for."""

import ask
from case import case
from expect import eventually, expect, expect_in
from product import Setup, condition, port_binding, tcp, udp
from world import A, BACKEND, HOME_LAN

LIMIT_SECONDS = 120
GROUPS = 16_384
SAW = f"backend:8080 saw {HOME_LAN}"


def greedy(first, last):
    """An object with access, and so a group, of its own for each port."""
    bindings = [udp(10_000 + i, f"{BACKEND}:8080",
                    access={"denyCIDRs": [f"10.0.{i // 256}.{i % 256}/32"]})
                for i in range(first, last)]
    return port_binding(f"greedy-{first:05}", *bindings, created="2026-01-02T00:00:00Z")


def groups(setup):
    return len(setup.edge.status()["groups"])


@case
def more_groups_than_an_edge_is_asked_for(lab):
    """Who wants 16,500 groups gets what is left of 16,384, and hears why it gets no more; an
    older object changes, and a younger one comes, as if nothing was."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    setup.start()
    old = {"created": "2026-01-01T00:00:00Z"}
    setup.agent.write("old", port_binding("old", tcp(80, f"{BACKEND}:8080"), **old))
    setup.agent.write("greedy", *(greedy(i, i + 100) for i in range(0, 16_500, 100)))
    eventually(lambda: expect(groups(setup), GROUPS), 60, pause=0.5)

    def refused():
        status = setup.agent.status("portbindings", "default.greedy-16400")
        ready, reason, message = condition(status["conditions"], "Ready")
        expect((ready, reason), ("False", "EdgeFull"))
        expect_in(f"EdgeNode a takes {GROUPS} groups", message)

    eventually(refused, 30, pause=0.5)
    setup.agent.write("young", port_binding(
        "young", tcp(81, f"{BACKEND}:8080"), created="2026-01-03T00:00:00Z"))
    setup.agent.wait_ready("young", seconds=30)
    setup.agent.write("old", port_binding(
        "old", tcp(80, f"{BACKEND}:8080"),
        tcp(82, f"{BACKEND}:8080", tcp={"idleTimeout": "77s"}), **old))
    for port in (80, 81, 82):
        eventually(lambda port=port: expect_in(SAW, setup.ask(ask.page, A, port)), 20, pause=0.5)
    expect(groups(setup), GROUPS)
    # What it gives back others may have.
    setup.agent.remove("greedy")
    eventually(lambda: expect(groups(setup), 2), 30, pause=0.5)
    expect_in(SAW, setup.ask(ask.page, A, 80))
