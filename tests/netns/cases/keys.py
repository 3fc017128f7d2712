"""The edge's WireGuard key: its replacement, and what happens to it on the way."""

import shutil
import time

import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in, within
from lab import PYTHON, ROOT
from product import EDGED, Setup, port_binding, tcp, udp
from stream import Stream
from world import A, BACKEND, HOME_LAN


def serving(lab, edges=("a",)):
    setup = Setup(lab, edges)
    setup.world.serve(setup.world.backend, "backend", "page:8080", "talk:8081", "echo:7000")
    setup.start()
    setup.agent.write(
        "standard",
        port_binding(
            "standard", tcp(80, f"{BACKEND}:8080"), tcp(81, f"{BACKEND}:8081"),
            udp(7000, f"{BACKEND}:7000"),
        ),
    )
    setup.agent.wait_ready("standard")
    settled(setup)
    return setup


def tunnel(setup):
    return setup.edge.status()["tunnel"]


def edge_key(setup):
    """The public key that the edge's device has."""
    return setup.edge.host.run(["wg", "show", "edged0", "public-key"]).stdout.strip()


def agent_device(setup):
    links = setup.world.home.run(["ip", "-o", "link"]).stdout
    return next(word.rstrip(":") for word in links.split() if word.startswith("eu-"))


def peers(setup):
    """{public key: allowed ips} of the uplink's device."""
    text = setup.world.home.run(["wg", "show", agent_device(setup), "allowed-ips"]).stdout
    return dict(line.split("\t", 1) for line in text.splitlines())


def settled(setup, seconds=10):
    """Waits until both sides have one key of the edge and no other; that key."""

    def look():
        now = tunnel(setup)
        expect_in("publicKey", now, "the tunnel")
        expect(now.get("nextPublicKey", ""), "", "next key")
        expect(now.get("keyOfToken", False), False, "key of the token")
        expect(edge_key(setup), now["publicKey"], "the device's key")
        expect(list(peers(setup)), [now["publicKey"]], "the uplink's peers")
        expect_in("0.0.0.0/0", peers(setup)[now["publicKey"]])
        return now["publicKey"]

    return eventually(look, seconds)


def token_key(setup):
    text = (setup.agent.state / "tokens/a.yaml").read_text()
    return next(line.split()[1] for line in text.splitlines() if "edgePublicKey" in line)


@case
def first_contact_replaces_the_tokens_key(lab):
    """The token's key is gone from both sides after the first contact."""
    setup = serving(lab)
    of_token = token_key(setup)
    expect(settled(setup) != of_token, True, "a key of its own")
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    logs = setup.agent.process.output()
    expect_in("its token is used up", logs)
    expect("privateKey" in setup.edge.process.output() + logs, False, "a private key in a log")


@case
def rotation_loses_nothing(lab):
    """RotateKey under 50 packets a second and a held connection: five times, nothing is lost."""
    setup = serving(lab)
    with setup.world.client.network():
        held = ask.Held(A, 81)
    with Stream(setup.world.client, A, 7000) as stream:
        for number in range(5):
            before = settled(setup)
            with within(5, "rotate-key"):
                told = setup.edge.cli("rotate-key").stdout
            after = settled(setup)
            expect(after != before, True, "another key")
            expect_in(f"key {after} is in use instead of {before}", told)
            expect(held.ask(f"line {number}"), f"backend:8081 saw {HOME_LAN}: line {number}")
            time.sleep(0.5)
    print(f"    {stream.told()}")
    expect(stream.lost(), [], "lost packets")


def own_files(setup):
    return setup.edge.host.folder / "var/lib/edged", setup.agent.state / "keys/a.yaml"


def during_a_rotation(setup, delay, action):
    """Begins to replace the key, and acts this long after it was proposed."""
    path = own_files(setup)[0] / "key.yaml"
    before = path.read_text()
    setup.edge.host.start([EDGED, "rotate-key"], "rotate-key")
    eventually(lambda: expect(path.read_text() != before, True, "a proposal"), pause=0.001)
    time.sleep(delay)
    action()


