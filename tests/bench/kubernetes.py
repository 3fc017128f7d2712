"""What passes between a change in the Kubernetes API and the first packet: a real control
plane, the agent with a kubeconfig, edged on another host, wireguard-go between the two."""

import errno
import re
import select
import socket
import time

import results
from apiserver import Api
from controller import A, Setup, service

KINDS = {
    "PortBinding": "/apis/edged.dev/v1alpha1/namespaces/default/portbindings/moving",
    "Service": "/api/v1/namespaces/default/services/moving",
}
FIRST_PORT = 20_000
PATIENCE = 0.05  # until a connection that nobody answers counts as lost
PAUSE = 0.0005  # between two that were refused
LONGEST = 10.0


def connects(address):
    """Whether somebody takes a connection now; None: nobody answers at all."""
    with socket.socket() as attempt:
        attempt.setblocking(False)
        if attempt.connect_ex(address) not in (0, errno.EINPROGRESS):
            return False
        if not select.select([], [attempt], [], PATIENCE)[1]:
            return None
        return attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def port_binding(port):
    target = {"service": {"name": "target", "port": 80}}
    return {
        "apiVersion": "edged.dev/v1alpha1", "kind": "PortBinding",
        "metadata": {"name": "moving", "namespace": "default"},
        "spec": {"edgeNodeRef": {"name": "a"},
                 "bindings": [{"name": "main", "protocol": "TCP", "listenPort": port,
                               "target": target}]},
    }


class Changes:
    """Ports of an object change, again and again, and a client knocks until it is let in."""

    def __init__(self, lab, effort):
        self._effort = effort
        self._setup = Setup(lab)
        self._setup.agent.run()
        self._setup.join()
        self._api = Api(self._setup.cluster)
        self._lost = 0
        self._setup.add_backend("target")
        self._setup.cluster.apply(port_binding(FIRST_PORT))
        self._setup.cluster.apply(*service(
            "moving", FIRST_PORT + 10_000, type="LoadBalancer",
            loadBalancerClass="edged.dev/edge",
        ))

    def rows(self):
        for kind, first in (("PortBinding", FIRST_PORT), ("Service", FIRST_PORT + 10_000)):
            self._until_served(first)
            self._lost = 0
            times = [self._change(kind, first + 1 + turn) for turn in range(self._effort.api_changes)]
            name = f"{kind} changed in the API until a client's first connection"
            applied = self._applied()[-len(times):]
            note = (
                f"{len(times)} changes; edge alone {results.percentile(applied, 50):.2g} ms; "
                f"{self._lost} SYNs unanswered"
            )
            yield results.Row.median(f"{name}: p50", times, "ms", results.at_most(50), note)
            longest = f"longest {max(times):.0f} ms"
            yield results.Row(f"{name}: p99", results.percentile(times, 99), "ms",
                              results.at_most(200), note=longest)

    def _change(self, kind, port):
        """Milliseconds from before the request is written."""
        start = time.monotonic()
        if kind == "PortBinding":
            bindings = port_binding(port)["spec"]["bindings"]
            self._api.patch(KINDS[kind], {"spec": {"bindings": bindings}})
        else:
            self._api.patch(KINDS[kind], {"spec": {"ports": [{"name": "http", "port": port}]}})
        self._until_served(port)
        taken = (time.monotonic() - start) * 1000
        time.sleep(0.05)  # what follows, statuses above all, is not the next one's
        return taken

    def _until_served(self, port):
        deadline = time.monotonic() + LONGEST
        with self._setup.world.client.network():
            while not (answer := connects((A, port))):
                if time.monotonic() > deadline:
                    raise AssertionError(f"nobody answers on port {port}")
                if answer is None:
                    self._lost += 1
                else:
                    time.sleep(PAUSE)

    def _applied(self):
        """What the edge says that each version took, in ms."""
        log = self._setup.edge.process.output()
        return [float(taken) for taken in re.findall(r"version \d+: .* ([0-9.]+) ms", log)]


def rows(lab, effort):
    yield from Changes(lab, effort).rows()
