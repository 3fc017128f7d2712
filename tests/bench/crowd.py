"""A cluster with many Services and many edges: what the agent's start and one change cost.

Every edge is edged on a host of its own. Services share one backend. The tunnels do not
encrypt: 200 times wireguard-go would take most of what such a machine has, and it is the
agent that is measured.
"""

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import results
from apiserver import Api
from controller import Setup, service
from expect import eventually, expect
from place import PROGRAMS
from processor import changes_row
from product import CLUSTERAGENT, Edge, edge_node

FIRST_PORT = 10_000
WRITERS = 4
TUNNEL = PROGRAMS / "bench_tunnel"
PAUSE = 0.5  # until all that a change leads to has been done
SECONDS = 120
# Of one user on the whole machine; each edged and wireguard-go takes some.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


def address_of(number):
    """In what RFC 2544 keeps for benchmarks."""
    return f"198.18.{number}.1"


def name_of(number):
    return f"e{number:03}"


class Crowd:
    def __init__(self, lab, effort):
        self._effort = effort
        self._setup = Setup(lab)
        self._cluster = self._setup.cluster
        self._edges = [self._wire(lab, number) for number in range(self._effort.edges)]
        self._agent = self._setup.agent
        self._agent.wireguard_go = TUNNEL

    def _wire(self, lab, number):
        host = lab.host(name_of(number))
        address = address_of(number)
        router = f"{address.rpartition('.')[0]}.254"
        lab.wire(host, "eth0", f"{address}/24", self._setup.world.internet, f"to-{number}",
                 f"{router}/24")
        host.ip(f"route add default via {router}")
        return Edge(host)

    def rows(self):
        self._join_all()
        self._agent.process.stop()
        self._create_services()
        begun = time.time()
        self._agent.run()
        ended = eventually(self._all_ready, SECONDS, pause=1)
        services, edges = self._effort.services, self._effort.edges
        yield results.Row(
            f"agent started until {services:,} Services are Ready on {edges} edges",
            ended - begun, "s", results.at_most(10), note=f"{edges} tunnels without encryption",
        )
        self._rest()
        yield results.Row("resident memory of the agent after that", self._resident(), "MB",
                          results.at_most(120))
        yield from self._changes()

    def _join_all(self):
        self._cluster.apply(*(edge_node(name_of(number), address_of(number))
                              for number in range(self._effort.edges)))
        self._agent.run()
        eventually(lambda: self._agent.token(name_of(0)), 30, pause=0.5)
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self._join, range(self._effort.edges)))
        eventually(self._all_connected, SECONDS, pause=0.5)

    def _join(self, number):
        self._edges[number].run(("--wireguard-go", TUNNEL))
        token = eventually(lambda: self._agent.token(name_of(number)), 30, pause=0.5).stdout
        self._edges[number].join(token)

    def _all_connected(self):
        found = set(re.findall(r"edge (\S+): connected", self._agent.log()))
        expect(len(found), self._effort.edges, "edges that are connected")

    def _create_services(self):
        def create(part):
            api = Api(self._cluster)
            for number in range(part, self._effort.services, WRITERS):
                for one in service(
                    f"s{number}", FIRST_PORT + number, type="LoadBalancer",
                    loadBalancerClass="edged.dev/edge",
                    allocateLoadBalancerNodePorts=False,  # there are 2,768
                    annotations={"edged.dev/edge-nodes": name_of(number % self._effort.edges)},
                ):
                    api.create(one)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(create, range(WRITERS)))

    def _all_ready(self):
        """When the last Service was: on its edge and carried; in seconds since 1970."""
        last = {name: (moment, ready) for moment, name, ready in re.findall(
            r"^(\S+) .* Service default/(s\d+): Ready=(\w+)", self._agent.log(), re.MULTILINE,
        )}
        ready = [moment for moment, word in last.values() if word == "True"]
        expect(len(ready), self._effort.services, "Services that are Ready")
        return max(datetime.fromisoformat(moment).timestamp() for moment in ready)

    def _rest(self):
        """Until all statuses are written."""

        def all_told():
            told = [one for one in self._cluster.get("services")["items"]
                    if one["status"]["loadBalancer"].get("ingress")]
            expect(len(told), self._effort.services, "Services that know their address")

        eventually(all_told, 4 * SECONDS, pause=1)
        time.sleep(5)

    def _changes(self):
        api = Api(self._cluster)
        seen = len(self._agent.log())
        yield changes_row(
            "processor time of the agent for one change of a Service", self._pid(),
            lambda turn: api.patch(
                "/api/v1/namespaces/default/services/s7",
                {"spec": {"ports": [{"name": "http", "port": 50_000 + turn}]}},
            ),
            self._effort.api_changes // 4, PAUSE, results.at_most(5),
        )
        touched = set(re.findall(r"edge (\S+): version", self._agent.log()[seen:]))
        yield results.Row("edges that such a change touches", len(touched), "", results.at_most(1))

    def _pid(self):
        [pid] = self._agent.host.pids_of(CLUSTERAGENT.name)
        return pid

    def _resident(self):
        status = Path(f"/proc/{self._pid()}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024 / 1e6


@contextlib.contextmanager
def many_watches():
    before = INOTIFY.read_text()
    INOTIFY.write_text("8192")
    try:
        yield
    finally:
        INOTIFY.write_text(before)


def rows(lab, effort):
    with many_watches():
        yield from Crowd(lab, effort).rows()
