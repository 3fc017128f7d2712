"""What networks and API servers do to the agent, by a proxy between them."""

import time
from contextlib import contextmanager

import faulty_proxy
from case import case
from configs import PORT, kubeconfig
from controller import SAW, Setup, events_of
from expect import becomes, eventually, expect, expect_in
from faulty_proxy import FaultyProxy
from product import port_binding, tcp
from world import BACKEND

LIMIT_SECONDS = 120


def build(lab):
    setup = Setup(lab)
    cluster = setup.cluster
    setup.proxy = FaultyProxy(setup.world.home, cluster, (cluster.address, PORT))
    config = cluster.folder / "through-proxy.conf"
    text = kubeconfig(cluster.folder, cluster.address, "admin")
    config.write_text(text.replace(f"https://{cluster.address}:{PORT}", setup.proxy.url))
    setup.agent.config = config
    setup.agent.run()
    lab.on_removed.append(lambda: setup.proxy.__exit__())
    setup.join()
    setup.ports = iter(range(8000, 9000))
    return setup


@contextmanager
def under(setup, fault=None, pause=0.0):
    setup.proxy.fault, setup.proxy.pause = fault, pause
    try:
        yield setup.proxy
    finally:
        setup.proxy.fault, setup.proxy.pause = None, 0.0


def changes_are_followed(setup, seconds=30):
    """A new object is served; it goes again."""
    port = next(setup.ports)
    name = f"port-{port}"
    setup.cluster.apply(port_binding(name, tcp(port, f"{BACKEND}:8080")))
    becomes(lambda: setup.page(port), SAW, seconds)
    setup.cluster.kubectl("delete", "portbinding", name)
    eventually(lambda: expect(setup.page(port)[:3], "no:"), seconds)


def expires(setup, fault):
    """Every watch expires again and again: the agent lists anew without a busy loop, and
    goes on when that is over."""
    with under(setup, fault) as proxy:
        proxy.cut()
        before = len(proxy.requests)
        time.sleep(3)
        asked = len(proxy.requests) - before
        expect(4 < asked < 180, True, f"{asked} requests in 3 s")
        expect(proxy.count("limit=") > 0, True, "it listed")
    changes_are_followed(setup)


@case
def an_expired_watch_by_its_status(setup):
    """410 as the answer to each watch."""
    expires(setup, faulty_proxy.gone)


@case
def an_expired_watch_by_an_event(setup):
    """An ERROR event of code 410 in each stream."""
    expires(setup, faulty_proxy.gone_in_stream)


@case
def an_expired_watch_by_silence(setup):
    """200 and an empty body for each watch."""
    expires(setup, faulty_proxy.empty)


@case
def cut_streams_lose_nothing(setup):
    """Connections that end in the middle are made again; no change is missed."""
    changes_are_followed(setup, 60)
    for _ in range(3):
        time.sleep(1.5)  # a watch that ends sooner counts as one that failed
        setup.proxy.cut()
        changes_are_followed(setup)


@case
def an_overloaded_server_is_left_in_peace(setup):
    """429 with Retry-After: a request each second, and no more; then all goes on."""
    with under(setup, faulty_proxy.too_many) as proxy:
        proxy.cut()
        time.sleep(1)
        before = len(proxy.requests)
        time.sleep(3)
        asked = len(proxy.requests) - before
        expect(asked < 60, True, f"{asked} requests in 3 s")
    changes_are_followed(setup, 60)


@case
def a_broken_server_withdraws_nothing(setup):
    """500 for everything: what was served is served on, and changes are followed after."""
    port = next(setup.ports)
    setup.cluster.apply(port_binding("stays", tcp(port, f"{BACKEND}:8080")))
    becomes(lambda: setup.page(port), SAW, 20)
    with under(setup, faulty_proxy.broken) as proxy:
        proxy.cut()
        for _ in range(10):
            expect(setup.page(port), SAW)
            time.sleep(0.5)
    changes_are_followed(setup, 60)
    expect(setup.page(port), SAW)
    setup.cluster.kubectl("delete", "portbinding", "stays")


@case
def an_event_comes_later(setup):
    """What happens while nobody answers is an Event as soon as somebody does."""
    def told():
        return [reason for reason, _ in events_of(setup.cluster, "EdgeNode", "a")]

    expect(told().count("TunnelDown"), 0)
    with under(setup, faulty_proxy.silent) as proxy:
        proxy.cut()
        setup.edge.process.kill()
        eventually(lambda: expect_in("TunnelDown", setup.agent.log()), 8)
        time.sleep(1)
    becomes(lambda: told().count("TunnelDown"), 1, 20)
    setup.edge.run()
    setup.wait_ready("edgenode", "a", 30)


@case
def an_older_list_withdraws_nothing(setup):
    """Lists from before an object was made, again and again: it is served on, the agent does
    not ask without end, and follows what comes after."""
    path = "/apis/edged.dev/v1alpha1/portbindings"
    early, late = next(setup.ports), next(setup.ports)
    setup.cluster.apply(port_binding("early", tcp(early, f"{BACKEND}:8080")))
    becomes(lambda: setup.page(early), SAW, 20)
    before = setup.cluster.kubectl("get", "--raw", path).stdout.encode()
    setup.cluster.apply(port_binding("late", tcp(late, f"{BACKEND}:8080")))
    becomes(lambda: setup.page(late), SAW, 20)
    with under(setup, faulty_proxy.lagging({path: before})) as proxy:
        count = len(proxy.requests)
        proxy.cut()
        withdrawn = 0
        for _ in range(10):
            expect(setup.page(early), SAW)
            withdrawn += setup.page(late) != SAW
            time.sleep(0.5)
        asked = len(proxy.requests) - count
        expect(asked < 300, True, f"{asked} requests in 5 s")
    changes_are_followed(setup, 60)
    becomes(lambda: [setup.page(early), setup.page(late)], [SAW, SAW], 10)
    setup.cluster.kubectl("delete", "portbinding", "early", "late")
    expect(withdrawn, 0, "looks at which the younger object was withdrawn")


@case
def slow_bytes_are_waited_for(setup):
    """A stream whose bytes come one by one is a stream."""
    with under(setup, pause=0.0005):
        changes_are_followed(setup, 60)


@case
def at_rest_it_asks_for_nothing(setup):
    """But its watches and the Lease, as soon as the pauses after the faults are over."""
    changes_are_followed(setup)

    def asked_in(seconds):
        before = len(setup.proxy.requests)
        time.sleep(seconds)
        asked = [target for _, target in setup.proxy.requests[before:]]
        return [one for one in asked if "/leases/" not in one and "watch=" not in one]

    def all_watched():
        lost = [line for line in troubles(setup.agent.log()).values() if line]
        expect(lost, [], "kinds that are out of step")

    eventually(all_watched, 60, pause=0.5)
    eventually(lambda: expect(asked_in(3), []), 20)
    expect(asked_in(8), [], "requests at rest")


def troubles(log):
    """What the agent said last of each kind; empty: it is well again."""
    said = {}
    for line in log.splitlines():
        _, found, text = line.partition(" Kubernetes: ")
        if not found:
            continue
        if text.endswith(": well again"):
            said[text.removesuffix(": well again").split()[0]] = ""
        elif text.startswith(("list ", "watch ")):
            said[text.split(":")[0].split()[1]] = text
    return said
