"""Files, tokens and host names that somebody made to do harm."""

import os
import shutil
import threading
import time
from pathlib import Path

from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in, within
from lab import PYTHON
from product import EDGED, STATE, Agent, Edge, edge_node, port_binding
from served import Undisturbed, becomes_served, inside, page, serves_more, serving, settled, web
from world import A, World

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)
HEAD = (
    "apiVersion: edged.dev/v1alpha1\nkind: PortBinding\n"
    "metadata: {name: huge, namespace: default}\n"
    "spec:\n  edgeNodeRef: {name: a}\n  bindings:\n"
)


def no_escapes(text):
    """Nothing in it that a terminal obeys, and no line that was not written by us."""
    expect("\x1b" in text, False, "an escape character")
    for line in text.splitlines():
        expect(line.startswith("FORGED"), False, f"a forged line: {line}")


@case
def manifests_that_do_harm(lab):
    """Pipes, links, bombs and strange names beside good manifests hold up and hide nothing."""
    setup = serving(lab)
    folder = setup.agent.manifests
    with Undisturbed(setup):
        os.mkfifo(folder / "pipe.yaml")
        (folder / "folder.yaml").mkdir()
        for name, target in (
            ("to-pipe", "pipe.yaml"), ("zero", "/dev/zero"), ("random", "/dev/urandom"),
            ("loop", "loop.yaml"), ("nowhere", "/no/where"), ("shadow", "/etc/shadow"),
        ):
            (folder / f"{name}.yaml").symlink_to(target)
        with (folder / "hundred-megabytes.yaml").open("wb") as file:
            file.write(b"- x\n" * (25 << 20))
        (folder / "bomb.yaml").write_text(BOMB)
        (folder / "deep.yaml").write_text("[" * 1_000_000)
        (folder / "deep-blocks.yaml").write_text("- " * 100_000)
        (folder / "flat.yaml").write_text("- x\n" * 2_000_000)
        (folder / "binary.yaml").write_bytes(bytes(range(256)) * 1000)
        (folder / "x\nFORGED line\n\x1b[2J\x1b]0;owned\x07.yaml").write_text("kind: [")
        setup.agent.write("more", port_binding("more", web(81)))
        becomes_served(setup, 81, 40)
        serves_more(setup, 82)
    errors = (setup.agent.state / "errors").read_text()
    for word in ("bomb.yaml", "deep.yaml", "flat.yaml", "binary.yaml", "hundred-megabytes.yaml"):
        expect_in(word, errors)
    root = Path("/etc/shadow").read_text().splitlines()[0]
    for text in (
        errors, setup.agent.process.output(), setup.agent.cli("status", "--state", STATE).stdout,
    ):
        no_escapes(text)
        expect_not_in(root, text)


@case
def manifests_without_number(lab):
    """100,000 files beside good manifests push none of them out, and hold up nothing."""
    setup = serving(lab)
    folder = setup.agent.manifests
    with Undisturbed(setup):
        for number in range(100_000):
            (folder / f"0-{number:06}.yaml").write_text("# nothing\n")
        becomes(lambda: "10000 manifests" in (setup.agent.state / "errors").read_text(), True, 20)
        setup.agent.write("web", port_binding("web", web(80), web(82)))
        becomes_served(setup, 82, 10)


@case
def manifest_that_takes_seconds(lab):
    """While a manifest of many MB is read the uplink stays alive, and its mappings serve."""
    setup = serving(lab)
    lines = [
        f"  - {{name: p{port}-{extra}, protocol: TCP, listenPort: {port}, "
        "target: {address: 10.244.1.5, port: 8080}}\n"
        for extra in range(2) for port in range(2000, 42_000)
    ]
    with Undisturbed(setup):
        (setup.agent.manifests / "huge.yaml").write_text(HEAD + "".join(lines) + "  nonsense: [\n")
        start = time.monotonic()
        errors = setup.agent.state / "errors"
        becomes(lambda: "huge.yaml" in errors.read_text(), True, 40)
        print(f"    read in {time.monotonic() - start:.1f} s")
        serves_more(setup, 81)


