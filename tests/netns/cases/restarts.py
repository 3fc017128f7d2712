"""Either daemon is killed, stopped, replaced: what flows goes on, without a single loss."""

import signal
import time

import ask
from case import case
from expect import eventually, expect, expect_in, expect_not_in
from product import Setup, edge_node, tcp, udp
from slowness import SLOWNESS
from stream import Stream, Transfer
from world import A, BACKEND, HOME_LAN

INTERVAL = 0.005 * SLOWNESS  # 200 packets a second, where the machine can carry them


def build(lab):
    setup = Setup(lab)
    world = setup.world
    world.serve(world.backend, "backend", "page:8080", "talk:8081", "bulk:8082", "echo:7000")
    setup.start()
    setup.agent.bind(
        "standard", tcp(80, f"{BACKEND}:8080"), tcp(81, f"{BACKEND}:8081"),
        tcp(82, f"{BACKEND}:8082"), udp(7000, f"{BACKEND}:7000"),
    )
    key_is_settled(setup)
    return setup


def key_is_settled(setup):
    """The token's key has been replaced, and the agent knows one key."""
    def look():
        expect(setup.edge.status()["tunnel"].get("keyOfToken", False), False, "key of the token")
        shown = setup.world.home.run(["wg", "show", "all", "peers"]).stdout
        expect(len(shown.splitlines()), 1, "peers of the uplink")

    eventually(look, 10)


def wireguard_pids(setup):
    return [host.pids_of("wireguard-go") for host in (setup.edge.host, setup.world.home)]


def flowing(setup, what, disturb):
    """A UDP stream, a held connection, a download and an upload, all through `disturb`."""
    before = wireguard_pids(setup)
    client = setup.world.client
    with setup.ask(ask.Held, A, 81) as held, Stream(client, A, 7000, INTERVAL) as stream:
        transfers = [Transfer(client, A, 82, verb) for verb in ("pull", "push")]
        for transfer in transfers:
            transfer.flowing()
        disturb()
        setup.agent.wait_edge_ready("a", seconds=15)
        expect(held.ask(what), f"backend:8081 saw {HOME_LAN}: {what}")
        results = [transfer.result() for transfer in transfers]
    gaps = [transfer.longest_gap * 1000 for transfer in transfers]
    print(f"    {what}: {stream.told()}; TCP gaps {gaps[0]:.0f} and {gaps[1]:.0f} ms", flush=True)
    expect(results, ["whole", "whole"], f"{what}: download, upload")
    expect(stream.lost(), [], f"{what}: lost of {len(stream.sent)} datagrams")
    expect(wireguard_pids(setup), before, f"{what}: wireguard-go")


def restart(start, process, end):
    """Ends a daemon, leaves it dead for longer than heartbeats may be missing, starts it."""
    if end == signal.SIGTERM:
        expect(process.stop(), 0, "exit code")
    else:
        process.kill()
    time.sleep(1.2)
    start()


@case
def edged_is_restarted(setup):
    """edged, stopped and started under load: nothing is lost, nobody is refused."""
    process = setup.edge.process
    flowing(setup, "edged restarted", lambda: restart(setup.edge.run, process, signal.SIGTERM))
    expect_not_in(": refused ", process.output())


@case
def edged_is_killed(setup):
    """edged, killed and started under load: the same."""
    process = setup.edge.process
    flowing(setup, "edged killed", lambda: restart(setup.edge.run, process, signal.SIGKILL))


@case
def clusteragent_is_restarted(setup):
    """clusteragent, stopped and started under load: the same."""
    process = setup.agent.process
    flowing(setup, "clusteragent restarted",
            lambda: restart(setup.agent.run, process, signal.SIGTERM))


@case
def clusteragent_is_killed(setup):
    """clusteragent, killed and started under load: the same."""
    process = setup.agent.process
    flowing(setup, "clusteragent killed",
            lambda: restart(setup.agent.run, process, signal.SIGKILL))


@case
def both_are_killed(setup):
    """Both daemons, dead at once and started again under load: the same."""
    def disturb():
        setup.edge.process.kill()
        restart(setup.agent.run, setup.agent.process, signal.SIGKILL)
        setup.edge.run()

    flowing(setup, "both killed", disturb)


