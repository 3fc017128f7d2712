"""The product with a control plane: edges on the internet, agents that are
uplinks and controllers, and one backend behind them.

    client --- internet --- a (VPS)
                  |
                cgnat --- home (agent) --- backend
                            |
                         control (Kubernetes)
"""

import json

import ask
from cluster import Cluster
from expect import becomes, eventually, expect, expect_in
from lab import ROOT
from product import CLUSTERAGENT, STATE, WIREGUARD_GO, Edge, condition, edge_node
from world import A, A2, BACKEND, HOME_LAN, World

CRDS = ROOT / "packaging/kubernetes/crds"
NAMESPACE = "edged"
CLASS = "edged.dev/edge"
PROBES = "127.0.0.1:8081"
SAW = f"backend:8080 saw {HOME_LAN}"


class Controller:
    """clusteragent on one host, with Kubernetes; `environment` are words NAME=VALUE."""

    def __init__(self, host, cluster, name="home", config=None, environment=()):
        self.host = host
        self.cluster = cluster
        self.name = name
        self.config = config or cluster.admin
        self.environment = environment
        self.wireguard_go = WIREGUARD_GO  # or what stands in for it
        self.process = None

    def run(self, *options):
        command = [
            "env", *self.environment, CLUSTERAGENT, "run", "--kubeconfig", self.config,
            "--namespace", NAMESPACE, "--name", self.name, "--state", STATE,
            "--wireguard-go", self.wireguard_go, "--health-probe-bind-address", PROBES,
            "--drain-time", "500ms", *options,
        ]
        self.process = self.host.start(command, f"clusteragent-{self.name}")
        return self

    def token(self, edge, **options):
        words = [CLUSTERAGENT, "token", edge, "--kubeconfig", self.cluster.admin,
                 "--namespace", NAMESPACE]
        return self.host.run(words, **options)

    def probe(self, path):
        """(status, body) of a GET."""
        done = self.host.run(["curl", "-s", "-w", "\n%{http_code}", f"http://{PROBES}{path}"])
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def log(self):
        """Of all its processes."""
        return self.process.output()

    def leads(self, times=1):
        """That it began to lead so often."""
        expect(self.log().count("leading cluster") >= times, True, "leads")


class Setup:
    """A world, a control plane and the CRDs; no agent yet. `apiserver` are more options of
    the API server."""

    def __init__(self, lab, with_crds=True, apiserver=()):
        self.lab = lab
        self.world = World(lab, ("a",))
        self.edge = Edge(self.world.edges["a"])
        self.cluster = Cluster(lab.host("control"), "10.77.0.2", apiserver=apiserver)
        lab.wire(self.world.home, "control", "10.77.0.1/24",
                 self.cluster.host, "eth0", "10.77.0.2/24")
        self.cluster.start()
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        if with_crds:
            self.add_crds()
        self.agent = Controller(self.world.home, self.cluster)
        self.world.serve(self.world.backend, "backend", "page:8080")

    def add_crds(self):
        self.cluster.kubectl("apply", "-k", CRDS)
        self.cluster.kubectl("wait", "crd", "--for=condition=Established", "--timeout=15s",
                             *(f"{one}.edged.dev" for one in ("edgenodes", "portbindings", "uplinks")))

    def join(self):
        """An EdgeNode, a token, a join, until it is Ready."""
        self.cluster.apply(edge_node("a", A, (A, A2)))
        self.edge.run()
        token = eventually(lambda: self.agent.token("a"), 20, pause=0.2).stdout
        self.edge.join(token)
        self.wait_ready("edgenode", "a")
        return self

    def wait_ready(self, kind, name, seconds=15):
        def attempt():
            status, reason, message = self.condition(kind, name)
            expect(status, "True", f"{kind} {name} Ready: {reason} {message}")

        eventually(attempt, seconds, pause=0.1)

    def condition(self, kind, name, what="Ready", namespace="default"):
        found = self.cluster.get("-n", namespace, kind, name)
        return condition(found.get("status", {}).get("conditions", []), what)

    def page(self, port=80, address=A):
        with self.world.client.network():
            return ask.page(address, port)

    def becomes_served(self, port=80, address=A, seconds=10):
        becomes(lambda: self.page(port, address), SAW, seconds)

    def add_backend(self, name="web", port=80, namespace="default", **spec):
        """A Service without selector, and its endpoint: the backend's page."""
        self.cluster.apply(*service(name, port, namespace, **spec))


def add_node(setup, name="second"):
    """Another node of the home: beside the first one, with ways of its own."""
    lab, world = setup.lab, setup.world
    host = lab.host(name)
    lab.wire(host, "eth0", "192.168.2.2/24", world.cgnat, "lan2", "192.168.2.1/24")
    host.ip("route add default via 192.168.2.1")
    lab.wire(host, "lan", "10.244.2.1/24", world.backend, "eth1", "10.244.2.5/24")
    host.ip(f"route add {BACKEND}/32 via 10.244.2.5")
    lab.wire(host, "control", "10.78.0.1/24", setup.cluster.host, "eth1", "10.78.0.2/24")
    host.ip("route add 10.77.0.2/32 via 10.78.0.2")
    return host


def service(name, port=80, namespace="default", annotations=None, **spec):
    meta = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    port_name = "http"
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"ports": [{"name": port_name, "port": port}], **spec}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
         "metadata": {"name": f"{name}-1", "namespace": namespace,
                      "labels": {"kubernetes.io/service-name": name}},
         "addressType": "IPv4",
         "endpoints": [{"addresses": [BACKEND], "conditions": {"ready": True}}],
         "ports": [{"name": port_name, "port": 8080, "protocol": "TCP"}]},
    ]


def events_of(cluster, kind, name):
    """(reason, message) of each of our events about an object."""
    done = cluster.kubectl("get", "events", "-A", "-o", "json",
                           f"--field-selector=involvedObject.kind={kind},"
                           f"involvedObject.name={name},source=clusteragent")
    return [(one["reason"], one["message"]) for one in json.loads(done.stdout)["items"]]


def ingress(cluster, name, namespace="default"):
    """The addresses in the status of a Service."""
    found = cluster.get("-n", namespace, "service", name)
    return found["status"].get("loadBalancer", {}).get("ingress", [])


__all__ = ["A", "A2", "CLASS", "NAMESPACE", "SAW", "Controller", "Setup", "add_node", "events_of",
           "expect_in", "ingress", "service"]
