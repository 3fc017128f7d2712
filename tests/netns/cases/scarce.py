"""Hosts that have run out of something: descriptors, or a disk that can be written."""

import time

import http2
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from product import (
    CLUSTERAGENT, EDGED, NETWORKS, STATE, WIREGUARD_GO, Setup, edge_node, port_binding,
)
from served import (
    becomes_served, durable, inside, not_durable, serves_more, serving, settled, socket_of, web,
)
from world import A, B

STATE_FOLDER = "/var/lib/edged"
LIMITED = ["prlimit", "--nofile=64:64"]


@case
def edge_with_64_descriptors(lab):
    """With 64 descriptors edged serves; it refuses connections beyond them, and takes new ones
    when some are closed."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    words = [*LIMITED, EDGED, "run", "--wireguard-go", WIREGUARD_GO]
    edge = setup.edge
    edge.process = edge.host.start(words, "edged")
    becomes(lambda: edge.cli("status", check=False).returncode, 0)
    setup.agent.write("a", edge_node("a", A, tunnel={"network": NETWORKS["a"]}))
    edge.join(setup.agent.token("a").stdout)
    setup.agent.run()
    setup.agent.wait_edge_ready("a")
    setup.agent.bind("web", web(80))
    held = [http2.connect(socket_of(edge)) for _ in range(100)]
    becomes(lambda: edge.cli("status", check=False).returncode, 1, 2, "exit code of edged status")
    expect(sum(closed(one) for one in held) > 50, True, "most of them are closed")
    expect_in("refused a connection", edge.process.output())
    # Who was connected before goes on: the daemon kept what it needs itself.
    serves_more(setup)
    for one in held:
        one.close()
    becomes(lambda: edge.cli("status", check=False).returncode, 0)
    expect_not_in("StateNotDurable", edge.process.output())
    refusals = edge.process.output().count("refused a connection")
    expect(refusals, 1, "lines about refused connections")


def closed(connection):
    """Whether the other side has closed it."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@case
def agent_with_64_descriptors(lab):
    """With 64 descriptors clusteragent serves two edges, comes back, and follows its manifests."""
    setup = Setup(lab, ("a", "b"))
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    agent = setup.agent
    for name, address in (("a", A), ("b", B)):
        agent.write(f"edge-{name}", edge_node(name, address, tunnel={"network": NETWORKS[name]}))
        setup.edges[name].run().join(agent.token(name).stdout)
    words = [
        *LIMITED, CLUSTERAGENT, "run", "--manifests", agent.manifests, "--state", STATE,
        "--wireguard-go", WIREGUARD_GO,
    ]
    for port in (81, 82):
        agent.process = agent.host.start(words, "clusteragent")
        agent.wait_edge_ready("a")
        agent.wait_edge_ready("b")
        agent.bind("web", web(80))
        becomes_served(setup)
        for number in range(100):
            agent.write(f"many-{number}", "# nothing\n")
        serves_more(setup, port)
        for process in (setup.edges["a"].process, agent.process):
            process.kill()
        setup.edges["a"].run()
    expect_not_in("Too many open files", agent.process.output())


