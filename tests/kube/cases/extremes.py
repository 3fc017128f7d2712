"""Objects as large and as long as Kubernetes allows, a clock that is set anew, and what the
agent keeps in the cluster deleted under it."""

import json

from case import case
from controller import CLASS, NAMESPACE, Setup, events_of, ingress, service
from expect import becomes, eventually, expect, expect_in
from lab import BUILD
from product import edge_node, port_binding, tcp
from world import BACKEND

LIMIT_SECONDS = 120
PORTS = range(2000, 2300)
LONG_NAMESPACE = "n" * 63
# Where the name of its Events cuts it off, after 200 characters, stands a dash.
LONG_NAME = ".".join(["x" * 63, "x" * 63, "x" * 63, "x" * 7 + "-" + "x" * 53])


def build(lab):
    setup = Setup(lab)
    setup.clock = lab.folder / "clock-shift"
    setup.clock.write_text("0")
    if BUILD.name != "asan":  # which must be the first library
        setup.agent.environment = [
            f"LD_PRELOAD={BUILD}/tests/fakes/libshifted_clock.so", f"SHIFTED_CLOCK={setup.clock}",
        ]
    setup.agent.run("--resync-interval", "2s")
    return setup.join()


def changes_are_followed(setup, port):
    setup.cluster.apply(port_binding(f"port-{port}", tcp(port, f"{BACKEND}:8080")))
    setup.wait_ready("pb", f"port-{port}")
    setup.becomes_served(port)
    setup.cluster.kubectl("delete", "pb", f"port-{port}")


@case
def a_service_of_300_ports(setup):
    """Every port is served and stands in the Service's status; one more and one less are
    followed; when it goes, all do."""
    def many(ports):
        both = service("many", type="LoadBalancer", loadBalancerClass=CLASS)
        both[0]["spec"]["ports"] = [
            {"name": f"p{port}", "port": port, "targetPort": 8080} for port in ports]
        both[1]["ports"] = [{"name": f"p{port}", "port": 8080, "protocol": "TCP"}
                            for port in PORTS]
        setup.cluster.apply(*both)

    def told():
        return [one["port"] for each in ingress(setup.cluster, "many") for one in each["ports"]]

    many(PORTS)
    becomes(told, list(PORTS), 20)
    address = ingress(setup.cluster, "many")[0]["ip"]
    for port in (PORTS[0], PORTS[150], PORTS[-1]):
        setup.becomes_served(port, address)
    expect([port for port in PORTS if "saw" not in setup.page(port, address)], [])
    many(PORTS[1:])
    becomes(told, list(PORTS[1:]), 20)
    becomes(lambda: setup.page(PORTS[0], address)[:3], "no:", 10)
    setup.becomes_served(PORTS[1], address)
    setup.cluster.kubectl("delete", "service", "many")
    becomes(lambda: setup.page(PORTS[1], address)[:3], "no:", 10)


