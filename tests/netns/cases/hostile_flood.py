"""Strangers who fill the VPS's table of connections through a mapped port."""

import contextlib
import time

import ask
from case import case
from expect import Skipped, becomes, eventually, expect, expect_in, expect_not_in, within
from product import Setup, tcp, udp
from served import MEGABYTE, Undisturbed, memory, warnings
from stream import Stream
from world import A, BACKEND, HOME_LAN

LIMIT_SECONDS = 120
SAW = f"backend:8081 saw {HOME_LAN}: hello"
# As `conntrack -o save` writes it.
HALF_OPEN = "--state SYN_SENT -u UNSET -t 120"
ESTABLISHED = "--state ESTABLISHED -u SEEN_REPLY,ASSURED -t 3600"


def serving(lab):
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080", "talk:8081", "echo:7000")
    setup.start()
    setup.agent.bind(
        "standard", tcp(80, f"{BACKEND}:8080"), tcp(81, f"{BACKEND}:8081"),
        udp(7000, f"{BACKEND}:7000"),
    )
    return setup


def most_of(host):
    return int(host.run(["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]).stdout)


def fill(setup, how):
    """The table as a flood of strangers leaves it, up to its end."""
    host = setup.edge.host
    most = most_of(host)
    if most > 300_000:
        raise Skipped(f"a table of {most} connections takes too long to fill")
    path = setup.lab.folder / "flows"
    with path.open("w") as file:
        for number in range(most + 1000):
            client = f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            file.write(
                f"-A -s {client} -d {A} -r {A} -q {client} -p tcp --sport 4000 --dport 81 "
                f"--reply-port-src 81 --reply-port-dst 4000 {how}\n"
            )
    start = time.monotonic()
    host.run(["conntrack", "-R", path], check=False, seconds=60)
    print(f"    {most} connections in {time.monotonic() - start:.1f} s", flush=True)


@contextlib.contextmanager
def goes_on(setup):
    """What there was before goes on in the block, and edged stays small and quick."""
    client = setup.world.client
    with client.network():
        held = ask.Held(A, 81)
    before = memory(setup.edge)
    with Undisturbed(setup), Stream(client, A, 7000) as stream:
        time.sleep(0.3)
        yield
        expect(held.ask("held"), f"backend:8081 saw {HOME_LAN}: held")
    print(f"    {stream.told()}")
    expect(stream.lost(), [], "lost packets")
    grown = memory(setup.edge) - before
    expect(grown < 16 * MEGABYTE, True, f"grown by {grown}")


def new_connections(setup):
    return setup.ask(ask.talk, A, 81)


@case
def half_open_connections(lab):
    """A table full of connections that nobody answered: whoever comes still finds room."""
    setup = serving(lab)
    with goes_on(setup):
        fill(setup, HALF_OPEN)
        for _ in range(5):
            expect(new_connections(setup), SAW)
        setup.agent.bind("more", udp(7001, f"{BACKEND}:7000"))


@case
def established_connections(lab):
    """A table full of connections that are in use: what there was goes on, edged does its work
    and says why nobody new comes in, and all is well when there is room again."""
    setup = serving(lab)
    edge = setup.edge
    with goes_on(setup):
        fill(setup, ESTABLISHED)
        eventually(lambda: expect_in("table of connections is full", warnings(edge)), 2)
        with within(2, "doctor"):
            shown = edge.cli("doctor", check=False).stdout
        expect_in("connections (100 %)", shown)
        # Every flow is looked through.
        setup.agent.bind("more", udp(7001, f"{BACKEND}:7000"))
        setup.agent.remove("more")
        edge.host.run(["nft", "flush", "table", "inet", "edged"])
        with within(2, "status"):
            edge.cli("status")
        time.sleep(2)
        edge.host.run(["conntrack", "-D", "-s", "11.0.0.0/8"], seconds=30)
        becomes(lambda: new_connections(setup), SAW)
        eventually(lambda: expect_not_in("connections is full", warnings(edge)), 2)
