"""The same wishes again, restarts, and what is kept on disk."""

import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from product import Setup, port_binding, tcp, udp
from world import A, BACKEND, HOME_LAN

OBJECTS = (
    port_binding("one", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000")),
    port_binding("two", tcp(81, f"{BACKEND}:8081"), tcp("30000-30009", BACKEND)),
)

ENROLMENT = ("join.yaml", "key.yaml")


def build(lab):
    setup = Setup(lab)
    setup.world.serve(
        setup.world.backend, "backend", "page:8080", "talk:8081", "echo:7000", "talk:30000-30009"
    )
    setup.start()
    setup.agent.write("objects", *OBJECTS)
    setup.agent.wait_ready("one")
    setup.agent.wait_ready("two")
    return setup


def serves(setup, when):
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", when)
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello", when)
    expect(setup.ask(ask.talk, A, 30009), f"backend:30009 saw {HOME_LAN}: hello", when)


def settled(setup):
    """The table, when what the case before took away is gone."""
    eventually(lambda: expect_not_in(" . 9", setup.edge.table()))
    return setup.edge.table()


def handles(edge):
    """The listing with the kernel's handles: another handle means made anew."""
    return edge.host.run(["nft", "--stateless", "-a", "list", "table", "inet", "edged"]).stdout


@case
def same_wishes_again(setup):
    """C8, D6: the same objects again, in another order, are written nowhere in the kernel."""
    settled(setup)
    before = handles(setup.edge)
    home_before = setup.world.home.run(["nft", "--stateless", "-a", "list", "ruleset"]).stdout
    monitor = setup.edge.host.start(["nft", "monitor"], "nft-monitor")

    def listens():
        setup.edge.host.nft("add table inet marker\ndelete table inet marker\n")
        expect_in("marker", monitor.output())

    eventually(listens)
    setup.agent.write("objects", *reversed(OBJECTS))
    setup.agent.bind("last", tcp(90, f"{BACKEND}:8080"))  # later than the file above
    setup.agent.remove("last")
    becomes(lambda: setup.ask(ask.talk, A, 90), "no: connection refused")
    eventually(lambda: expect(handles(setup.edge), before))
    home_after = lambda: setup.world.home.run(  # noqa: E731
        ["nft", "--stateless", "-a", "list", "ruleset"]
    ).stdout
    eventually(lambda: expect(home_after(), home_before))
    monitor.stop()
    for port in ("80 ", "81 ", "7000 ", "30000-"):
        expect_not_in(f" . {port}", monitor.output())
    serves(setup, "after")


@case
def edged_restarts(setup):
    """edged, stopped and started, changes nothing in the kernel; held connections go on."""
    settled(setup)
    before = handles(setup.edge)
    with setup.ask(ask.Held, A, 81) as held:
        expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
        expect(setup.edge.process.stop(), 0, "exit code")
        expect(held.ask("two"), f"backend:8081 saw {HOME_LAN}: two")
        serves(setup, "while edged is down")
        setup.edge.run()
        expect(held.ask("three"), f"backend:8081 saw {HOME_LAN}: three")
        serves(setup, "after the restart")
        expect(handles(setup.edge), before)
    setup.agent.wait_edge_ready("a")


@case
def edged_is_killed(setup):
    """edged, killed and started, changes nothing in the kernel either, and takes changes again."""
    settled(setup)
    before = handles(setup.edge)
    setup.edge.process.kill()
    serves(setup, "while edged is dead")
    setup.edge.run()
    expect(handles(setup.edge), before)
    setup.agent.bind("after-kill", tcp(91, f"{BACKEND}:8080"))
    expect(setup.ask(ask.page, A, 91), f"backend:8080 saw {HOME_LAN}")
    setup.agent.remove("after-kill")


@case
def clusteragent_restarts(setup):
    """clusteragent, stopped and started, ends in the same table; held connections go on."""
    before = settled(setup)
    with setup.ask(ask.Held, A, 81) as held:
        expect(held.ask("one"), f"backend:8081 saw {HOME_LAN}: one")
        expect(setup.agent.process.stop(), 0, "exit code")
        expect(held.ask("two"), f"backend:8081 saw {HOME_LAN}: two")
        setup.agent.run()
        setup.agent.bind("after-restart", tcp(92, f"{BACKEND}:8080"))
        expect(setup.ask(ask.page, A, 92), f"backend:8080 saw {HOME_LAN}")
        setup.agent.remove("after-restart")
        eventually(lambda: expect(setup.edge.table(), before))
        expect(held.ask("three"), f"backend:8081 saw {HOME_LAN}: three")


@case
def change_while_the_agent_is_down(setup):
    """What changed in the folder while clusteragent was down is served when it is back."""
    expect(setup.agent.process.stop(), 0, "exit code")
    setup.agent.write("meanwhile", port_binding("meanwhile", tcp(93, f"{BACKEND}:8080")))
    setup.agent.run()
    becomes(lambda: setup.ask(ask.page, A, 93), f"backend:8080 saw {HOME_LAN}", seconds=8)
    setup.agent.remove("meanwhile")
    becomes(lambda: setup.ask(ask.page, A, 93), "no: connection refused")


def state_files(setup):
    folder = setup.edge.host.folder / "var/lib/edged"
    return [path for path in folder.rglob("*") if path.is_file()]


@case
def edge_state_is_missing(setup):
    """C10: without its state of mappings edged starts, and ends in the same kernel state."""
    before = settled(setup)
    expect(setup.edge.process.stop(), 0, "exit code")
    for path in state_files(setup):
        if path.name not in ENROLMENT:
            path.unlink()
    setup.edge.run()
    setup.agent.wait_edge_ready("a")
    eventually(lambda: expect(setup.edge.table(), before), seconds=8)
    serves(setup, "after")


@case
def edge_state_is_damaged(setup):
    """C10: a damaged state file is kept aside and named, and the kernel state is the same."""
    before = settled(setup)
    stored = setup.edge.host.folder / "var/lib/edged/state"
    eventually(lambda: expect(stored.exists(), True, "a stored state"))
    expect(setup.edge.process.stop(), 0, "exit code")
    damaged = [path for path in state_files(setup) if path.name not in ENROLMENT]
    expect(len(damaged) > 0, True, "state files")
    for path in damaged:
        text = path.read_bytes()
        path.write_bytes(text[: len(text) // 2] + b"\xff" + text[len(text) // 2 :])
    setup.edge.run()
    eventually(lambda: expect_in("damaged", setup.edge.process.output()))
    setup.agent.wait_edge_ready("a")
    eventually(lambda: expect(setup.edge.table(), before), seconds=8)
    serves(setup, "after")
