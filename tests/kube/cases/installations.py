"""How an installation may be told to be: alone, with other words, or beside another."""

import time

from case import case
from controller import A, NAMESPACE, Controller, Setup, add_node, events_of, service
from expect import eventually, expect, expect_in
from product import CLUSTERAGENT, port_binding, tcp
from world import A2, BACKEND

LIMIT_SECONDS = 180
PREFIX = "edge.example.com"


def term(setup):
    return int(setup.edge.status()["epoch"]["number"])


@case
def two_installations_come_to_rest(lab):
    """Two that lead by Leases of their own outbid each other rarely, and say so; without the
    one the other goes on."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    second = Controller(add_node(setup), setup.cluster, "second")
    second.run("--leader-elect-namespace", "default")

    def told():
        said = [agent.probe("/readyz") for agent in (setup.agent, second)]
        expect_in("another installation in this cluster", str(said))

    eventually(told, 60, pause=0.3)
    reasons = [reason for reason, _ in events_of(setup.cluster, "EdgeNode", "a")]
    expect_in("LeadershipContested", reasons)
    before = term(setup)
    time.sleep(12)
    expect(term(setup) - before <= 1, True, f"terms from {before} to {term(setup)} in 12 s")
    second.process.kill()
    setup.cluster.apply(port_binding("web", tcp(80, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "web", seconds=60)
    setup.becomes_served(80)


@case
def one_replica_leads_without_an_election(lab):
    """With --leader-elect=false the Lease is written once; beside another replica nobody
    leads, and what was served is served on."""
    setup = Setup(lab)
    setup.agent.run("--leader-elect=false")
    setup.join()
    setup.cluster.apply(port_binding("web", tcp(80, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "web")

    def lease():
        return setup.cluster.get("-n", NAMESPACE, "lease", "clusteragent")["spec"]

    before = lease()
    expect(before["leaseTransitions"], 1)
    time.sleep(5)
    expect(lease(), before)

    second = Controller(add_node(setup), setup.cluster, "second")
    second.run("--no-leader-elect")
    for agent, other in ((setup.agent, "second"), (second, "home")):
        eventually(lambda: expect(agent.probe("/readyz")[0], 503), 15, pause=0.3)
        expect_in(f"one replica alone, and Uplink {NAMESPACE}/{other}",
                  agent.probe("/readyz")[1])
    setup.becomes_served(80)
    second.process.kill()
    setup.cluster.kubectl("-n", NAMESPACE, "delete", "uplink", "second")
    eventually(lambda: expect(setup.agent.probe("/readyz")[0], 200), 10, pause=0.3)
    setup.cluster.apply(port_binding("later", tcp(81, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "later")
    expect(lease(), before)


@case
def annotations_have_another_prefix(lab):
    """With --annotation-prefix only what stands behind that prefix counts."""
    setup = Setup(lab)
    done = lab.host("spare").run(
        [CLUSTERAGENT, "run", "--kubeconfig", setup.cluster.admin,
         "--annotation-prefix", "Example.com/"], check=False)
    expect(done.returncode, 1)
    expect_in('--annotation-prefix: "Example.com/" is not the prefix', done.stderr)
    setup.agent.run("--annotation-prefix", PREFIX)
    setup.join()
    setup.cluster.apply(*service("usual", 90, annotations={"edged.dev/expose": "true"}))
    setup.cluster.apply(*service("exposed", 91, annotations={f"{PREFIX}/expose": "true"}))

    def addresses(name):
        return setup.cluster.get("service", name)["metadata"]["annotations"]

    def told():
        expect(addresses("exposed").get(f"{PREFIX}/public-addresses") in (A, A2), True)

    eventually(told, 15)
    setup.becomes_served(91, addresses("exposed")[f"{PREFIX}/public-addresses"])
    expect_in("edged.dev/expose", addresses("usual"))
    expect([name for name in addresses("usual") if "public-addresses" in name], [])
