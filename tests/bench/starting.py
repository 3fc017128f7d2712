"""How fast edged serves after its start, and the size of its program."""

import subprocess

from expect import eventually, expect
from lab import BUILD
from place import EDGED, Agent, Edge
from results import Row, at_most

WIREGUARD_GO = "/usr/bin/wireguard-go"
ADDRESS = "203.0.113.1"
RESTORED = 10_000
PEERS = 4  # three uplinks, and who introduces itself


def program():
    """Its size, and that it is position-independent, as it is measured everywhere here."""
    stripped = BUILD / "edged.stripped"
    subprocess.run(["strip", "-o", stripped, EDGED], check=True)
    header = subprocess.run(["readelf", "-h", EDGED], check=True, capture_output=True, text=True)
    expect("(Position-Independent Executable file)" in header.stdout, True, "PIE")
    yield Row("stripped program of the release", stripped.stat().st_size / 1e6, "MB", at_most(15))


class Boot:
    """One VPS after a reboot: wireguard-go runs, as its unit starts it, and nothing else is there
    yet of what edged makes."""

    def __init__(self, lab, name):
        self.host = lab.host(name)
        self.host.ip(
            "link add eth0 type veth peer name far\n"
            f"address add {ADDRESS}/24 dev eth0\n"
            "link set far up\n"
            "link set eth0 up"
        )
        self.edge = Edge(self.host, "10.200.0.0/22")
        self._wireguard = None

    def reboot(self):
        if self._wireguard:
            self._wireguard.kill()
            self.host.run(["nft", "delete", "table", "inet", "edged"])
        socket = self.host.folder / "run/wireguard/edged0.sock"
        socket.unlink(missing_ok=True)
        self._wireguard = self.host.start([WIREGUARD_GO, "--foreground", "edged0"], "wireguard-go")
        eventually(lambda: self.host.run(["wg", "show", "edged0"]), pause=0.005)

    def remember(self, mappings):
        """Has edged store a state with so many mappings."""
        self.reboot()
        self.edge.start()
        agent = Agent(self.host, ADDRESS)
        agent.snapshot(mappings)
        agent.stop()
        self.edge.stop()

    def times(self, repetitions):
        for _ in range(repetitions):
            self.reboot()
            yield self.edge.start()
            self.check()
            self.edge.stop()

    def check(self):
        """What READY=1 promised is there."""


class Restoring(Boot):
    def check(self):
        expect(self.edge.table().count(" : 0x"), RESTORED, "mappings in the kernel")
        peers = self.host.run(["wg", "show", "edged0", "peers"]).stdout.split()
        expect(len(peers), PEERS, "peers")


def starts(lab, effort):
    idle, full = Boot(lab, "idle"), Restoring(lab, "full")
    full.remember(RESTORED)
    first = list(idle.times(effort.pairs))
    second = list(full.times(effort.pairs))
    note = f"{effort.pairs} starts, each after a reboot; userspace WireGuard runs"
    yield Row.median("edged started until it serves", first, "ms", at_most(30), note)
    yield Row.median(
        "edged started until 10,000 restored mappings and the peers are in place",
        second, "ms", at_most(150), note,
    )
