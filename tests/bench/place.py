"""The hosts of the benchmark, and edged on them.

    client 203.0.113.9  --- few 203.0.113.1   10.200.0.1 ---+
           198.51.100.9 --- many 198.51.100.1 10.200.4.1 ---+--- target
           192.0.2.9    --- router 192.0.2.1  10.9.0.1   ---+    10.9.0.2
           192.0.3.9    --- rule 192.0.3.1    10.9.4.1   ---+    10.9.4.2

few and many run edged. Their tunnel device `edged0` is one end of a cable to the
target, and bench_device answers for it as wireguard-go would: so edged's own
table, routes and settings carry the traffic, and no packet is encrypted. router
does no more than route, and is where the proxies run; rule translates by one
rule of nft. All cables to the target have the MTU that edged gives its device.
"""

import base64
import contextlib
import json
import secrets
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

from expect import eventually, expect
from lab import BUILD, PYTHON

EDGED = BUILD / "edged/edged"
PROGRAMS = BUILD / "tests/bench"
SOCKET = "/run/edged/edged.sock"
CLUSTER = "bench"
UPLINKS = (1, 2, 3)  # their blocks
TUNNEL_MTU = 1420
BULK_PORT, WORD_PORT = 1024, 1025  # also the first mappings of every edge
API_PORT = 7443
READY_SECONDS = 10

# Connections of a second or two must fit beside those before, which end slowly.
CLIENT_SYSCTLS = {"ip_local_port_range": "1024 65000", "tcp_tw_reuse": "1"}


@dataclass(frozen=True)
class Way:
    """From the client to the target through one host in the middle."""

    name: str
    outer: str  # /24 of the cable to the client, without its last number
    inner: str  # of the cable to the target

    @property
    def address(self):
        return f"{self.outer}.1"


FEW = Way("few", "203.0.113", "10.200.0")
MANY = Way("many", "198.51.100", "10.200.4")
ROUTER = Way("router", "192.0.2", "10.9.0")
RULE = Way("rule", "192.0.3", "10.9.4")
TARGET = f"{ROUTER.inner}.2"


# The least that nftables can do for two ports.
ONE_RULE = """
table ip one {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr %s tcp dport { %d, %d } dnat to %s
  }
}
""" % (RULE.address, BULK_PORT, WORD_PORT, f"{RULE.inner}.2")


