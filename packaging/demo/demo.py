#!/usr/bin/python3
"""A packet's way from the internet to a private service, in network namespaces.

usage: ./dev demo                       shows it and cleans up
       ./dev demo --keep                leaves it up and says what to try
       ./dev demo --kubernetes [--keep] the same to a Service of a real cluster
       ./dev demo --in HOST COMMAND...  runs a command on a host of a kept demo
       ./dev demo --clean               removes kept demos
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/netns"), str(ROOT / "tests/tools")]
sys.dont_write_bytecode = True

import ask  # noqa: E402
from lab import BUILD, Lab, why_not  # noqa: E402
from product import API, CLUSTERAGENT, EDGED, Agent, Edge  # noqa: E402
from world import A, A6, BACKEND, CLIENT, CLIENT6, HOME, HOME6, HOME_LAN, World  # noqa: E402

RANGE = range(20000, 20100)
MANIFESTS = f"""\
apiVersion: edged.dev/v1alpha1
kind: EdgeNode
metadata:
  name: vps
spec:
  address: {A}
  publicIPs: [{{address: {A}}}, {{address: "{A6}"}}]
---
apiVersion: edged.dev/v1alpha1
kind: PortBinding
metadata:
  name: demo
  namespace: default
spec:
  edgeNodeRef:
    name: vps
  bindings:
  - name: page
    protocol: TCP
    listenPort: 80
    target: {{address: {BACKEND}, port: 8080}}
  - name: echo
    protocol: UDP
    listenPort: 7000
    target: {{address: {BACKEND}, port: 7000}}
  - name: range
    protocol: UDP
    listenPort: {RANGE[0]}
    endPort: {RANGE[-1]}
    target: {{address: {BACKEND}}}
  - name: own-page
    protocol: TCP
    listenPort: 8080
    target: {{address: {HOME}, port: 8080}}
    clientIP: Preserve
  - name: own-page-by-ipv6
    protocol: TCP
    publicIP: "{A6}"
    listenPort: 8080
    target: {{address: "{HOME6}", port: 8080}}
    clientIP: Preserve
"""
TRY = """
It stays up. On the hosts client, a (the VPS), home and backend, try:
  ./dev demo --in client python3 tests/tools/ask.py page {vps} 80
  ./dev demo --in client python3 tests/tools/ask.py echo {vps} 7000
  ./dev demo --in a edged status
  ./dev demo --in a grpcurl -plaintext {api} list
  ./dev demo --in a wg show
  ./dev demo --in a nft list table inet edged
  ./dev demo --in home clusteragent status --state /var/lib/clusteragent
  ./dev demo --in home nft list ruleset
Change {manifests}/demo.yaml and look again. Logs: {logs}
When done: ./dev demo --clean"""


class DemoFailed(Exception):
    pass


@contextlib.contextmanager
def step(what):
    """One line with its time; what went wrong in it is one line too."""
    start = time.monotonic()
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())
        raise DemoFailed(f"{what}: {text}") from error
    print(f"{time.monotonic() - start:6.2f} s  {what}", flush=True)


def set_up(lab):
    """Everything as a user would do it; the edge and the agent."""
    with step(f"hosts: client {CLIENT}, VPS {A}, home behind a NAT, backend {BACKEND}"):
        world = World(lab, edges=("a",))
        world.add_ipv6()
    with step("services: a page, an echo and a range of echoes on the backend; a page at home"):
        world.serve(
            world.backend, "backend", "page:8080", "echo:7000", f"echo:{RANGE[0]}-{RANGE[-1]}"
        )
        world.serve(world.home, "home", "page:8080")
    edge, agent = Edge(world.edges["a"]), Agent(world.home)
    agent.write("demo", MANIFESTS)
    with step("VPS:  edged prepare (what only root may set; the Debian unit does it)"):
        edge.cli("prepare")
    with step("VPS:  edged run"):
        edge.run()
    with step("home: clusteragent token vps --manifests DIR --state DIR"):
        token = agent.token("vps").stdout
    with step("VPS:  edged join TOKEN"):
        edge.join(token)
    with step("home: clusteragent run --manifests DIR --state DIR; all bindings Ready"):
        agent.run()
        agent.wait_ready("demo", seconds=10)
    return world, edge, agent


def fetch(world):
    """The client's questions, with whom each service saw."""

    def check(what, question, wanted, *arguments):
        with step(f"client: {what}: {wanted}"), world.client.network():
            got = question(*arguments)
            if got != wanted:
                raise AssertionError(f"got {got!r}")

    check(f"http://{A}/", ask.page, f"backend:8080 saw {HOME_LAN}", A, 80)
    check(f"http://{A}:8080/, Preserve", ask.page, f"home:8080 saw {CLIENT}", A, 8080)
    check(f"http://[{A6}]:8080/, Preserve", ask.page, f"home:8080 saw {CLIENT6}", A6, 8080)
    check(f"{A} udp/7000", ask.echo, f"backend:7000 saw {HOME_LAN}: hello", A, 7000)
    with step(f"client: {A} udp/{RANGE[0]}-{RANGE[-1]}: each port answers as itself"):
        with world.client.network():
            answers = ask.echo_ports(A, RANGE)
        wrong = [
            port for port in RANGE
            if answers.get(port) != f"backend:{port} saw {HOME_LAN}: hello"
        ]
        if wrong:
            raise AssertionError(f"{len(wrong)} ports did not answer, the first is {wrong[0]}")


