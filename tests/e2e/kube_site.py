"""A private Kubernetes behind a NAT, edges on the internet, and the agent installed as a
user would: the world of tests/netns with a node in the place of the home."""

import json

from cluster import Cluster
from configs import PODS
from expect import eventually, expect
from image import agent_image
from lab import ROOT
from product import Edge, condition
from world import A, HOME, HOME6, World

MANIFESTS = ROOT / "packaging/kubernetes/userspace"
CLASS = "edged.dev/edge"


def deployment(name, *command, replicas=1, namespace="default"):
    """Pods that run testbox; a page listens on 8080, an echo on 7000."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "testbox", "image": "tests.local/testbox:1",
                        "imagePullPolicy": "Never", "args": [*command, name],
                    }],
                },
            },
        },
    }


def service(name, port=80, target_port=8080, protocol="TCP", namespace="default", **spec):
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "main", "port": port, "targetPort": target_port,
                       "protocol": protocol}],
            **spec,
        },
    }


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels}}


def port_binding(name, port, target, edge="vps"):
    """One binding to the Service that `target` says."""
    return {
        "apiVersion": "edged.dev/v1alpha1", "kind": "PortBinding",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "edgeNodeRef": {"name": edge},
            "bindings": [{"name": "main", "protocol": "TCP", "listenPort": port,
                          "target": {"service": target}}],
        },
    }


class Site:
    def __init__(self, lab, edges=("a",), ipv6=False):
        self.lab = lab
        self.world = World(lab, edges)
        # The provider's router knows the way to Pods, which nobody masquerades.
        self.world.cgnat.ip(f"route add {PODS[0]} via {HOME}")
        if ipv6:
            self.world.add_ipv6()
        self.edges = {name: Edge(host) for name, host in self.world.edges.items()}
        self.cluster = Cluster(self.world.home, HOME, HOME6 if ipv6 else None)

    def start(self):
        """The node, with the agent applied to it."""
        self.start_node()
        self.install()
        return self

    def start_node(self):
        self.cluster.start_node(images=[agent_image(self.lab.folder)])

    def install(self):
        self.cluster.kubectl("apply", "-k", MANIFESTS, seconds=60)

    def add_edge(self, name="vps", edge="a", **spec):
        """An EdgeNode, and edged on its host."""
        self.cluster.apply({
            "apiVersion": "edged.dev/v1alpha1", "kind": "EdgeNode",
            "metadata": {"name": name}, "spec": {"address": A, **spec},
        })
        return self.edges[edge].run()

    def join(self, name="vps", edge="a"):
        """The edge joins by a token of the agent; until it is Ready."""
        token = eventually(lambda: self.agent("token", name), 60, pause=0.5)
        self.edges[edge].join(token)
        self.cluster.wait("edgenode", name, "condition=Ready", seconds=60)

    def agent(self, *words):
        """What a command prints in a Pod of the agent."""
        return self.cluster.kubectl(
            "-n", "edged", "exec", "deployment/clusteragent", "--", "/usr/bin/clusteragent",
            *words,
        ).stdout

    def serve(self, name, *command, namespace="default", **options):
        """Pods that run testbox, ready."""
        self.cluster.apply(deployment(name, *command, namespace=namespace, **options))
        self.cluster.wait("deployment", name, "condition=Available", 60, namespace)

    def public_address(self, name):
        """Waits until the Service has one."""

        def look():
            balancer = self.cluster.get("service", name)["status"]["loadBalancer"]
            [ingress] = balancer.get("ingress") or [None]
            expect(bool(ingress), True, f"{name} has a public address")
            return ingress["ip"]

        return eventually(look, 30, pause=0.1)

    def becomes(self, name, reason, seconds=20):
        """Waits until the PortBinding has this reason; the message."""

        def look():
            status = self.cluster.get("portbinding", name).get("status", {})
            _, found, message = condition(status.get("conditions", []), "Ready")
            expect(found, reason, message)
            return message

        return eventually(look, seconds, pause=0.1)

    def patch_agent(self, **spec):
        """Changes what the Deployment says of its Pods."""
        patch = {"spec": {"template": {"spec": spec}}}
        self.cluster.kubectl("-n", "edged", "patch", "deployment", "clusteragent", "-p",
                             json.dumps(patch))

    def agents(self):
        """The Pods of the agent that are not about to go."""
        listed = self.cluster.get("-n", "edged", "pods")["items"]
        return [one["metadata"]["name"] for one in listed
                if "deletionTimestamp" not in one["metadata"]]

    def agent_log(self, pod):
        return self.cluster.kubectl("-n", "edged", "logs", pod).stdout

    def events_of(self, name, namespace="default"):
        """(reason, message) of each Event about an object."""
        listed = self.cluster.get("-n", namespace, "events",
                                  f"--field-selector=involvedObject.name={name}")
        return [(one["reason"], one["message"]) for one in listed["items"]]

    def kill(self, pod):
        """Ends the agent in a Pod without a word; its container is started again."""
        for container in self._containers(pod):
            self.cluster.ctr("tasks", "kill", "-s", "SIGKILL", container)

    def in_network_of(self, pod, script):
        """What a shell of the node prints in the network of an agent's Pod."""
        [container] = self._containers(pod)
        tasks = self.cluster.ctr("tasks", "ls").stdout.splitlines()
        [pid] = [line.split()[1] for line in tasks if line.startswith(container)]
        return self.cluster.inside(["nsenter", "-t", pid, "-n", "sh", "-ec", script]).stdout

    def _containers(self, pod):
        labels = {"pod.name": pod, "container.name": "clusteragent"}
        wanted = ",".join(f'labels."io.kubernetes.{name}"=={one}' for name, one in labels.items())
        return self.cluster.ctr("containers", "ls", "-q", wanted).stdout.split()

    def ask(self, question, *arguments):
        """A question of ask.py from the internet."""
        with self.world.client.network():
            return question(*arguments)