@case
def killed_again_and_again(setup):
    """edged, killed at ten moments of its start: nothing is lost."""
    def disturb():
        for moment in range(10):
            setup.edge.process.kill()
            if moment == 9:
                setup.edge.run()
            else:
                setup.edge.start()
                time.sleep(0.01 * moment)

    flowing(setup, "edged killed in its start", disturb)


def restart_with(setup, what, spoil):
    """clusteragent, killed and started with its key file spoiled, under load."""
    def disturb():
        process = setup.agent.process
        process.kill()
        spoil()
        restart(setup.agent.run, process, signal.SIGKILL)

    flowing(setup, what, disturb)


@case
def clusteragent_finds_its_key_damaged(setup):
    """An agent that finds its key file damaged takes the key from the device that carries the
    traffic, writes it anew, and keeps the other file: nothing is lost, nor is it with the next
    start."""
    path = setup.agent.state / "keys/a.yaml"
    key = path.read_text()
    restart_with(setup, "key damaged", lambda: path.write_text(key[: len(key) // 2]))
    expect_in(key.splitlines()[1], path.read_text(), "its key")
    expect(path.with_name("a.yaml.damaged").read_text(), key[: len(key) // 2])
    path.write_text("")
    restart_with(setup, "key empty", lambda: None)
    expect_in(key.splitlines()[1], path.read_text(), "its key")
    restart_with(setup, "key whole again", lambda: None)


@case
def clusteragent_cannot_read_its_key(setup):
    """The same where the file cannot be read at all: the EdgeNode says so until it can be."""
    path = setup.agent.state / "keys/a.yaml"
    key = path.read_text()

    def spoil():
        path.unlink()
        path.mkdir()

    def told():
        return setup.agent.edge_condition("a", "Enrolled")[2]

    restart_with(setup, "key unreadable", spoil)
    eventually(lambda: expect_in("keys/a.yaml", told()), 10)
    expect(path.is_dir(), True, "left alone")
    path.rmdir()
    path.write_text(key)
    eventually(lambda: expect(told(), ""), 10)
    restart_with(setup, "key readable again", lambda: None)


def reboot_home(setup, meanwhile=lambda: None):
    """All that a kernel forgets when it reboots, but for the network that the lab made."""
    home = setup.world.home
    setup.agent.process.kill()
    device = next(
        line.split()[0] for line in home.run(["wg", "show", "all", "peers"]).stdout.splitlines()
    )
    home.run(["sh", "-c", f"nft flush ruleset; ip link del {device}; conntrack -F"], check=False)
    meanwhile()
    setup.agent.run()


def answers_within(setup, seconds, what):
    start = time.monotonic()
    eventually(
        lambda: expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}"), seconds
    )
    print(f"    {what}: answers after {time.monotonic() - start:.1f} s", flush=True)


@case
def home_reboots(setup):
    """An uplink whose host was rebooted serves as soon as its agent runs: its first handshake
    waits for nothing."""
    reboot_home(setup)
    answers_within(setup, 2, "rebooted")


@case
def home_reboots_without_a_network(setup):
    """The same where the way to the edge comes a while after the agent."""
    home = setup.world.home
    reboot_home(setup, lambda: home.ip("route del default"))
    time.sleep(3)
    home.ip("route add default via 192.168.1.1")
    answers_within(setup, 2, "with a way")


@case
def home_reboots_without_a_name_server(setup):
    """The same where the edge's name is known a while after the agent."""
    home = setup.world.home
    names = home.folder / "hosts"
    names.write_text("127.0.0.1 localhost\n")
    home.run(["mount", "--bind", names, "/etc/hosts"])
    reboot_home(setup, lambda: setup.agent.write(
        "edge-a", edge_node("a", "vps.example.com", (A,), tunnel={"network": "10.200.0.0/22"})
    ))
    time.sleep(2)
    names.write_text(f"{A} vps.example.com\n")
    answers_within(setup, 5, "with a name")