def random_key():
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Agent:
    """bench_agent with an open stream."""

    def __init__(self, host, address):
        self._process = subprocess.Popen(
            host.command([PROGRAMS / "bench_agent", SOCKET, CLUSTER, address]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        host.lab.processes.append(self)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def _ask(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise AssertionError(f"bench_agent ended at {line!r}; it has said why")
        return json.loads(answer)

    def snapshot(self, count):
        """Milliseconds from the first byte sent to the ACK."""
        return self._ask(f"snapshot {count}")["total"][0]

    def changes(self, pairs):
        """The same for one mapping added, removed, added ...; and what edged says it took."""
        times = self._ask(f"changes {pairs}")
        return times["total"], times["apply"]

    def stop(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Edge:
    """edged on one host, enrolled by a file such as `edged join` writes."""

    def __init__(self, host, network):
        self.host = host
        self.state = host.folder / "var/lib/edged"
        self.process = None
        (self.state / "join.yaml").write_text(
            "version: v1\n"
            f"tokenId: {secrets.token_hex(8)}\n"
            f"clusterUID: {CLUSTER}\n"
            "edge: bench\n"
            "listenPort: 51820\n"
            f"network: {network}\n"
            f"privateKey: {random_key()}\n"
            f"controlPublicKey: {random_key()}\n"
        )

    def start(self):
        """Starts it; milliseconds from exec() to READY=1: the kernel is programmed and the
        socket answers."""
        path = self.host.lab.folder / f"{self.host.name}-notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path.unlink(missing_ok=True)
            notify.bind(str(path))
            notify.settimeout(READY_SECONDS)
            self.process = self.host.start(
                [PYTHON, "-c", STAMP, self.host.lab.folder / "stamp", EDGED, "run"],
                "edged", env={"NOTIFY_SOCKET": str(path)},
            )
            while not notify.recv(4096).startswith(b"READY=1"):
                pass
            ready = time.monotonic_ns()
        return (ready - int((self.host.lab.folder / "stamp").read_text())) / 1e6

    def stop(self):
        expect(self.process.stop(), 0, "exit code of edged")

    def resident(self):
        """Megabytes (10^6 bytes)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            kilobytes = [line.split()[1] for line in status if line.startswith("VmRSS:")]
        return int(kilobytes[0]) * 1024 / 1e6

    def table(self):
        return self.host.run(["nft", "--stateless", "list", "table", "inet", "edged"]).stdout

    def mapping_count(self):
        status = self.host.run([EDGED, "status", "-o", "json"]).stdout
        return int(json.loads(status).get("mappingCount", 0))


# Says when it is about to become edged: with the way into the namespaces counted, a start
# would look twice as long.
STAMP = (
    "import os, sys, time\n"
    "stamp = open(sys.argv[1], 'w')\n"
    "stamp.write(str(time.monotonic_ns()))\n"
    "stamp.close()\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class Heartbeats:
    """What uplinks say four times a second, from their addresses on the target."""

    INTERVAL = 0.25

    def __init__(self, host, way):
        self.silent = set()  # blocks
        self._to = (f"{way.inner}.1", API_PORT)
        self._sockets = {}
        with host.network():
            for block in UPLINKS:
                self._sockets[block] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._sockets[block].bind((f"{way.inner}.{16 * block}", 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self):
        sequence = 0
        while not self._stop.wait(self.INTERVAL):
            sequence += 1
            # Magic, version, flags (ready), sequence, digest: common/protocol/heartbeat.h
            beat = b"edhb" + struct.pack(">BBQ", 1, 1, sequence) + bytes(32)
            for block, sender in self._sockets.items():
                with contextlib.suppress(OSError):  # an edge that is not there yet
                    if block not in self.silent:
                        sender.sendto(beat, self._to)

    def stop(self):
        self._stop.set()
        self._thread.join()
        for sender in self._sockets.values():
            sender.close()


class Place:
    """All hosts, wired, with nothing measured yet."""

    def __init__(self, lab):
        self.lab = lab
        self.client = lab.host("client", CLIENT_SYSCTLS)
        self.target = lab.host("target")
        self.hosts = {}
        for way in (FEW, MANY):
            self._wire(way, lab.host(way.name), "edged0", "")
        for way in (ROUTER, RULE):
            self._wire(way, lab.host(way.name, {"ip_forward": "1"}), "target", f"{way.inner}.1/24")
        self.hosts[RULE.name].run(["nft", "-f", "-"], input=ONE_RULE)
        self.client.ip(f"route add {TARGET} via {ROUTER.address}")
        for way in (FEW, MANY):
            self._serve_device(self.hosts[way.name])

    def _wire(self, way, host, device, address):
        self.hosts[way.name] = host
        self.lab.wire(
            self.client, way.name, f"{way.outer}.9/24", host, "eth0", f"{way.address}/24"
        )
        # The target answers for its own address, or for what an edge calls its uplinks.
        own = f"{way.inner}.2/24"
        if not address:
            own = " ".join(f"{way.inner}.{16 * block + i}/32" for block in UPLINKS for i in (0, 1))
        self.lab.wire(host, device, address, self.target, way.name, own)
        host.ip(f"link set {device} mtu {TUNNEL_MTU}")
        gateway = f"{way.inner}.1"
        self.target.ip(
            f"link set {way.name} mtu {TUNNEL_MTU}\n"
            f"route replace {gateway} dev {way.name}\n"
            f"route add {way.outer}.0/24 via {gateway} dev {way.name}"
        )

    def _serve_device(self, host):
        process = host.start([PROGRAMS / "bench_device", "/run/wireguard/edged0.sock"], "device")
        process.wait_for("ready")

    def edge(self, way):
        """edged on that host; started, not programmed yet."""
        edge = Edge(self.hosts[way.name], f"{way.inner}.0/22")
        edge.start()
        return edge

    def serve(self):
        """The target's server, for all ways."""
        server = self.target.start(
            [PROGRAMS / "bench_load", "serve", BULK_PORT, WORD_PORT], "load"
        )
        server.wait_for("ready")

    def flush_connections(self):
        """Forgets all connections, so that each run finds the tables empty."""
        for way in (FEW, MANY, RULE):
            self.hosts[way.name].run(["conntrack", "-F"])


def wait_for_line(process, pattern, start):
    """The first match of `pattern` in what `process` wrote after the first `start` characters."""
    def look():
        found = pattern.search(process.output(), start)
        assert found, f"{process.log.stem} has not said {pattern.pattern!r}"
        return found

    return eventually(look, seconds=10, pause=0.01)
