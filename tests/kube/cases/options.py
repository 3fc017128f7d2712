"""What an operator may set, and what the agent says of itself."""

import re

from case import case
from controller import A, A2, CLASS, Setup, events_of, ingress, service
from expect import becomes, eventually, expect, expect_in
from product import port_binding, tcp
from world import BACKEND, CLIENT

LIMIT_SECONDS = 120
METRICS = "127.0.0.1:8082"
ADDRESSES = "edged.dev/public-addresses"


def build(lab):
    # As before Kubernetes 1.36.
    setup = Setup(lab, apiserver=["--feature-gates=StrictIPCIDRValidation=false"])
    setup.cluster.kubectl("create", "namespace", "shop")
    setup.cluster.kubectl("create", "namespace", "other")
    setup.agent.run("--metrics-bind-address", METRICS, "--watch-namespaces", "default,shop")
    return setup.join()


@case
def uplinks_tell_of_themselves(setup):
    """An Uplink becomes Ready, as kubectl can wait for, and its columns say why it is not."""
    setup.cluster.wait("uplink", "home", "condition=Ready", namespace="edged")
    row = setup.cluster.kubectl("-n", "edged", "get", "uplink", "home", "--no-headers").stdout
    expect_in("True Carrying 1/1", " ".join(row.split()))
    setup.edge.process.kill()

    def down():
        status, reason, message = setup.condition("uplink", "home", namespace="edged")
        expect((status, reason), ("False", "TunnelDown"), message)
        expect_in("EdgeNode a", message)

    eventually(down, 15, pause=0.2)
    row = setup.cluster.kubectl("-n", "edged", "get", "uplink", "home", "--no-headers").stdout
    expect_in("False TunnelDown 0/1", " ".join(row.split()))
    setup.edge.run()
    setup.cluster.wait("uplink", "home", "condition=Ready", namespace="edged")
    setup.wait_ready("edgenode", "a")


@case
def only_the_watched_namespaces_count(setup):
    """--watch-namespaces: objects of others are as if they were not there."""
    for name, port in (("shop", 80), ("other", 81)):
        binding = port_binding("web", tcp(port, f"{BACKEND}:8080"), namespace=name)
        setup.cluster.apply(binding, *service(f"lb-{name}", port + 10, name,
                                              type="LoadBalancer", loadBalancerClass=CLASS))
    eventually(lambda: expect(setup.condition("pb", "web", namespace="shop")[0], "True"), 15)
    setup.becomes_served(80)
    setup.becomes_served(90, eventually(lambda: ingress(setup.cluster, "lb-shop", "shop")[0], 10)
                         ["ip"])
    found = setup.cluster.get("-n", "other", "pb", "web")
    expect(found.get("status", {}), {})
    expect(ingress(setup.cluster, "lb-other", "other"), [])
    expect_in("refused", setup.page(81))
    setup.cluster.kubectl("-n", "shop", "delete", "pb,service", "--all")