DELAYS = (0, 0.004, 0.008, 0.015, 0.025, 0.06, 0.12)  # until after the last phase


def killed_in_each_phase(lab, daemon_of):
    """A daemon, killed at any moment of a rotation: both sides have one key again, and go on."""
    setup = serving(lab)
    daemon = daemon_of(setup)
    with setup.world.client.network():
        held = ask.Held(A, 81)
    with Stream(setup.world.client, A, 7000) as stream:
        for delay in DELAYS:
            during_a_rotation(setup, delay, daemon.process.kill)
            daemon.run()
            settled(setup, 20)
    print(f"    {stream.told()}")
    expect(len(stream.lost()) < 50, True, f"less than a second lost: {stream.told()}")
    expect(held.ask("held"), f"backend:8081 saw {HOME_LAN}: held")


@case
def edge_is_killed_in_each_phase(lab):
    """edged, killed at any moment of a rotation, goes on with it when it is back."""
    killed_in_each_phase(lab, lambda setup: setup.edge)


@case
def agent_is_killed_in_each_phase(lab):
    """clusteragent, killed at any moment of a rotation, follows when it is back."""
    killed_in_each_phase(lab, lambda setup: setup.agent)


def make_way_long(setup, milliseconds):
    """From now on a packet takes so much longer from edge to home, and as much back."""
    router = setup.world.internet
    tool = router.start([PYTHON, ROOT / "tests/tools/long_way.py", "long", milliseconds], "long")
    tool.wait_for("ready")
    router.ip(
        "link set dev long up\nroute add default dev long table 100\n"
        "rule add iif cgnat table 100\nrule add iif a to 192.0.2.0/24 table 100"
    )


@case
def killed_on_a_long_way(lab):
    """Far from each other, too, neither side leaves a key before a handshake by it had its time:
    either daemon is killed at some moment of rotations, and next to nothing is lost."""
    setup = serving(lab)
    make_way_long(setup, 40)
    with Stream(setup.world.client, A, 7000) as stream:
        for delay in (0.05, 0.1, 0.15, 0.25):
            for daemon in (setup.edge, setup.agent):
                during_a_rotation(setup, delay, daemon.process.kill)
                daemon.run()
                settled(setup, 20)
    print(f"    {stream.told()}")
    expect(len(stream.lost()) < 20, True, f"next to nothing lost: {stream.told()}")


@case
def network_is_lost_in_a_rotation(lab):
    """An uplink that missed the edge's last word of a rotation finds it by the right key."""
    setup = serving(lab)
    setup.agent.process.kill()
    path = own_files(setup)[1]
    other = setup.edge.host.run(["wg", "genkey"]).stdout.strip()
    path.write_text(f"{path.read_text()}otherEdgePublicKey: {other}\n")
    cgnat = setup.world.cgnat
    cgnat.ip("link set dev wan down")
    setup.agent.run()
    eventually(lambda: expect_in("sought by both", setup.agent.process.output()))
    cgnat.ip("link set dev wan up\nroute add default via 192.0.2.1")
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", seconds=8)
    settled(setup)


@case
def answers_are_lost_in_each_phase(lab):
    """A path that goes dead for a moment, in any phase of a rotation, ends in one key again."""
    setup = serving(lab)
    with setup.world.client.network():
        held = ask.Held(A, 81)
    router = setup.world.internet
    for delay in DELAYS[::2]:  # a handshake is tried again after 5 s only
        dead = "table ip dead { chain f { type filter hook forward priority 0; udp dport 51820 drop; "
        dead += "udp sport 51820 drop; }; }"
        during_a_rotation(setup, delay, lambda rules=dead: router.nft(rules))
        time.sleep(0.7)
        router.run(["nft", "delete", "table", "ip", "dead"])
        settled(setup, 40)
        becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    expect(held.ask("held"), f"backend:8081 saw {HOME_LAN}: held")


def lose_kernel(host, device):
    command = f"nft flush ruleset; ip link del {device}; conntrack -F"
    host.run(["sh", "-c", command], check=False)


