"""What a hostile uplink sends through its tunnel, beside the API's calls."""

import socket
import struct
import threading
import time
from pathlib import Path

from case import case
from expect import expect
from product import EDGE_OVERLAY
from served import MEGABYTE, Undisturbed, becomes_served, memory, serves_more, serving

EDGE = EDGE_OVERLAY["a"]
PORT = 7443
UPLINK = "10.200.0.16"


def dropped_here():
    """How many packets the devices of this thread's host had no room for, either way."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return sum(int(line.split(":")[1].split()[column]) for line in lines for column in (3, 11))


def flooding(host, send, seconds):
    """Makes the calls of `send()` on the host, up to 20,000 a second, in a thread; (thread,
    counts)."""
    counts = []

    def flood():
        with host.network():
            deadline = time.monotonic() + seconds
            count, dropped = 0, dropped_here()
            for one in send():
                one()
                count += 1
                if count % 100 == 0:
                    # A flood that fills the tunnel itself takes its own heartbeats away; how
                    # much that is depends on what else this machine does.
                    time.sleep(0.005)
                    while dropped != dropped_here():
                        dropped = dropped_here()
                        time.sleep(0.1)
                    if time.monotonic() > deadline:
                        break
            counts.append(count)

    thread = threading.Thread(target=flood)
    thread.start()
    return thread, counts


def goes_on_during(setup, send, seconds=4):
    before = memory(setup.edge)
    with Undisturbed(setup):
        thread, counts = flooding(setup.world.home, send, seconds)
        port = 200
        while thread.is_alive():
            serves_more(setup, port)
            port += 1
            time.sleep(0.5)
        thread.join()
    grown = memory(setup.edge) - before
    print(f"    {counts[0]} packets, the edge grew by {grown / MEGABYTE:.1f} MB")
    expect(counts[0] > 1000, True, "packets")
    expect(grown < 32 * MEGABYTE, True, f"grown by {grown}")


def quietly(call, *arguments):
    def send():
        try:
            call(*arguments)
        except OSError:
            pass  # full buffers, refusals

    return send


@case
def heartbeats_that_are_none(lab):
    """Garbage of every length on the heartbeat port is no life and does no harm."""
    setup = serving(lab)

    def send():
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            while True:
                for size in (0, 1, 7, 48, 49, 50, 256, 257, 1300):
                    yield quietly(sender.sendto, b"\xed" * size, (EDGE, PORT))

    goes_on_during(setup, send)


@case
def heartbeats_of_others(lab):
    """Heartbeats that were copied, or that come from an address that is no uplink's, count for
    nobody: an uplink whose agent was killed is dead all the same."""
    setup = serving(lab)
    copied = record_heartbeat(setup)

    def send():
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            # An address of its block, but not its own.
            sender.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
            sender.bind(("10.200.0.17", 0))
            while True:
                yield quietly(sender.sendto, copied, (EDGE, PORT))

    goes_on_during(setup, send)
    setup.agent.process.kill()
    thread, _ = flooding(setup.world.home, send, 5)
    thread.join()
    expect("uplink vm: suspect → dead" in setup.edge.process.output()
           or "→ dead" in setup.edge.process.output(), True, "the uplink is dead")
    setup.agent.run()
    becomes_served(setup)


def record_heartbeat(setup):
    """A datagram as the agent sends it, as seen on the edge's tunnel device."""
    with setup.edge.host.network():
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer:
            sniffer.bind(("edged0", 0))
            sniffer.settimeout(3)
            while True:
                packet = sniffer.recv(2048)
                if packet[9] == 17 and struct.unpack(">H", packet[22:24])[0] == PORT:
                    return packet[28:]


@case
def heartbeats_without_end(lab):
    """An uplink that says something else with each of thousands of heartbeats does not keep the
    edge from its work."""
    setup = serving(lab)
    copied = bytearray(record_heartbeat(setup))

    def send():
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.bind((UPLINK, 0))
            while True:
                for byte in range(256):
                    copied[-1] = byte
                    yield quietly(sender.sendto, bytes(copied), (EDGE, PORT))

    goes_on_during(setup, send)


@case
def handshakes_without_end(lab):
    """A flood of TCP handshakes that are never finished takes neither memory nor the API."""
    setup = serving(lab)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sender:
            sender.bind((UPLINK, 0))
            while True:
                for port in range(1024, 65536):
                    yield quietly(sender.sendto, syn(port), (EDGE, 0))

    goes_on_during(setup, send)


def syn(port):
    """A TCP segment that begins a connection (RFC 9293)."""
    segment = struct.pack(">HHIIBBHHH", port, PORT, port, 0, 5 << 4, 2, 64240, 0, 0)
    pseudo = socket.inet_aton(UPLINK) + socket.inet_aton(EDGE) + struct.pack(">BBH", 0, 6, 20)
    total = sum(struct.unpack(f">{(len(pseudo) + 20) // 2}H", pseudo + segment))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return segment[:16] + struct.pack(">H", ~total & 0xFFFF) + segment[18:]


@case
def echoes_without_end(lab):
    """A hostile VPS that floods the uplink does not keep the agent from its work."""
    setup = serving(lab)
    copied = record_heartbeat(setup)
    with setup.edge.host.network():
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer:
            sniffer.bind(("edged0", 0))
            sniffer.settimeout(3)
            packet = sniffer.recv(2048)
            while not (packet[9] == 17 and packet[12:16] == socket.inet_aton(UPLINK)):
                packet = sniffer.recv(2048)
    agent_port = struct.unpack(">H", packet[20:22])[0]

    def send():
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.bind((EDGE, 0))
            while True:
                yield quietly(sender.sendto, copied, (UPLINK, agent_port))

    with Undisturbed(setup):
        thread, counts = flooding(setup.edge.host, send, 4)
        port = 300
        while thread.is_alive():
            serves_more(setup, port)
            port += 1
            time.sleep(0.5)
        thread.join()
    print(f"    {counts[0]} packets")