@case
def metrics_say_what_is_served(setup):
    """/metrics is in the format of Prometheus, and its numbers are true."""
    setup.cluster.apply(port_binding("counted", tcp(82, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "counted")

    def page():
        done = setup.agent.host.run(["curl", "-s", f"http://{METRICS}/metrics"])
        values = dict(re.findall(r"^(\w+) (\d+)$", done.stdout, re.M))
        for name in values:
            expect_in(f"# HELP {name} ", done.stdout)
            expect_in(f"# TYPE {name} gauge", done.stdout)
        return {name.removeprefix("clusteragent_"): int(value) for name, value in values.items()}

    wanted = {"leader": 1, "edges": 1, "tunnels_up": 1, "mappings": 1, "objects": 2,
              "objects_ready": 2, "uplink_applied": 1}
    becomes(page, wanted, 10)
    setup.cluster.kubectl("delete", "pb", "counted")
    becomes(lambda: (page()["mappings"], page()["objects"]), (0, 1), 10)


@case
def the_status_of_others_is_left_alone(setup):
    """A LoadBalancer Service that somebody else serves keeps its status; our addresses are in
    an annotation, and an Event tells them."""
    setup.cluster.apply(*service("metal", 83, type="LoadBalancer",
                                 loadBalancerClass="metallb.io/metallb"))
    theirs = '{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.200","ipMode":"VIP"}]}}}'
    setup.cluster.kubectl("patch", "service", "metal", "--subresource=status", "--type=merge",
                          "--field-manager=metallb", "-p", theirs)
    setup.cluster.kubectl("annotate", "service", "metal", "edged.dev/expose=true")

    def annotation():
        meta = setup.cluster.get("service", "metal")["metadata"]
        return meta.get("annotations", {}).get(ADDRESSES, "")

    eventually(lambda: expect(annotation() in (A, A2), True), 10)
    setup.becomes_served(83, annotation())
    expect([one["ip"] for one in ingress(setup.cluster, "metal")], ["192.0.2.200"])
    told = events_of(setup.cluster, "Service", "metal")
    expect(told, [("Allocated", f"public addresses: {annotation()}")])
    setup.cluster.kubectl("annotate", "service", "metal", "edged.dev/expose-")
    becomes(annotation, "", 10)
    expect([one["ip"] for one in ingress(setup.cluster, "metal")], ["192.0.2.200"])


@case
def source_ranges_of_a_service(setup):
    """loadBalancerSourceRanges admit their clients and no others, also when they change."""
    def ranges(*texts):
        setup.cluster.apply(*service("ranged", 84, type="LoadBalancer", loadBalancerClass=CLASS,
                                     loadBalancerSourceRanges=list(texts)))

    def ask():
        return ["saw" in page_at(setup, host, 84)
                for host in (setup.world.client, setup.world.cgnat)]

    ranges(f"{CLIENT}/32", "2001:db8::/32")
    eventually(lambda: expect(len(ingress(setup.cluster, "ranged")), 1), 10)
    becomes(ask, [True, False], 10)
    ranges("192.0.2.0/24")
    becomes(ask, [False, True], 10)
    ranges("0.0.0.0/0")
    becomes(ask, [True, True], 10)
    ranges("2001:db8::/32")
    becomes(ask, [False, False], 10)
    setup.cluster.kubectl("delete", "service", "ranged")


@case
def source_ranges_that_are_none(setup):
    """What an API server accepts in loadBalancerSourceRanges and we cannot read closes that
    Service, with an Event that names Service, field and value, also one that was served; other
    ports of this tenant and of others are served on."""
    def tenant(name, namespace, port, *ranges):
        setup.cluster.apply(*service(name, port, namespace, type="LoadBalancer",
                                     loadBalancerClass=CLASS,
                                     loadBalancerSourceRanges=list(ranges)))

    def told():
        return [message for reason, message in events_of(setup.cluster, "Service", "wrong")
                if reason == "InvalidSourceRanges"]

    tenant("right", "default", 87, f"{CLIENT}/32")
    tenant("others", "shop", 88)
    tenant("wrong", "default", 89, f"{CLIENT}/32")
    for name, namespace in (("right", "default"), ("others", "shop"), ("wrong", "default")):
        eventually(lambda: expect(len(ingress(setup.cluster, name, namespace)), 1), 10)
    at = {port: ingress(setup.cluster, name, namespace)[0]["ip"] for name, namespace, port in
          (("right", "default", 87), ("others", "shop", 88), ("wrong", "default", 89))}
    for port, address in at.items():
        setup.becomes_served(port, address)
    tenant("wrong", "default", 89, f"{CLIENT}/32", "010.0.0.0/8")
    eventually(lambda: expect(len(told()), 1), 10)
    for part in ("default/wrong", "spec.loadBalancerSourceRanges[1]", "010.0.0.0/8"):
        expect_in(part, told()[0])
    becomes(lambda: setup.page(89, at[89])[:3], "no:", 10)
    becomes(lambda: ingress(setup.cluster, "wrong"), [], 10)
    for port in (87, 88):
        expect_in("saw", setup.page(port, at[port]))
    tenant("wrong", "default", 89, f"{CLIENT}/32", "10.0.0.0/8")
    eventually(lambda: expect(len(ingress(setup.cluster, "wrong")), 1), 10)
    setup.becomes_served(89, ingress(setup.cluster, "wrong")[0]["ip"])
    setup.cluster.kubectl("delete", "service", "right", "wrong")
    setup.cluster.kubectl("-n", "shop", "delete", "service", "others")


def page_at(setup, host, port):
    address = ingress(setup.cluster, "ranged")[0]["ip"]
    done = host.run(["curl", "-s", "-m", "1", f"http://{address}:{port}/"], check=False)
    return done.stdout


@case
def local_traffic_policy(setup):
    """externalTrafficPolicy: Local where no endpoint is on the uplink's host: an Event says
    that the client's address cannot be kept, and nothing is served under false pretences."""
    def policy(word):
        setup.cluster.apply(*service("local", 85, type="LoadBalancer", loadBalancerClass=CLASS,
                                     externalTrafficPolicy=word))

    policy("Local")

    def told():
        found = dict(events_of(setup.cluster, "Service", "local"))
        expect_in("PreserveNotPossible", found)
        message = found["PreserveNotPossible"]
        expect_in("default/local", message)
        expect_in("externalTrafficPolicy: Local", message)

    eventually(told, 10)
    becomes(lambda: ingress(setup.cluster, "local"), [], 5)
    policy("Cluster")
    eventually(lambda: expect(len(ingress(setup.cluster, "local")), 1), 10)
    setup.becomes_served(85, ingress(setup.cluster, "local")[0]["ip"])
    setup.cluster.kubectl("delete", "service", "local")


@case
def repairs_are_events(setup):
    """What others change on the edge is told once as an Event of its EdgeNode, with who did
    it; a hundred more within a minute are no hundred more Events."""
    host = setup.edge.host
    host.run(["nft", "delete", "map", "inet", "edged", "ports4"], check=False)
    host.run(["nft", "flush", "chain", "inet", "edged", "forward"])

    def told():
        return [message for reason, message in events_of(setup.cluster, "EdgeNode", "a")
                if reason == "Repaired"]

    eventually(lambda: expect(len(told()), 1), 10)
    expect_in("nft (pid ", told()[0])
    expect_in("repaired in ", told()[0])
    for _ in range(20):
        host.run(["nft", "flush", "chain", "inet", "edged", "input"])
    expect(len(told()), 1)


@case
def repairs_of_an_uplink_are_events(setup):
    """The same on the agent's own host, as an Event of its Uplink."""
    host = setup.agent.host
    host.run(["nft", "flush", "chain", "inet", "clusteragent", "forward"])

    def told():
        return [message for reason, message in events_of(setup.cluster, "Uplink", "home")
                if reason == "Repaired"]

    eventually(lambda: expect(len(told()), 1), 10)
    expect_in("nft (pid ", told()[0])
    expect_in("repaired in ", told()[0])
    for _ in range(20):
        host.run(["nft", "flush", "chain", "inet", "clusteragent", "forward"])
    expect(len(told()), 1)


@case
def an_edge_that_is_gone_may_be_forgotten(setup):
    """An EdgeNode whose edge is away stays in deletion, until the annotation lets it go."""
    setup.cluster.apply(port_binding("held", tcp(86, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "held")
    setup.edge.process.kill()
    setup.cluster.kubectl("delete", "edgenode", "a", "--wait=false")

    def deleting():
        meta = setup.cluster.get("edgenode", "a")["metadata"]
        expect_in("deletionTimestamp", meta)
        expect(len(meta["finalizers"]), 1)

    eventually(deleting, 5)
    eventually(deleting, 3, pause=1)
    setup.cluster.kubectl("annotate", "edgenode", "a", "edged.dev/skip-deprovision=true")
    eventually(lambda: expect(setup.cluster.get("edgenode")["items"], []), 10)
