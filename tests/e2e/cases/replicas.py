"""What ends, dies or is away in a cluster, and what clients on the internet see of it."""

import contextlib
import http.client
import threading
import time

import ask
from case import case
from expect import becomes, eventually, expect
from kube_site import CLASS, Site, service
from slowness import SLOWNESS
from world import A

LIMIT_SECONDS = 240


def build(lab):
    site = Site(lab).start()
    site.serve("web", "page", ":8080")
    site.add_edge()
    site.join()
    site.cluster.apply(service("web", type="LoadBalancer", loadBalancerClass=CLASS))
    answered(site)
    both_carry(site)
    return site


def answered(site, port=80, seconds=20):
    eventually(
        lambda: expect(site.ask(ask.page, A, port)[:7], "web saw", f"port {port}"), seconds,
        pause=0.05,
    )


def both_carry(site, count=2):
    """So many uplinks there are, alive, and carry what the edge has."""

    def look():
        uplinks = site.edges["a"].status()["uplinks"]
        alive = [one.get("appliedDigest") for one in uplinks if one.get("alive")]
        expect((len(uplinks), len(alive), len(set(alive))), (count, count, 1),
               "uplinks, alive ones, their digests")

    eventually(look, 60, pause=0.2)


class Clients:
    """One after the other asks for the page, as long as the block runs. None waits long: a
    connection that began towards a dead uplink stays there."""

    PATIENCE = 0.5 * SLOWNESS

    def __init__(self, site):
        self._site = site
        self._thread = threading.Thread(target=self._run)
        self._end = threading.Event()
        self.answers = 0
        self.failures = []  # (when, what)
        self.longest = 0.0  # without an answer, in seconds

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        with self._site.world.client.network():
            last = begin = time.monotonic()
            while not self._end.is_set():
                said = ask.page(A, 80, self.PATIENCE)
                now = time.monotonic()
                self.longest = max(self.longest, now - last)
                if said.startswith("web saw"):
                    self.answers += 1
                    last = now
                else:
                    self.failures.append((round(now - begin, 2), said))
                time.sleep(0.02)


def leader(site):
    lease = site.cluster.get("-n", "edged", "lease", "clusteragent")
    return lease["spec"].get("holderIdentity", "")


def pods(site):
    listed = site.cluster.kubectl("-n", "edged", "get", "pods", "-o", "name").stdout.split()
    return {name.rpartition("/")[2] for name in listed}


@case
def a_replica_that_ends_loses_nothing(setup):
    """The leader is asked to end: it drains, another one leads, and every client that
    connects meanwhile is answered."""
    ending = leader(setup)
    with Clients(setup) as clients:
        setup.cluster.kubectl("-n", "edged", "delete", "pod", ending, seconds=60)
        becomes(lambda: leader(setup) not in ("", ending), True, 20, "another one leads")
        both_carry(setup)
    expect(clients.answers > 50, True, f"{clients.answers} answers")
    expect(clients.failures, [], f"after {clients.answers} answers")


@case
def a_replica_that_dies_is_left_out(setup):
    """An uplink that is gone without a word costs its clients at most 2.5 s."""
    dying = (pods(setup) - {leader(setup)}).pop()
    with Clients(setup) as clients:
        time.sleep(0.5)
        setup.kill(dying)
        time.sleep(4)
    print(f"    longest wait {clients.longest:.2f} s, {len(clients.failures)} failures")
    expect(clients.longest < 2.5 * SLOWNESS, True, f"longest wait {clients.longest:.2f} s")
    both_carry(setup)


@case
def a_leader_that_dies_is_replaced(setup):
    """Killed without a word, it leads again as it starts, or another one does; changes are
    followed, and clients are answered."""
    dying = leader(setup)
    with Clients(setup) as clients:
        setup.kill(dying)
        setup.cluster.apply(service("second", type="LoadBalancer", loadBalancerClass=CLASS,
                                    ports=[{"port": 8090, "targetPort": 8080}],
                                    selector={"app": "web"}))
        answered(setup, 8090, 60)
    setup.cluster.kubectl("delete", "service", "second")
    print(f"    longest wait {clients.longest:.2f} s, {len(clients.failures)} failures")
    expect(clients.longest < 2.5 * SLOWNESS, True, f"longest wait {clients.longest:.2f} s")
    both_carry(setup)