@case
def reboots_in_a_rotation(lab):
    """Both sides, rebooted in the middle of a rotation, find each other again."""
    setup = serving(lab)
    device = agent_device(setup)
    for delay in (0.004, 0.03):
        during_a_rotation(setup, delay, setup.edge.process.kill)
        lose_kernel(setup.edge.host, "edged0")
        setup.edge.run()
        settled(setup, 20)
        during_a_rotation(setup, delay, setup.agent.process.kill)
        lose_kernel(setup.world.home, device)
        setup.agent.run()
        settled(setup, 20)
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


@case
def no_agent_while_rotating(lab):
    """A key that is proposed while no agent is connected is in use when one is."""
    setup = serving(lab)
    before = settled(setup)
    setup.agent.process.kill()
    eventually(lambda: expect_in("no agent is connected", setup.edge.cli("rotate-key").stdout), 15)
    expect(edge_key(setup), before, "the key until then")
    setup.agent.run()
    eventually(lambda: expect(settled(setup) != before, True, "another key"), 10)


@case
def falls_back(lab):
    """An edge whose new key nobody knows has the one before again after 30 s."""
    setup = serving(lab)
    before = settled(setup)
    setup.edge.process.kill()
    path = own_files(setup)[0] / "key.yaml"
    lost = setup.edge.host.run(["wg", "genkey"]).stdout.strip()
    now = int(time.time() * 1000)
    path.write_text(f"{path.read_text()}nextPrivateKey: {lost}\nswitched: {now}\n")
    setup.edge.run()
    eventually(lambda: expect(edge_key(setup) != before, True, "the new key"))
    eventually(lambda: expect(edge_key(setup), before, "the device's key"), 32)
    expect(settled(setup, 15), before)
    expect_in("nobody has shaken hands", setup.edge.process.output())
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


@case
def two_in_a_row(lab):
    """RotateKey while one is under way goes on with that one; right after it, another begins."""
    setup = serving(lab)
    before = settled(setup)
    with Stream(setup.world.client, A, 7000) as stream:
        running = [setup.edge.host.start([EDGED, "rotate-key"], f"rotate-{n}") for n in range(3)]
        for one in running:
            expect(one.wait(10), 0, "exit code")
        for _ in range(3):
            expect_in("is in use instead of", setup.edge.cli("rotate-key").stdout)
        after = settled(setup)
    expect(after != before, True, "another key")
    print(f"    {stream.told()}")
    expect(stream.lost(), [], "lost packets")


@case
def each_edge_has_its_own(lab):
    """Of two edges one replaces its key: the other's tunnel does not notice."""
    setup = serving(lab, ("a", "b"))

    def other():
        shown = [setup.edges["b"].host.run(["wg", "show", "edged0", what]).stdout
                 for what in ("public-key", "latest-handshakes")]
        return sorted("".join(shown).splitlines())

    eventually(lambda: expect_not_in("nextPublicKey", str(setup.edges["b"].status())))
    others = other()
    before = edge_key(setup)
    setup.edge.cli("rotate-key")
    expect(edge_key(setup) != before, True, "another key")
    expect(other(), others, "key and handshakes of the other")


@case
def joins_again(lab):
    """After a reset the edge joins the same cluster by a new token, and has a new key."""
    setup = serving(lab)
    before = settled(setup)
    expect(setup.edge.process.stop(), 0, "exit code")
    setup.edge.cli("reset")
    expect((own_files(setup)[0] / "key.yaml").exists(), False, "the key")
    setup.edge.run()
    setup.edge.join(setup.agent.token("a").stdout)

    def serves():
        expect(settled(setup) != before, True, "another key")
        expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")

    eventually(serves, 20)


@case
def joins_another_cluster(lab):
    """After a reset the edge joins another cluster, with a key that neither had before."""
    setup = serving(lab)
    before = settled(setup)
    setup.agent.process.stop()
    expect(setup.edge.process.stop(), 0, "exit code")
    setup.edge.cli("reset")
    expect((own_files(setup)[0] / "key.yaml").exists(), False, "the key")
    for path in setup.agent.state.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    setup.edge.run()
    setup.edge.join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a", seconds=20)
    expect(settled(setup) != before, True, "another key")
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
