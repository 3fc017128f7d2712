"""Tokens: good once, for one edge, for a time."""

import base64
import json
import time

from case import case
from expect import eventually, expect, expect_in
from product import API, NETWORKS, Agent, Setup, edge_node
from world import A


def prepared(lab, edges=("a",)):
    """An EdgeNode a and a running edged, not joined yet."""
    setup = Setup(lab, edges)
    setup.agent.write("a", edge_node("a", A, tunnel={"network": NETWORKS["a"]}))
    for edge in setup.edges.values():
        edge.run()
    return setup


def enrolled(lab):
    setup = prepared(lab)
    setup.edge.join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    return setup


def refused_join(edge, token, *words):
    done = edge.join(token, check=False)
    expect(done.returncode != 0, True, "exit code of edged join")
    for word in words:
        expect_in(word, done.stderr)
    expect(token.strip() in done.stderr, False, "the token itself in the message")


@case
def token_is_good_once(lab):
    """A token that was used is refused when it is joined again."""
    setup = prepared(lab)
    token = setup.agent.token("a").stdout
    setup.edge.join(token)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    refused_join(setup.edge, token, "used")
    setup.agent.wait_edge_ready("a")


@case
def token_expires(lab):
    """A token that is too old is refused."""
    setup = prepared(lab)
    token = setup.agent.token("a", "--ttl", "1s").stdout
    time.sleep(2.1)
    refused_join(setup.edge, token, "expired")


@case
def token_is_damaged(lab):
    """A token with a wrong letter, cut short, or of no kind is refused."""
    setup = prepared(lab)
    token = setup.agent.token("a").stdout.strip()
    other = "A" if token[30] != "A" else "B"
    refused_join(setup.edge, token[:30] + other + token[31:], "token")
    refused_join(setup.edge, token[:-7], "token")
    refused_join(setup.edge, "hello", "token")


@case
def token_of_an_unknown_edge(lab):
    """A token for an EdgeNode that does not exist is refused by name."""
    setup = prepared(lab)
    done = setup.agent.token("nowhere", check=False)
    expect(done.returncode != 0, True, "exit code")
    expect_in("nowhere", done.stderr)


@case
def second_clusters_token_is_refused(lab):
    """An edge that is enrolled refuses the token of another cluster, and says whose it is."""
    setup = enrolled(lab)
    owner = setup.edge.status()["enrolment"]["clusterUid"]
    stranger = Agent(lab.host("stranger"))
    stranger.write("a", edge_node("a", A, tunnel={"network": "10.201.0.0/22"}))
    refused_join(setup.edge, stranger.token("a").stdout, owner, "edged reset")
    setup.agent.wait_edge_ready("a")


def register(edge, cluster_uid, number, key=bytes(32)):
    """Calls Register as an agent of this cluster and epoch would; the error's text."""
    key = base64.b64encode(key).decode()
    request = {
        "epoch": {"cluster_uid": cluster_uid, "number": number},
        "uplink": {"name": "stranger", "public_key": key, "block": 9},
        "edge": "a",
    }
    words = ["-d", json.dumps(request), API, "edged.v1.EdgeService/Register"]
    done = edge.host.run(["grpcurl", "-plaintext", *words], check=False)
    return done.stderr


@case
def second_cluster_is_refused(lab):
    """Another cluster that reaches the API is refused by the name of the owner."""
    setup = enrolled(lab)
    owner = setup.edge.status()["enrolment"]["clusterUid"]
    refusal = register(setup.edge, "00000000-0000-0000-0000-000000000001", 99)
    for words in ("FailedPrecondition", owner, "edged reset --owner"):
        expect_in(words, refusal)
    setup.agent.wait_edge_ready("a")


@case
def old_epoch_is_refused(lab):
    """An older leadership term of the same cluster is refused, and both terms are named."""
    setup = enrolled(lab)
    setup.agent.process.stop()
    setup.agent.run()
    eventually(lambda: expect(int(setup.edge.status()["epoch"]["number"]) >= 2, True, "epoch"))
    owner = setup.edge.status()["enrolment"]["clusterUid"]
    refusal = register(setup.edge, owner, 1)
    for words in ("FailedPrecondition", "epoch 1 is older than"):
        expect_in(words, refusal)
    setup.agent.wait_edge_ready("a")


@case
def the_highest_epoch_is_forgotten(lab):
    """No term is above 2^30. Whoever says that one keeps the cluster's agent out, until
    `edged reset --epoch`."""
    setup = enrolled(lab)
    owner = setup.edge.status()["enrolment"]["clusterUid"]
    highest = 2**30
    expect_in(f"epoch number: {highest + 1} is above {highest}",
              register(setup.edge, owner, highest + 1))
    setup.agent.wait_edge_ready("a")
    expect(register(setup.edge, owner, highest, bytes([9] * 32)), "")
    setup.agent.process.stop()
    setup.agent.run()
    eventually(lambda: expect_in(f"is older than {highest}", setup.agent.process.output()), 10)
    setup.edge.cli("reset", "--epoch")
    setup.agent.wait_edge_ready("a")

    def forgotten():
        names = [one["name"] for one in setup.edge.status()["uplinks"]]
        expect("stranger" in names, False, "the stranger is an uplink")

    eventually(forgotten, 10)


@case
def copy_on_another_vps(lab):
    """A token joined on a second VPS as well leaves the first one at work."""
    setup = prepared(lab, ("a", "b"))
    token = setup.agent.token("a").stdout
    setup.edges["a"].join(token)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.edges["b"].join(token)
    eventually(lambda: expect_in("no contact", setup.edges["b"].cli("status").stdout))
    setup.agent.wait_edge_ready("a")


@case
def reset_cleans_the_kernel(lab):
    """edged reset removes what edged made in the kernel, and a new token joins again."""
    setup = enrolled(lab)
    host = setup.edge.host
    expect(setup.edge.process.stop(), 0, "exit code")
    setup.edge.cli("reset")
    expect(host.run(["nft", "list", "tables"]).stdout, "")
    expect(host.run(["ip", "link", "show", "edged0"], check=False).returncode, 1, "ip link show")
    setup.edge.run()
    setup.edge.join(setup.agent.token("a").stdout)
    setup.agent.wait_edge_ready("a", seconds=20)