def scale(site, count):
    site.cluster.kubectl("-n", "edged", "scale", "deployment", "clusteragent",
                         f"--replicas={count}")


def gets(connection):
    connection.request("GET", "/")
    return connection.getresponse().read().decode()[:7]


def tunnel(site):
    """Peers and routes of the edge's device, as the kernel has them."""
    edge = site.edges["a"].host
    peers = edge.run(["wg", "show", "edged0", "peers"]).stdout.split()
    routes = edge.run(["ip", "-4", "route", "show", "dev", "edged0"]).stdout.splitlines()
    return len(peers), len(routes)


@case
def a_third_replica_comes_and_goes(setup):
    """C16: with a third uplink that comes and goes again, connections by the other two go on,
    no client that connects is refused, and its peer and route go with it."""
    before = tunnel(setup)
    with contextlib.ExitStack() as stack, Clients(setup) as clients:
        with setup.world.client.network():
            held = [http.client.HTTPConnection(A, 80, timeout=Clients.PATIENCE * 4)
                    for _ in range(12)]
            for one in held:
                stack.callback(one.close)
                expect(gets(one), "web saw")
        sockets = [one.sock for one in held]
        two = pods(setup)
        scale(setup, 3)
        both_carry(setup, 3)
        peers, routes = tunnel(setup)
        expect((peers, routes), (before[0] + 1, before[1] + 1), "peers, routes of three")
        [third] = pods(setup) - two
        setup.cluster.kubectl("-n", "edged", "annotate", "pod", third,
                              "controller.kubernetes.io/pod-deletion-cost=-100")
        scale(setup, 2)
        eventually(lambda: expect(pods(setup), two), 60, pause=0.2)
        both_carry(setup)
        expect([gets(one) for one in held], ["web saw"] * len(held), "connections from before")
        expect([one.sock for one in held], sockets, "the same connections")
    expect(tunnel(setup), before, "peers, routes")
    expect(clients.failures, [], f"after {clients.answers} answers")


@case
def without_an_api_server_traffic_goes_on(setup):
    """Edges and uplinks do not need it; when it is back, changes are followed again."""
    with Clients(setup) as clients:
        setup.cluster.stop("kube-apiserver")
        time.sleep(8)
        setup.cluster.start_again("kube-apiserver")
        setup.cluster.wait_ready()
        setup.cluster.apply(service("web", 8088, type="LoadBalancer", loadBalancerClass=CLASS))
        answered(setup, 8088, 60)
        setup.cluster.apply(service("web", type="LoadBalancer", loadBalancerClass=CLASS))
        answered(setup, 80, 30)
    refused = [one for one in clients.failures if "refused" not in one[1]]
    expect(refused, [], "but for the while in which the Service had another port")


def ready_endpoints(setup, name):
    slices = setup.cluster.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")
    endpoints = [one for each in slices["items"] for one in each["endpoints"] or []]
    return sum(one["conditions"].get("ready", True) for one in endpoints)


@case
def no_ready_endpoint_is_refused_at_once(setup):
    """Without Pods a client is refused, not left waiting; with the first one answered."""
    setup.cluster.kubectl("scale", "deployment/web", "--replicas=0")
    # Kubernetes' own controllers may still be behind since its API server was away.
    eventually(lambda: expect(ready_endpoints(setup, "web"), 0), 90, pause=0.2)
    eventually(lambda: expect(setup.ask(ask.page, A, 80), "no: connection refused"), 5)
    start = time.monotonic()
    expect(setup.ask(ask.page, A, 80), "no: connection refused")
    expect(time.monotonic() - start < 0.5, True, "refused at once")
    setup.cluster.kubectl("scale", "deployment/web", "--replicas=1")
    answered(setup, 80, 60)


@case
def a_deleted_edge_node_clears_its_edge(setup):
    """Its mappings go from the VPS before the object goes from the cluster."""
    setup.cluster.kubectl("delete", "edgenode", "vps", "--timeout=30s", seconds=40)
    expect(int(setup.edges["a"].status().get("mappings", 0)), 0)
    expect(setup.ask(ask.page, A, 80)[:3], "no:")