def show(edge):
    """The state of the edge by three tools."""
    for shown, run in (
        ("edged status", lambda: edge.cli("status").stdout),
        (
            f"grpcurl -plaintext {API} edged.v1.EdgeService/GetState",
            lambda: edge.grpcurl(API, "edged.v1.EdgeService/GetState"),
        ),
        (
            "nft list table inet edged",
            lambda: edge.host.run(["nft", "list", "table", "inet", "edged"]).stdout,
        ),
    ):
        with step(f"VPS:  {shown}"):
            text = run()
        print("\n" + text.rstrip() + "\n", flush=True)


def demo(keep):
    with demo_lab(keep) as lab:
        world, edge, agent = set_up(lab)
        fetch(world)
        show(edge)
        if keep:
            logs = lab.folder / "logs"
            print(TRY.format(vps=A, api=API, manifests=agent.manifests, logs=logs))


def demo_with_kubernetes(keep):
    import kubernetes

    if reason := kubernetes.why_not("control", "node"):
        sys.exit(f"demo: cannot run here: {reason}")
    with demo_lab(keep) as lab:
        site = kubernetes.set_up(lab, step)
        kubernetes.fetch(site, step)
        kubernetes.show(site, step)
        if keep:
            print(kubernetes.TRY.format(vps=A, logs=lab.folder / "logs"))


@contextlib.contextmanager
def demo_lab(keep):
    """A lab that goes at the end, unless all went well and it is to be kept."""
    if reason := why_not():
        sys.exit(f"demo: cannot run here: {reason}")
    lab = Lab.create("demo")
    kept = False
    try:
        yield lab
        kept = keep
    except DemoFailed as failure:
        logs = BUILD / "demo-logs"
        lab.save_logs(logs)
        sys.exit(f"demo: failed: {failure} (logs: {logs})")
    finally:
        if not kept:
            with step("everything is removed"):
                lab.remove()


def run_in(name, command):
    labs = Lab.existing("demo")
    if not labs:
        sys.exit("demo: none is up; ./dev demo --keep starts one")
    host = labs[-1].hosts.get(name)
    if host is None:
        sys.exit(f"demo: no host {name}; there are {', '.join(sorted(labs[-1].hosts))}")
    words = host.command(command)
    folders = [EDGED.parent, CLUSTERAGENT.parent, *kubectl_of(labs[-1]), os.environ["PATH"]]
    os.environ["PATH"] = ":".join(map(str, folders))
    os.execvp(words[0], words)


def kubectl_of(lab):
    """The folder of kubectl where the lab has a cluster, which it then means."""
    found = list(lab.folder.glob("*/kubernetes/admin.conf"))
    if not found:
        return []
    import kubernetes

    os.environ["KUBECONFIG"] = str(found[0])
    return [kubernetes.path_of("kubectl").parent]


def clean():
    labs = Lab.existing("demo")
    for lab in labs:
        if list(lab.folder.glob("*/kubernetes")):
            import kubernetes

            kubernetes.put_back_with(lab)
        lab.remove()
    print(f"{len(labs)} demos removed")


def main(words):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    match words:
        case []:
            demo(keep=False)
        case ["--keep"]:
            demo(keep=True)
        case ["--kubernetes"]:
            demo_with_kubernetes(keep=False)
        case ["--kubernetes", "--keep"]:
            demo_with_kubernetes(keep=True)
        case ["--clean"]:
            clean()
        case ["--in", name, *command] if command:
            run_in(name, command)
        case _:
            sys.exit(__doc__.strip())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("demo: interrupted")
