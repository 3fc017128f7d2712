"""What can be done with keys by who should not: packets that are sent again, and keys that are
replaced without end."""

import socket
import struct
import threading
import time

import ask
from case import case
from cases.keys import edge_key, lose_kernel, serving, settled
from expect import becomes, expect, expect_in
from product import EDGE_OVERLAY
from stream import Stream
from world import A, HOME_LAN

SAW = f"backend:8080 saw {HOME_LAN}"
TUNNEL_PORT = 51820


class Recorder:
    """All packets of the tunnel that a router sees while the block lasts."""

    def __init__(self, router, device):
        self.packets = []
        with router.network():
            self._sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
            self._sniffer.bind((device, 0))
        self._sniffer.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.is_set():
            try:
                packet = self._sniffer.recv(65536)
            except TimeoutError:
                continue
            ports = struct.unpack("!HH", packet[20:24])
            if packet[0] == 0x45 and packet[9] == socket.IPPROTO_UDP and TUNNEL_PORT in ports:
                self.packets.append(packet)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._sniffer.close()

    def replay(self, router, client):
        """Sends all of them again as they were, and to the edge from another address, too."""
        with router.network():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with client.network():
            other = socket.socket(type=socket.SOCK_DGRAM)
        with raw, other:
            for number, packet in enumerate(self.packets):
                destination = socket.inet_ntoa(packet[16:20])
                raw.sendto(packet, (destination, 0))
                if destination == A:
                    other.sendto(packet[28:], (A, TUNNEL_PORT))
                if number % 20 == 0:
                    time.sleep(0.002)


def endpoint(setup):
    return setup.edge.status()["uplinks"][0]["endpoint"]


def rotated(setup):
    before = settled(setup)
    setup.edge.cli("rotate-key")
    expect(settled(setup) != before, True, "another key")


@case
def packets_sent_again(lab):
    """Whoever has recorded the tunnel through changes of its key, and sends all of it again, is
    not heard: nothing is lost, no key changes, and nobody's endpoint moves."""
    setup = serving(lab)
    router, client = setup.world.internet, setup.world.client
    with Recorder(router, "a") as recorded:
        rotated(setup)
        rotated(setup)
        expect(setup.ask(ask.page, A, 80), SAW)
    kinds = {packet[28] for packet in recorded.packets}
    expect(kinds >= {1, 2, 4}, True, f"initiations, responses and data in {kinds}")
    key, place = edge_key(setup), endpoint(setup)
    with Stream(client, A, 7000) as stream:
        for _ in range(3):
            recorded.replay(router, client)
            expect(endpoint(setup), place)
        time.sleep(0.5)
    print(f"    {len(recorded.packets)} packets three times; {stream.told()}")
    expect(stream.lost(), [], "lost packets")
    expect(edge_key(setup), key)


@case
def packets_sent_again_after_a_reboot(lab):
    """A VPS that was rebooted remembers no handshake, so that it hears an old one: its tunnel
    comes up beside those all the same, and the uplink's endpoint is the uplink's."""
    setup = serving(lab)
    router, client = setup.world.internet, setup.world.client
    with Recorder(router, "a") as recorded:
        rotated(setup)
        time.sleep(0.5)
    place = endpoint(setup)
    setup.edge.process.kill()
    lose_kernel(setup.edge.host, "edged0")
    over = threading.Event()

    def replay():
        while not over.is_set():
            recorded.replay(router, client)

    attacker = threading.Thread(target=replay)
    attacker.start()
    try:
        setup.edge.run()
        start = time.monotonic()
        becomes(lambda: setup.ask(ask.page, A, 80), SAW, 10)
        print(f"    answers after {time.monotonic() - start:.1f} s")
        becomes(lambda: endpoint(setup), place)
    finally:
        over.set()
        attacker.join()
    expect(setup.ask(ask.page, A, 80), SAW)


@case
def rotations_without_end(lab):
    """An uplink that has the edge's key replaced again and again gets some at once, then one
    every ten seconds: nothing of anybody's is lost."""
    setup = serving(lab)
    call = (
        "grpcurl -plaintext -max-time 5 "
        f"{EDGE_OVERLAY['a']}:7443 edged.v1.EdgeService/RotateKey 2>&1"
    )
    start = time.monotonic()
    with Stream(setup.world.client, A, 7000, 0.005) as stream:
        script = f"for i in $(seq 1 120); do {call}; sleep 0.05; done"
        said = setup.world.home.run(["sh", "-c", script], seconds=60, check=False).stdout
    seconds = time.monotonic() - start
    expect_in("ResourceExhausted", said)
    expect_in("the key was replaced 8 times in a row", said)
    count = setup.edge.process.output().count(": in use, and ") - 1  # the token's
    print(f"    {count} in {seconds:.0f} s; {stream.told()}")
    expect(8 <= count <= 9 + seconds / 10, True, f"{count} replacements")
    expect(stream.lost(), [], "lost packets")
    settled(setup, 20)
