"""The demo with a real cluster: a Service of it, reached from the internet."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/kube")]

import ask  # noqa: E402
from cluster import put_back_with, why_not  # noqa: E402,F401
from expect import eventually, expect  # noqa: E402
from kube_site import CLASS, Site, service  # noqa: E402
from programs import path_of  # noqa: E402,F401
from world import A, CLIENT, HOME  # noqa: E402

TRY = """
It stays up. On the hosts client, a (the VPS) and home (the node), try:
  ./dev demo --in client python3 tests/tools/ask.py page {vps} 80
  ./dev demo --in home kubectl get svc,en,pb,uplink -A
  ./dev demo --in home kubectl explain portbinding.spec.bindings
  ./dev demo --in home kubectl delete service web
  ./dev demo --in a edged status
Logs: {logs}
When done: ./dev demo --clean"""


def set_up(lab, step):
    """Node, agent and edge, as a user would do it."""
    with step(f"hosts: client {CLIENT}, VPS {A}, a Kubernetes node {HOME} behind a NAT"):
        site = Site(lab)
    with step("node: Kubernetes is up, the image of clusteragent imported"):
        site.start_node()
    with step("node: kubectl apply -k packaging/kubernetes/userspace"):
        site.install()
    with step("node: kubectl apply: EdgeNode vps; VPS: edged run"):
        site.add_edge()
    with step("node: clusteragent token vps; VPS: edged join TOKEN; EdgeNode vps is Ready"):
        site.join()
    with step("node: kubectl apply: a Deployment and a Service of class edged.dev/edge"):
        site.serve("web", "page", ":8080")
        site.cluster.apply(service("web", type="LoadBalancer", loadBalancerClass=CLASS))
    with step(f"node: the Service has the public address {A}"):
        expect(site.public_address("web"), A)
    return site


def fetch(site, step):
    def look():
        said = site.ask(ask.page, A, 80)
        expect(bool(re.fullmatch(r"web saw 10\.244\.0\.\d+", said)), True, said)
        return said

    with step(f"client: http://{A}/ is answered by a Pod"):
        said = eventually(look, 10, pause=0.05)
    print(f"         {said}", flush=True)


def show(site, step):
    for words in (("svc,en,pb", "-A"), ("-n", "edged", "pods,uplink,lease")):
        with step(f"node: kubectl get {' '.join(words)}"):
            text = site.cluster.kubectl("get", *words).stdout
        print("\n" + text.rstrip() + "\n", flush=True)
