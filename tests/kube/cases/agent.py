"""The agent with an API server: objects become traffic, and hear what came of them."""

import time

from case import case
from controller import A, A2, CLASS, Setup, events_of, ingress, service
from expect import eventually, expect, expect_in
from product import port_binding, tcp, udp
from stream import Stream
from world import BACKEND

LIMIT_SECONDS = 120


def build(lab):
    setup = Setup(lab)
    setup.agent.run()
    return setup.join()


def to_service(name, port, service_name="web", **target):
    return {"name": name, "protocol": "TCP", "listenPort": port,
            "target": {"service": {"name": service_name, "port": 80, **target}}}


@case
def serves_an_address(setup):
    """A PortBinding to an address is Ready, and its clients are answered."""
    setup.cluster.apply(port_binding("address", tcp(80, f"{BACKEND}:8080")))
    setup.wait_ready("portbinding", "address")
    setup.becomes_served(80)
    row = setup.cluster.kubectl("get", "pb", "address", "--no-headers").stdout.split()
    expect_in(A, row)


@case
def serves_a_service(setup):
    """A PortBinding to a Service follows its endpoints; without the Service it says so."""
    setup.cluster.apply(port_binding("service", to_service("http", 81)))
    eventually(lambda: expect(setup.condition("pb", "service")[1], "ServiceNotFound"), 10)
    setup.add_backend("web")
    setup.wait_ready("pb", "service")
    setup.becomes_served(81)


@case
def one_wrong_object_holds_up_nobody(setup):
    """A binding that conflicts says whom it lost to; the older one goes on."""
    setup.cluster.apply(port_binding("old", tcp(82, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "old")
    setup.cluster.apply(port_binding("young", tcp(82, f"{BACKEND}:8080")))

    def refused():
        status, reason, message = setup.condition("pb", "young")
        expect((status, reason), ("False", "ListenerConflict"))
        expect_in("default/old", message)

    eventually(refused, 10)
    setup.wait_ready("pb", "old")
    told = [reason for reason, _ in events_of(setup.cluster, "PortBinding", "young")]
    expect(told, ["ListenerConflict"])
    told = [reason for reason, _ in events_of(setup.cluster, "EdgeNode", "a")]
    expect(sorted(told), ["Enrolled", "Ready"])
    setup.cluster.kubectl("delete", "pb", "old")
    setup.wait_ready("pb", "young")
    setup.becomes_served(82)


@case
def a_load_balancer_of_our_class_gets_an_address(setup):
    """A Service of our class has the address in its status, and is reached there."""
    setup.add_backend("balanced", 90, type="LoadBalancer", loadBalancerClass=CLASS)

    def served():
        found = ingress(setup.cluster, "balanced")
        expect(len(found), 1)
        expect(found[0]["ipMode"], "VIP")
        expect(found[0]["ports"], [{"port": 90, "protocol": "TCP"}])
        return found[0]["ip"]

    address = eventually(served, 10)
    setup.becomes_served(90, address)
    setup.cluster.kubectl("delete", "service", "balanced")
    eventually(lambda: expect("refused" in setup.page(90, address), True), 5)


@case
def an_exposed_service_has_an_annotation(setup):
    """edged.dev/expose on a ClusterIP Service: its address is in an annotation, and goes."""
    name = "edged.dev/public-addresses"
    setup.cluster.apply(*service("exposed", 91, annotations={"edged.dev/expose": "true"}))

    def annotation():
        meta = setup.cluster.get("service", "exposed")["metadata"]
        return meta.get("annotations", {}).get(name, "")

    eventually(lambda: expect(annotation() in (A, A2), True), 10)
    setup.becomes_served(91, annotation())
    setup.cluster.kubectl("annotate", "service", "exposed", "edged.dev/expose-")
    eventually(lambda: expect(annotation(), ""), 10)


@case
def ready_is_probed(setup):
    """/healthz and /readyz answer."""
    expect(setup.agent.probe("/healthz"), (200, "ok\n"))
    expect(setup.agent.probe("/readyz"), (200, "ok\n"))
    expect(setup.agent.probe("/other")[0], 404)


@case
def a_resync_writes_nothing(setup):
    """What is as it should be is not written again, by no agent and after no restart."""

    def versions():
        return {
            (kind, one["metadata"]["name"]): one["metadata"]["resourceVersion"]
            for kind in ("edgenodes", "portbindings", "services", "uplinks")
            for one in setup.cluster.get("-A", kind)["items"]
        }

    eventually(lambda: expect(versions(), versions()), 10, pause=1)
    before = versions()
    setup.agent.process.kill()
    setup.agent.run()
    eventually(lambda: setup.agent.leads(2), 40, pause=0.5)
    setup.wait_ready("edgenode", "a")
    time.sleep(3)
    after = versions()
    expect({key: (before[key], after[key]) for key in before if before[key] != after[key]}, {})


@case
def a_killed_agent_loses_nothing(setup):
    """A stream goes on while the agent is killed and begins anew, again and again: it takes
    nothing for deleted that it has not read yet."""
    setup.world.serve(setup.world.backend, "echo", "echo:7000")
    setup.cluster.apply(port_binding("stream", udp(7000, f"{BACKEND}:7000")))
    setup.wait_ready("pb", "stream")
    terms = setup.agent.log().count("leading cluster")
    with Stream(setup.world.client, A, 7000) as stream:
        for _ in range(6):
            setup.agent.process.kill()
            setup.agent.run()
            time.sleep(1)
    print(f"    {stream.told()}")
    expect(stream.lost(), [])
    eventually(lambda: setup.agent.leads(terms + 1), 40, pause=0.5)
    setup.cluster.kubectl("delete", "pb", "stream")


@case
def a_deleted_edge_node_leaves_a_clean_edge(setup):
    """The finalizer holds the EdgeNode until its edge has nothing mapped any more."""
    setup.cluster.kubectl("delete", "edgenode", "a", "--timeout=15s", seconds=20)
    expect("80" in setup.edge.table().split("map ports4")[1].split("}")[0], False)