@case
def names_of_the_greatest_length(setup):
    """An EdgeNode and a PortBinding of 253 characters, a Namespace, a Service, a port and a
    binding of as many as they may have: served, and told of by status and Event."""
    setup.cluster.kubectl("create", "namespace", LONG_NAMESPACE)
    name = "s" * 63
    both = service(name, 80, LONG_NAMESPACE)
    both[0]["spec"]["ports"][0]["name"] = both[1]["ports"][0]["name"] = "p" * 63
    both[1]["metadata"]["name"] = "e" * 253
    binding = {"name": "b" * 63, "protocol": "TCP", "listenPort": 90,
               "target": {"service": {"name": name, "port": "p" * 63}}}
    setup.cluster.apply(*both, port_binding(LONG_NAME, binding, namespace=LONG_NAMESPACE))
    eventually(lambda: expect(
        setup.condition("pb", LONG_NAME, namespace=LONG_NAMESPACE)[0], "True"), 15)
    setup.becomes_served(90)
    binding["publicIP"] = "198.51.100.77"
    setup.cluster.apply(port_binding(LONG_NAME, binding, namespace=LONG_NAMESPACE))

    def told():
        found = dict(events_of(setup.cluster, "PortBinding", LONG_NAME))
        expect_in("Ready", found)
        expect_in("b" * 63, found.get("PublicIPNotOnEdge", ""))

    eventually(told, 15)
    setup.cluster.apply(edge_node(LONG_NAME, "203.0.113.77"))
    setup.cluster.apply(port_binding("to-long", tcp(91, f"{BACKEND}:8080"), edge=LONG_NAME))
    eventually(lambda: expect_in(LONG_NAME, setup.condition("pb", "to-long")[2]), 15)
    token = eventually(lambda: setup.agent.token(LONG_NAME), 10, pause=0.2).stdout
    expect(len(token) > 100, True, "a token")
    setup.cluster.kubectl("-n", LONG_NAMESPACE, "delete", "pb,service", "--all")
    setup.cluster.kubectl("delete", "pb", "to-long")
    setup.cluster.kubectl("annotate", "en", LONG_NAME, "edged.dev/skip-deprovision=true")
    setup.cluster.kubectl("delete", "en", LONG_NAME)


@case
def a_clock_that_is_set_anew(setup):
    """A day ahead, three quarters of an hour back: the agent leads on in its term, keeps its
    tunnels, and follows changes."""
    if not setup.agent.environment:
        return
    term = setup.edge.status()["epoch"]
    for number, shift in enumerate((86_400, -2_700, 0)):
        setup.clock.write_text(str(shift))
        changes_are_followed(setup, 100 + number)
        eventually(lambda: expect(setup.agent.probe("/readyz"), (200, "ok\n")), 5)
    expect(setup.agent.log().count("not leading any more"), 0)
    expect(setup.edge.status()["epoch"], term)


@case
def a_lease_that_is_deleted(setup):
    """Somebody deletes the Lease of a leader: it is there again, and the agent leads on."""
    setup.cluster.kubectl("-n", NAMESPACE, "delete", "lease", "clusteragent")

    def held():
        spec = setup.cluster.get("-n", NAMESPACE, "lease", "clusteragent")["spec"]
        expect(spec["holderIdentity"], "home")

    eventually(held, 15, pause=0.2)
    changes_are_followed(setup, 110)
    setup.wait_ready("edgenode", "a")


@case
def a_control_secret_that_is_deleted(setup):
    """Somebody deletes the Secret of a running agent: it comes back with the same key."""
    def key():
        return setup.cluster.get("-n", NAMESPACE, "secret", "clusteragent")["data"]

    before = key()
    setup.cluster.kubectl("-n", NAMESPACE, "delete", "secret", "clusteragent")
    becomes(key, before, 15)
    expect_in("was lost; made anew", setup.agent.log())
    changes_are_followed(setup, 111)


@case
def objects_of_a_newer_schema(setup):
    """Fields that nobody here knows: in Services and EndpointSlices they mean nothing; in the
    status of an EdgeNode they stay, and its edge is served on."""
    crd = setup.cluster.get("crd", "edgenodes.edged.dev")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["status"]["properties"]["newer"] = {"type": "string"}
    patch = [{"op": "replace", "path": "/spec/versions", "value": crd["spec"]["versions"]}]
    setup.cluster.kubectl("patch", "crd", "edgenodes.edged.dev", "--type=json", "-p",
                          json.dumps(patch))

    def stored():
        setup.cluster.kubectl("patch", "en", "a", "--subresource=status", "--type=merge", "-p",
                              '{"status": {"newer": "field"}}')
        expect(setup.cluster.get("en", "a")["status"].get("newer"), "field")

    eventually(stored, 20, pause=0.3)
    changes_are_followed(setup, 112)
    expect(setup.cluster.get("en", "a")["status"].get("newer"), "field")
    setup.wait_ready("edgenode", "a")