@case
def token_texts_that_do_harm(lab):
    """What is no token is refused in one short line, whatever it is."""
    edge = Edge(World(lab, ("a",)).edges["a"])
    good = "edged1." + "A" * 200
    for text in (
        "", "\n", "edged1.", "edged2.AAAA", good, "A" * 10_000_000, "edged1." + "A" * 10_000_000,
        "\x1b[2J\x1b]0;owned\x07", "edged1.\x1b[2J", "\u009b2J" * 100, "%s%n" * 50, "\x7f" * 300,
    ):
        with within(3, "the refusal"):
            done = edge.join(text, check=False)
        expect(done.returncode, 1, f"exit code for {text[:40]!r}")
        output = done.stdout + done.stderr
        expect(len(output) < 500 and output.count("\n") == 1, True, f"output {output[:300]!r}")
        no_escapes(output)
    done = edge.host.run(["sh", "-c", f"head -c 1000000 /dev/urandom | {EDGED} join -"], check=False)
    expect(done.returncode, 1, "exit code for random bytes")
    expect(list((edge.host.folder / "var/lib/edged").glob("join*")), [], "enrolments")


@case
def host_name_that_hangs(lab):
    """A name server that never answers holds up neither the other edges nor the agent's end."""
    setup = serving(lab)
    home = setup.world.home
    resolver = lab.folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    home.run(["mount", "--bind", resolver, "/etc/resolv.conf"])
    silent = (
        "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM)\n"
        "s.bind(('127.0.0.1', 53)); print('ready', flush=True); time.sleep(60)"
    )
    home.start([PYTHON, "-c", silent], "resolver").wait_for("ready")
    with Undisturbed(setup):
        setup.agent.write(
            "hang", edge_node("hang", "edge.example.org", tunnel={"network": "10.200.8.0/22"})
        )
        setup.agent.token("hang")
        serves_more(setup, 81)
        eventually(
            lambda: expect_in("no answer", setup.agent.edge_condition("hang", "TunnelUp")[2]), 20
        )
    with within(2, "the agent's end"):
        setup.agent.process.stop()


