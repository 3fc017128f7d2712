"""Several replicas: each is an uplink, one of them leads."""

import signal
import time

from case import case
from controller import A, Controller, Setup, add_node
from expect import eventually, expect, expect_in
from product import EDGED, port_binding, tcp
from world import BACKEND, CLIENT, HOME_LAN

LIMIT_SECONDS = 120


def build(lab):
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    setup.cluster.apply(port_binding("web", tcp(80, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "web")
    setup.second = Controller(add_node(setup), setup.cluster, "second").run()
    return setup


def alive(setup):
    return sorted(one["name"] for one in setup.edge.status()["uplinks"]
                  if one.get("life", one).get("alive"))


@case
def every_replica_is_an_uplink(setup):
    """A second replica gets a block and a peer on the edge, and the first one leads on."""

    def both():
        expect(alive(setup), ["home", "second"])

    eventually(both, 15, pause=0.2)
    expect("leading" in setup.second.log(), False)
    setup.wait_ready("edgenode", "a")
    for _ in range(8):
        expect_in("backend:8080 saw 10.244.", setup.page())


@case
def the_clients_address_at_the_leaders_host(setup):
    """clientIP: Preserve to an address of one host: every client reaches it with its own
    address, though the other replica has no such target."""
    setup.world.serve(setup.world.home, "home", "page:8085")
    kept = tcp(83, f"{HOME_LAN}:8085", clientIP="Preserve")
    setup.cluster.apply(port_binding("kept", kept))
    setup.wait_ready("pb", "kept")
    seen = {setup.page(83) for _ in range(32)}
    setup.cluster.kubectl("delete", "pb", "kept")
    expect(seen, {f"home:8085 saw {CLIENT}"})


@case
def the_clients_address_at_the_other_replicas_host(setup):
    """The same where the leader has no such target, and the other replica has it."""
    setup.world.serve(setup.second.host, "second", "page:8085")
    kept = tcp(83, "10.244.2.1:8085", clientIP="Preserve")
    setup.cluster.apply(port_binding("kept", kept))
    setup.wait_ready("pb", "kept")
    seen = {setup.page(83) for _ in range(32)}
    setup.cluster.kubectl("delete", "pb", "kept")
    expect(seen, {f"second:8085 saw {CLIENT}"})


@case
def a_new_key_is_for_every_replica(setup):
    """The edge replaces its key: both replicas change to it, and no page is lost."""
    before = setup.edge.status()["tunnel"]["publicKey"]
    setup.edge.cli("rotate-key")

    def replaced():
        expect_in("backend:8080 saw 10.244.", setup.page())
        tunnel = setup.edge.status()["tunnel"]
        expect(tunnel["publicKey"] != before, True, "another key")
        expect(tunnel.get("nextPublicKey", ""), "", "no further one")
        for host in (setup.world.home, setup.second.host):
            expect(peers_of(host), {tunnel["publicKey"]}, host.name)

    eventually(replaced, 15, pause=0.1)
    expect(alive(setup), ["home", "second"])
    shared = setup.cluster.get("edgenode", "a")["status"]["keys"]
    expect_in(setup.edge.status()["tunnel"]["publicKey"], str(shared))
    for _ in range(16):
        expect_in("backend:8080 saw 10.244.", setup.page())


@case
def a_status_that_was_emptied(setup):
    """What an EdgeNode's status remembers, removed by somebody, is written again; meanwhile the
    tunnel of a replica that does not lead stays as it is."""
    def link():
        links = setup.second.host.run(["ip", "-o", "link"]).stdout.splitlines()
        return next(line.split()[:2] for line in links if " eu-" in line)

    def remembered():
        status = setup.cluster.get("edgenode", "a")["status"]
        return [status.get(field) for field in ("allocation", "keys")]

    eventually(lambda: expect(alive(setup), ["home", "second"]), 15, pause=0.2)
    before, known = link(), remembered()
    gone = '{"status": {"allocation": null, "keys": null}}'
    setup.cluster.kubectl("patch", "edgenode", "a", "--subresource=status", "--type=merge",
                          "-p", gone)
    eventually(lambda: expect(remembered(), known), 10)
    expect(link(), before, "the device of the second replica")
    expect_in("saw", setup.page())


def peers_of(host):
    """The edge's keys that a replica knows."""
    links = host.run(["ip", "-o", "link"]).stdout.split()
    device = next(word.rstrip(":") for word in links if word.startswith("eu-"))
    return set(host.run(["wg", "show", device, "peers"]).stdout.split())


@case
def another_one_leads_after_sigterm(setup):
    """The lease is handed over, uplinks drain, and changes go on being served."""
    setup.agent.process.signal(signal.SIGTERM)
    eventually(lambda: expect_in("leading cluster", setup.second.log()), 10)
    setup.cluster.apply(port_binding("later", tcp(81, f"{BACKEND}:8080")))
    eventually(lambda: expect_in("saw 10.244.2.1", setup.page(81)), 10)
    eventually(lambda: expect_in("draining", setup.agent.log()), 5)


@case
def a_killed_leader_is_followed(setup):
    """A replica that comes back joins again; when the leader is killed it leads."""
    setup.agent.process.wait(5)
    setup.agent.run()
    eventually(lambda: expect(alive(setup), ["home", "second"]), 20, pause=0.2)
    setup.second.process.kill()
    eventually(lambda: setup.agent.leads(2), 30, pause=0.5)
    setup.cluster.apply(port_binding("last", tcp(82, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "last")
    eventually(lambda: expect_in("saw 10.244.1.1", setup.page(82)), 10)
    expect_in(A, setup.cluster.kubectl("get", "en", "a", "--no-headers").stdout)


@case
def another_one_leads_while_a_key_is_replaced(setup):
    """The leader goes at some moment of a replacement: whoever leads next goes on with it, and
    both replicas reach the edge by the key that it has."""
    leader, other = setup.agent, setup.second.run()
    eventually(lambda: expect(alive(setup), ["home", "second"]), 20, pause=0.2)
    for pause in (0, 0.02, 0.05, 0.1, 0.3):
        terms = other.log().count("leading cluster")
        before = setup.edge.status()["tunnel"]["publicKey"]
        setup.edge.host.start([EDGED, "rotate-key"], "rotate-key")
        time.sleep(pause)
        leader.process.signal(signal.SIGTERM)
        eventually(lambda o=other, t=terms: o.leads(t + 1), 10)
        leader.process.wait(10)
        leader.run()

        def replaced(before=before):
            tunnel = setup.edge.status()["tunnel"]
            expect(tunnel["publicKey"] != before, True, "another key")
            expect(tunnel.get("nextPublicKey", ""), "", "no further one")
            for host in (setup.world.home, setup.second.host):
                expect(peers_of(host), {tunnel["publicKey"]}, host.name)
            expect(alive(setup), ["home", "second"])

        eventually(replaced, 20, pause=0.1)
        for _ in range(8):
            expect_in("backend:8080 saw 10.244.", setup.page())
        leader, other = other, leader
