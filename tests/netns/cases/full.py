"""One tenant wants more than an edge is asked for."""

import ask
from case import case
from expect import eventually, expect, expect_in
from product import Setup, condition, port_binding, tcp, udp
from world import A, BACKEND, HOME_LAN

WITH_ACCESS = 1_024
SAW = f"backend:8080 saw {HOME_LAN}"


def denying(number):
    return {"denyCIDRs": [f"10.0.{number // 256}.{number % 256}/32"]}


def greedy(first, last):
    """An object with access, and so a group, of its own for each port."""
    bindings = [udp(10_000 + i, f"{BACKEND}:8080", access=denying(i)) for i in range(first, last)]
    return port_binding(f"greedy-{first:05}", *bindings, created="2026-01-02T00:00:00Z")


def groups(setup):
    """How many groups the edge has; its answer leaves an empty list out."""
    return len(setup.edge.status().get("groups", []))


@case
def more_groups_than_an_edge_is_asked_for(lab):
    """Who wants 1,100 groups with access gets what is left of 1,024, and hears why it gets no
    more; an older object changes, and a younger one comes, as if nothing was."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    setup.start()
    old = {"created": "2026-01-01T00:00:00Z"}
    setup.agent.write("old", port_binding("old", tcp(80, f"{BACKEND}:8080"), **old))
    setup.agent.write("greedy", *(greedy(i, i + 100) for i in range(0, 1_100, 100)))
    eventually(lambda: expect(groups(setup), WITH_ACCESS + 1), 30, pause=0.2)

    def refused():
        status = setup.agent.status("portbindings", "default.greedy-01000")
        ready, reason, message = condition(status["conditions"], "Ready")
        expect((ready, reason), ("False", "EdgeFull"))
        expect_in(f"EdgeNode a takes {WITH_ACCESS} groups with access", message)

    eventually(refused, 20, pause=0.2)
    setup.agent.write("young", port_binding(
        "young", tcp(81, f"{BACKEND}:8080"), created="2026-01-03T00:00:00Z"))
    setup.agent.wait_ready("young", seconds=20)
    setup.agent.write("old", port_binding(
        "old", tcp(80, f"{BACKEND}:8080"),
        tcp(82, f"{BACKEND}:8080", access=denying(60_000)), **old))
    for port in (80, 81, 82):
        eventually(lambda port=port: expect_in(SAW, setup.ask(ask.page, A, port)), 20, pause=0.2)
    expect(groups(setup), WITH_ACCESS + 1)
    # What it gives back others may have.
    setup.agent.remove("greedy")
    eventually(lambda: expect(groups(setup), 2), 20, pause=0.2)
    expect_in(SAW, setup.ask(ask.page, A, 80))