@case
def edge_without_room_on_disk(lab):
    """On a full disk the edge serves and says StateNotDurable, and no more when there is room."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    host = setup.edge.host
    small_disk(host, STATE_FOLDER)
    setup.start()
    setup.agent.bind("web", web(80))
    settled()
    durable(setup.edge)
    fill_disk(host, STATE_FOLDER)
    serves_more(setup)
    not_durable(setup.edge, "No space left")
    # What was durable before is what a killed daemon comes back with.
    setup.edge.process.kill()
    setup.edge.run()
    becomes_served(setup)
    setup.agent.wait_edge_ready("a")
    becomes_served(setup, 81)
    host.run(["rm", f"{STATE_FOLDER}/filler"])
    durable(setup.edge)
    settled()
    setup.agent.process.kill()
    setup.edge.process.kill()
    setup.edge.run()
    eventually(lambda: expect(setup.edge.status()["mappingCount"], "2"))


@case
def edge_with_read_only_state(lab):
    """With a state folder that went read-only the edge serves on, starts again, and says so."""
    setup = serving(lab)
    settled()
    make_read_only(setup.edge.host, STATE_FOLDER)
    serves_more(setup)
    not_durable(setup.edge, "Read-only file system")
    setup.edge.process.kill()
    setup.edge.run()
    becomes_served(setup)
    setup.agent.wait_edge_ready("a")
    becomes_served(setup, 81)
    not_durable(setup.edge, "Read-only file system")
    make_writable(setup.edge.host, STATE_FOLDER)
    durable(setup.edge)


def small_disk(host, folder):
    host.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder])


def fill_disk(host, folder):
    host.run(["sh", "-c", f"cat /dev/zero > {folder}/filler || true"])


def make_read_only(host, folder):
    """A disk that fails is made read-only under whoever writes to it; a mount is not."""
    host.run(["cp", "-a", folder, "/run/edged/copy"])
    host.run(["mount", "--bind", "/run/edged/copy", folder])
    # It is busy while a file is being written.
    eventually(lambda: host.run(["mount", "-o", "remount,bind,ro", folder]))


def make_writable(host, folder):
    host.run(["mount", "-o", "remount,bind,rw", folder])


def goes_on_without_disk(setup, why):
    """The agent serves, new mappings and after a restart too, and says what the disk refuses."""
    agent = setup.agent
    agent.write("more", port_binding("more", web(81)))
    becomes_served(setup, 81)
    eventually(lambda: expect_in("StateNotDurable", agent.process.output()))
    expect_in(why, agent.process.output())
    expect_in("StateNotDurable", agent.cli("status", "--state", STATE).stdout)
    expect(agent.process.output().count("StateNotDurable"), 1, "lines about it")
    agent.process.kill()
    time.sleep(3)  # the uplink is dead by now
    agent.run()
    becomes_served(setup, 80)
    becomes_served(setup, 81)


def is_durable_again(setup):
    agent = setup.agent
    eventually(lambda: expect_in("state is durable again", agent.process.output()), 8)
    agent.wait_ready("more")
    expect_not_in("StateNotDurable", agent.cli("status", "--state", STATE).stdout)
    epoch = int((agent.state / "epoch").read_text())
    expect(int(setup.edge.status()["epoch"]["number"]), epoch, "the edge's epoch")


@case
def agent_without_room_on_disk(lab):
    """On a full disk the agent serves, new mappings too, and says StateNotDurable."""
    setup = Setup(lab)
    setup.world.serve(setup.world.backend, "backend", "page:8080")
    host = setup.world.home
    small_disk(host, STATE)
    setup.agent.state = inside(host, STATE)
    setup.start()
    setup.agent.bind("web", web(80))
    fill_disk(host, STATE)
    goes_on_without_disk(setup, "No space left")
    host.run(["rm", f"{STATE}/filler"])
    is_durable_again(setup)


@case
def agent_with_read_only_state(lab):
    """With a state folder that went read-only the agent serves on, and starts again."""
    setup = serving(lab)
    host = setup.world.home
    make_read_only(host, STATE)
    setup.agent.state = inside(host, STATE)
    goes_on_without_disk(setup, "Read-only file system")
    make_writable(host, STATE)
    is_durable_again(setup)


@case
def a_new_key_waits_for_the_agents_disk(lab):
    """A key that the agent could not write down is in use as soon as it can."""
    setup = serving(lab)
    tunnel = lambda: setup.edge.status()["tunnel"]  # noqa: E731
    eventually(lambda: expect(tunnel().get("keyOfToken", False), False, "key of the token"), 10)
    before = tunnel()["publicKey"]
    make_read_only(setup.agent.host, STATE)
    setup.edge.call("RotateKey")
    eventually(lambda: expect_in("Read-only file system", setup.agent.process.output()))
    time.sleep(0.5)
    expect(tunnel()["publicKey"], before, "the key meanwhile")
    make_writable(setup.agent.host, STATE)
    eventually(lambda: expect(tunnel()["publicKey"] != before, True, "another key"), 15)
    eventually(lambda: expect(tunnel().get("nextPublicKey", ""), "", "the key after it"), 15)
    becomes_served(setup)
