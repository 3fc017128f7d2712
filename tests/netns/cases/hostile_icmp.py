"""ICMP that somebody made up, about the tunnel's own packets and about those of its users."""

import json
import socket
import struct
import time

import ask
from case import case
from cases.pmtu import carries, checksum, mtus, route_mtu, serving
from expect import becomes, eventually, expect, expect_in, expect_not_in
from stream import Stream, Transfer
from world import A, CGNAT, CLIENT, HOME_LAN

GATEWAY, NEIGHBOUR = "203.0.113.126", "203.0.113.77"
ROUTER = "198.51.100.1"  # of the client
UNREACHABLE, QUENCH, REDIRECT, EXCEEDED, PROBLEM = 3, 4, 5, 11, 12



def too_big(mtu):
    return UNREACHABLE, 4, struct.pack("!HH", 0, mtu)


TOO_BIG = too_big(68)
SO_BINDTODEVICE = 25
UDP, TCP = 17, 6
ERRORS = (
    *((UNREACHABLE, code, bytes(4)) for code in range(16)),
    (QUENCH, 0, bytes(4)), (EXCEEDED, 0, bytes(4)), (EXCEEDED, 1, bytes(4)),
    *((PROBLEM, code, bytes(4)) for code in range(3)), TOO_BIG,
    *((REDIRECT, code, socket.inet_aton(NEIGHBOUR)) for code in range(4)),
)


def forge(host, source, destination, error, sent, device=""):
    """An ICMP error = (type, code, rest of its header), in the name of `source`, about a packet
    `sent` = (protocol, source, port, destination, port) that its receiver seems to have sent."""
    protocol, its_source, its_port, its_destination, its_other_port = sent
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1400, 0, 0, 64, protocol, 0,
                         socket.inet_aton(its_source), socket.inet_aton(its_destination))
    quoted += struct.pack("!HHHH", its_port, its_other_port, 1380, 0)
    kind, code, rest = error
    message = struct.pack("!BBH4s", kind, code, 0, rest) + quoted
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0,
                         socket.inet_aton(source), socket.inet_aton(destination)) + message
    with host.network():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        if device:
            raw.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        raw.sendto(packet, (destination, 0))


def outer(setup):
    """(address, port) of the uplink as the edge sees it."""
    address, port = eventually(lambda: setup.edge.status()["uplinks"][0]["endpoint"]).rsplit(":", 1)
    return address, int(port)


def gateway_of(host, address):
    words = host.run(["ip", "route", "get", address]).stdout.split()
    return words[words.index("via") + 1]


def redirects(setup):
    """What doctor says of them."""
    done = setup.edge.cli("doctor", "-o", "json", check=False)
    return [one for one in json.loads(done.stdout)["findings"] if "redirect" in one["what"]]


@case
def redirect_by_a_neighbour(lab):
    """A neighbour of the VPS redirects its tunnel in the router's name: doctor says so, and after
    `edged prepare` the kernel heeds none."""
    setup = serving(lab)
    host, neighbour = setup.edge.host, setup.world.internet
    neighbour.ip(f"address add {NEIGHBOUR}/25 dev a")
    address, port = outer(setup)

    def redirect():
        for _ in range(3):  # the first one makes the kernel look for the neighbour
            forge(neighbour, GATEWAY, A, (REDIRECT, 1, socket.inet_aton(NEIGHBOUR)),
                  (UDP, A, 51820, address, port))
            time.sleep(0.2)

    redirect()
    expect(gateway_of(host, address), NEIGHBOUR, "a kernel that nobody prepared heeds it")
    expect_in(f"leads what is for {address}", redirects(setup)[0]["what"])
    told = setup.edge.cli("prepare", check=False).stdout
    expect_in("net.ipv4.conf.all.accept_redirects: 1 -> 0", told)
    host.run(["ip", "route", "flush", "cache"])
    expect(redirects(setup), [])
    redirect()
    expect(gateway_of(host, address), GATEWAY)


@case
def errors_about_the_tunnel(lab):
    """Whatever somebody on the internet says to either end of the tunnel's packets, nothing is
    lost in it, and its MTU is believed of nobody who may lie."""
    setup = serving(lab)
    setup.edge.cli("prepare", check=False)
    router = setup.world.internet
    address, port = outer(setup)
    before = mtus(setup)
    with Stream(setup.world.client, A, 7000) as stream:
        for error in ERRORS * 3:
            forge(router, GATEWAY, A, error, (UDP, A, 51820, address, port))
            forge(router, "192.0.2.1", CGNAT, error, (UDP, CGNAT, port, A, 51820))
            time.sleep(0.02)
    expect(stream.lost(), [], "lost packets")
    carries(setup)
    expect(mtus(setup), before)


def device_of(setup):
    shown = setup.world.home.run(["wg", "show", "all", "peers"]).stdout
    return shown.split()[0]


@case
def errors_about_mapped_flows(lab):
    """Whatever somebody on the internet, or the uplink itself, says of a client's connections,
    they go on, and the VPS and the uplink's host change no route of theirs."""
    setup = serving(lab)
    world = setup.world
    with world.client.network():
        held = ask.Held(A, 81)
    transfer = Transfer(world.client, A, 82, "pull", rate=500_000).flowing()
    with Stream(world.client, A, 7000) as stream:
        time.sleep(0.2)
        flows = [
            (TCP, 81, held.source), (TCP, 82, transfer.source), (UDP, 7000, stream.source()),
        ]
        for error in ERRORS * 2:
            for protocol, port, of_client in flows:
                forge(world.internet, ROUTER, A, error, (protocol, A, port, CLIENT, of_client))
                forge(world.home, "10.200.0.16", CLIENT, error,
                      (protocol, CLIENT, of_client, "10.200.0.17", port), device_of(setup))
            time.sleep(0.02)
    expect(stream.lost(), [], "lost packets")
    expect(held.ask("held"), f"backend:8081 saw {HOME_LAN}: held")
    expect(transfer.result(), "whole")
    for host in (setup.edge.host, world.home):
        expect_not_in("redirected", host.run(["ip", "route", "show", "cache"]).stdout)
    carries(setup)


@case
def nobody_makes_packets_small_for_all(lab):
    """A client, and whoever has the VPS, says that very little fits on the way of a connection of
    its own: the target, for which all clients have one address, goes on sending whole packets to
    everybody. What a way of this day may carry is believed."""
    setup = serving(lab)
    world = setup.world
    device = device_of(setup)

    def believed():
        return route_mtu(world.backend, HOME_LAN)

    with Stream(world.client, A, 7000) as stream:
        time.sleep(0.2)
        flow = (UDP, A, 7000, CLIENT, stream.source())
        of_uplink = (UDP, "10.200.0.17", 7000, CLIENT, stream.source())
        for mtu in (0, 68, 552, 1279):
            forge(world.internet, ROUTER, A, too_big(mtu), flow)
            forge(setup.edge.host, "10.200.0.1", "10.200.0.17", too_big(mtu), of_uplink, "edged0")
        time.sleep(0.5)
        expect(believed(), None, "what the target sends at most")
        forge(world.internet, ROUTER, A, too_big(1280), flow)
        becomes(believed, 1280)
    expect(stream.lost(), [], "lost packets")
