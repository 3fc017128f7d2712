"""edged and clusteragent on the hosts of a world, used the way people use them."""

import calendar
import json
import shutil
import time

from expect import Skipped, eventually, expect
from lab import BUILD
from world import A, A2, A6, A6_2, B, B6, World

EDGED = BUILD / "edged/edged"
CLUSTERAGENT = BUILD / "clusteragent/clusteragent"
WIREGUARD_GO = "/usr/bin/wireguard-go"
STATE = "/var/lib/clusteragent"
SOCKET = "/run/edged/edged.sock"
API = f"unix://{SOCKET}"  # grpcurl 1.9.2 and 1.9.3 do not know -unix any more
NETWORKS = {"a": "10.200.0.0/22", "b": "10.200.4.0/22"}
EDGE_OVERLAY = {"a": "10.200.0.1", "b": "10.200.4.1"}


def condition(conditions, kind):
    """One condition as (status, reason, message)."""
    for one in conditions:
        if one["type"] == kind:
            return one["status"], one.get("reason", ""), one.get("message", "")
    return "", "", f"no condition {kind} in {conditions}"


class Edge:
    """edged on one VPS."""

    def __init__(self, host):
        self.host = host
        self.process = None

    def start(self, options=("--wireguard-go", WIREGUARD_GO)):
        """edged run."""
        self.process = self.host.start([EDGED, "run", *options], "edged")
        return self

    def run(self, *options):
        """The same, until its socket answers."""
        self.start(*options)
        eventually(self._serves)
        return self

    def _serves(self):
        if not self.process.running():
            last = self.process.output().strip().splitlines()[-2:]
            raise RuntimeError(f"edged ended: {' / '.join(last)}")
        self.cli("status")

    def cli(self, *words, **options):
        """One edged command; its completed process."""
        return self.host.run([EDGED, *words], **options)

    def join(self, token, **options):
        return self.cli("join", "-", input=token, **options)

    def status(self):
        return json.loads(self.cli("status", "-o", "json").stdout)

    def table(self):
        """The listing of our table, without what counts packets."""
        return self.host.run(["nft", "--stateless", "list", "table", "inet", "edged"]).stdout

    def grpcurl(self, *words, **options):
        if not shutil.which("grpcurl"):
            raise Skipped("no program grpcurl")
        return self.host.run(["grpcurl", "-plaintext", *words], **options).stdout

    def watch_events(self):
        """Follows what edged tells by WatchEvents."""
        return EventWatch(self.host)

    def call(self, method, request="{}"):
        """A unary call of edged.v1.EdgeService over the Unix socket."""
        text = self.grpcurl("-d", request, API, f"edged.v1.EdgeService/{method}")
        return json.loads(text)


class EventWatch:
    """What WatchEvents has told since this was made."""

    def __init__(self, host):
        if not shutil.which("grpcurl"):
            raise Skipped("no program grpcurl")
        # On a busy machine grpcurl asks late: what was told by then is told again.
        command = ["grpcurl", "-plaintext", "-d", '{"recent": 100}', API]
        self._host = host
        self._begin = time.time()
        self._process = host.start([*command, "edged.v1.EdgeService/WatchEvents"], "events")
        self._seen = len(self._process.output())
        self._unread = []

    def _read(self):
        text = self._process.output()
        decoder = json.JSONDecoder()
        while (begin := text.find("{", self._seen)) >= 0:
            try:
                event, self._seen = decoder.raw_decode(text, begin)
            except json.JSONDecodeError:  # its end is not written yet
                return
            if _moment(event.get("at")) >= self._begin:
                self._unread.append(event)

    def take(self):
        """All events that were not taken yet, oldest first."""
        self._read()
        taken, self._unread = self._unread, []
        return taken

    def next(self, seconds=5):
        """Waits for the next event."""

        def look():
            self._read()
            expect(bool(self._unread), True, "an event")
            return self._unread.pop(0)

        return eventually(look, seconds, pause=0.003)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()


def _moment(timestamp):
    """Seconds since 1970 of a Timestamp as JSON has it; of none it is the end of time."""
    if timestamp is None:
        return float("inf")
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")