@case
def state_file_that_is_another(lab):
    """A state file that is damaged, of a newer edged, too long or another edge's is kept aside;
    the edge says so, and is what the agent wants."""
    setup = serving(lab)
    settled()
    state = inside(setup.edge.host, "/var/lib/edged/state")
    good = state.read_bytes()
    for content in (b"", good[: len(good) // 2], b"\0" * 4096, good[:-1] + b"\xff", None):
        setup.edge.process.kill()
        if content is None:
            with state.open("wb") as file:
                file.truncate(100_000_000)
        else:
            state.write_bytes(content)
        setup.edge.run()
        expect_in("kept as", setup.edge.process.output().split("signal")[-1])
        expect(page(setup), "backend:8080 saw 10.244.1.1", "from the first moment")
        setup.agent.wait_edge_ready("a")
        kept = state.with_name("state.damaged")
        expect(kept.stat().st_size, 100_000_000 if content is None else len(content))
        becomes(lambda: setup.edge.status().get("mappingCount"), "1", 20)


OWN_FILES = ("join.yaml", "key.yaml", "state", "state.damaged", "used-tokens", "forget-epoch", "lock")


def vps_with_token(lab):
    """A VPS that is not enrolled yet, and a token for it."""
    world = World(lab, ("a",))
    agent = Agent(world.home)
    agent.write("a", edge_node("a", A))
    return Edge(world.edges["a"]), agent.token("a").stdout.strip()


class Canary:
    """A pipe of root's that knows whether anybody has opened it to read."""

    def __init__(self, path):
        os.mkfifo(path, 0o600)
        self._path = path
        self._writer = threading.Thread(target=lambda: os.close(os.open(path, os.O_WRONLY)))
        self._writer.start()

    def was_opened(self):
        opened = not self._writer.is_alive()
        while self._writer.is_alive():  # lets it go
            os.close(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK))
            time.sleep(0.01)
        return opened


@case
def links_for_root(lab):
    """What the daemon's own user plants in its folders leads no command that root types to a file
    of root's: nothing is opened there, nothing written, and none of them hangs."""
    edge, token = vps_with_token(lab)
    state, run = (edge.host.folder / path for path in ("var/lib/edged", "run/edged"))
    victim = lab.folder / "victim"
    victim.write_text("secret: of root\n")
    victim.chmod(0o640)  # root's group may read it
    before = victim.stat()
    nobody = 65534
    commands = (
        ["prepare"], ["doctor"], ["status"], ["join", token], ["rotate-key"], ["reset", "--owner"],
        ["reset", "--epoch"], ["reset", "--kernel"], ["reset"], ["join", token],
    )
    for number, target in enumerate((victim, lab.folder / "canary", "/no/where", victim)):
        canary = Canary(target) if number == 1 else None
        for folder, names in ((state, OWN_FILES), (run, ("ipv6-forwarding", "edged.sock"))):
            os.chown(folder, nobody, nobody)
            for name in names:
                (folder / name).unlink(missing_ok=True)
                if number < 3:
                    (folder / name).symlink_to(target)
                else:
                    os.link(target, folder / name)
        for command in commands:
            done = edge.host.run([EDGED, *command], check=False)
            expect_not_in("of root", done.stdout + done.stderr)
        if canary:
            expect(canary.was_opened(), False, "a pipe of root's was opened")
    expect(victim.read_text(), "secret: of root\n")
    expect(victim.stat().st_mode, before.st_mode)
    expect((victim.stat().st_uid, victim.stat().st_gid), (before.st_uid, before.st_gid))


def plant_pipe(path):
    os.mkfifo(path)


def plant_huge(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


TRAPS = {
    "a pipe": plant_pipe,
    "a folder": lambda path: (path / "full").mkdir(parents=True),
    "a loop": lambda path: path.symlink_to(path.name),
    "zeros": lambda path: path.symlink_to("/dev/zero"),
    "a terabyte": plant_huge,
}


def clear(path):
    """Whatever stands there, and beside it under longer names."""
    for one in path.parent.glob(f"{path.name}*"):
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def ends_or(daemon, path, trap, works):
    """The daemon, started beside this trap, `works`, or has ended and named the file."""

    def look():
        if daemon.process.running():
            works()

    with within(8, f"{trap} as {path.name}"):
        eventually(look)
    if daemon.process.stop() != 0:
        expect_in(path.name, daemon.process.output().splitlines()[-1], trap)


@case
def traps_in_the_state_folder(lab):
    """Whatever stands where edged's own files should be: edged serves, or ends at once with a
    word about that file."""
    edge, token = vps_with_token(lab)
    edge.cli("join", token)
    state = inside(edge.host, "/var/lib/edged")
    for path in (state / name for name in OWN_FILES):
        kept = path.read_bytes() if path.exists() else None
        for trap, plant in TRAPS.items():
            clear(path)
            plant(path)
            edge.start()
            ends_or(edge, path, trap, lambda: edge.cli("status"))
        clear(path)
        if kept is not None:
            path.write_bytes(kept)


@case
def traps_in_the_agents_folder(lab):
    """Whatever stands where clusteragent's own files should be: it serves, or names that file."""
    setup = serving(lab)
    agent = setup.agent
    agent.process.stop()
    for path in sorted(path for path in agent.state.rglob("*") if path.is_file()):
        kept = path.read_bytes()
        for trap, plant in list(TRAPS.items())[:4]:
            clear(path)
            plant(path)
            seen = len(agent.process.output())
            agent.run()

            def works():
                said = agent.process.output()[seen:]
                named = f"/{path.name}: " in said
                expect(named or "default/web: Ready=True" in said, True, f"it serves: {said}")

            ends_or(agent, path, trap, works)
        clear(path)
        path.write_bytes(kept)