class Agent:
    """clusteragent on one host, with its folder of manifests."""

    def __init__(self, host):
        self.host = host
        self.manifests = host.folder / "manifests"
        self.manifests.mkdir()
        self.state = host.folder / STATE[1:]
        self.process = None

    def run(self, *options):
        command = [
            CLUSTERAGENT, "run", "--manifests", self.manifests, "--state", STATE,
            "--wireguard-go", WIREGUARD_GO, *options,
        ]
        self.process = self.host.start(command, "clusteragent")
        return self

    def cli(self, *words, **options):
        return self.host.run([CLUSTERAGENT, *words], **options)

    def token(self, edge, *options, **run_options):
        words = ["token", edge, "--manifests", self.manifests, "--state", STATE, *options]
        return self.cli(*words, **run_options)

    def plan(self):
        return self.cli("plan", "--manifests", self.manifests, "--state", STATE).stdout

    def write(self, name, *objects):
        """Puts a file with these objects into place in one step."""
        text = "---\n".join(
            one if isinstance(one, str) else json.dumps(one, indent=2) + "\n" for one in objects
        )
        new = self.manifests / f".{name}.new"
        new.write_text(text)
        new.rename(self.manifests / f"{name}.yaml")

    def remove(self, name):
        (self.manifests / f"{name}.yaml").unlink()

    def status(self, kind, name):
        """The status file of one object; name is NAMESPACE.NAME for a PortBinding."""
        path = self.state / "status" / kind / f"{name}.json"
        if not path.exists():
            raise AssertionError(f"no status of {kind} {name}")
        return json.loads(path.read_text())

    def edge_condition(self, edge, kind="Ready"):
        return condition(self.status("edgenodes", edge)["conditions"], kind)

    def binding_condition(self, name, binding=None, namespace="default"):
        """Ready of an object, or of one of its bindings."""
        status = self.status("portbindings", f"{namespace}.{name}")
        if binding is None:
            return condition(status["conditions"], "Ready")
        for one in status["bindings"]:
            if one["name"] == binding:
                return condition([one["condition"]], "Ready")
        raise AssertionError(f"no binding {binding} in the status of {name}")

    def wait_edge_ready(self, edge, seconds=10):
        eventually(lambda: _is_ready(self.edge_condition(edge), f"EdgeNode {edge}"), seconds)

    def wait_ready(self, name, binding=None, seconds=5):
        ask = lambda: _is_ready(self.binding_condition(name, binding), name)  # noqa: E731
        eventually(ask, seconds)

    def bind(self, name, *bindings, **spec):
        """Writes a PortBinding and waits until it is Ready."""
        self.write(name, port_binding(name, *bindings, **spec))
        self.wait_ready(name)

    def refusal(self, name, binding=None, seconds=5):
        """Waits until it is not Ready for a reason of its own; (reason, message)."""

        def refused():
            status, reason, message = self.binding_condition(name, binding)
            expect(status, "False", f"{name} Ready: {reason} {message}")
            return reason, message

        return eventually(refused, seconds)


def _is_ready(found, what):
    status, reason, message = found
    expect(status, "True", f"{what} is not Ready: {reason} {message}")


def edge_node(name, address, public_ips=(), **spec):
    spec = {"address": address, **spec}
    if public_ips:
        spec["publicIPs"] = [{"address": one} for one in public_ips]
    return {
        "apiVersion": "edged.dev/v1alpha1",
        "kind": "EdgeNode",
        "metadata": {"name": name},
        "spec": spec,
    }


def port_binding(name, *bindings, edge="a", namespace="default", created=None):
    metadata = {"name": name, "namespace": namespace}
    if created:
        metadata["creationTimestamp"] = created
    return {
        "apiVersion": "edged.dev/v1alpha1",
        "kind": "PortBinding",
        "metadata": metadata,
        "spec": {"edgeNodeRef": {"name": edge}, "bindings": list(bindings)},
    }


def split_port(target):
    """(address, port) of a text, either family; no port is ""."""
    if target.startswith("["):
        address, _, port = target[1:].partition("]:")
        return address, port
    if target.count(":") > 1:
        return target, ""
    address, _, port = target.partition(":")
    return address, port


def binding(protocol, port, target, name=None, **fields):
    """One binding; `port` is 443 or "443-445", `target` ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    first, _, last = str(port).partition("-")
    address, target_port = split_port(target)
    one = {
        "name": name or f"{protocol}-{first}".lower(),
        "protocol": protocol,
        "listenPort": int(first),
        "target": {"address": address},
        **fields,
    }
    if last:
        one["endPort"] = int(last)
    if target_port:
        one["target"]["port"] = int(target_port)
    return one


def tcp(port, target, name=None, **fields):
    return binding("TCP", port, target, name, **fields)


def udp(port, target, name=None, **fields):
    return binding("UDP", port, target, name, **fields)


class Setup:
    """A world with the product on it: edges joined, one agent at home."""

    def __init__(self, lab, edges=("a",), sysctls=None, ipv6=False, ipv6_at_home=True):
        self.lab = lab
        self.world = World(lab, edges, sysctls)
        self.ipv6 = ipv6
        if ipv6:
            self.world.add_ipv6(ipv6_at_home)
        self.edges = {name: Edge(host) for name, host in self.world.edges.items()}
        self.agent = Agent(self.world.home)

    @property
    def edge(self):
        return self.edges["a"]

    def start(self, options=("--wireguard-go", WIREGUARD_GO), **tunnel):
        """From nothing to tunnels that are up, by token and join."""
        addresses = {"a": (A, (A, A2)), "b": (B, (B,))}
        if self.ipv6:
            addresses = {"a": (A, (A, A2, A6, A6_2)), "b": (B, (B, B6))}
        for name, edge in self.edges.items():
            address, public_ips = addresses[name]
            self.agent.write(
                f"edge-{name}",
                edge_node(name, address, public_ips, tunnel={"network": NETWORKS[name], **tunnel}),
            )
        for name, edge in self.edges.items():
            edge.run(options)
            edge.join(self.agent.token(name).stdout)
        self.agent.run()
        for name in self.edges:
            self.agent.wait_edge_ready(name)
        return self

    def ask(self, question, *arguments, at=None):
        """A question of ask.py from the internet client, or from another host."""
        with (at or self.world.client).network():
            return question(*arguments)
