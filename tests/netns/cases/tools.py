"""What others' tools say about us: wg, nft, grpcurl."""

import json

import ask
from case import case
from expect import becomes, eventually, expect, expect_in, expect_not_in
from lab import PYTHON, ROOT
from product import API, EDGED, EDGE_OVERLAY, SOCKET, Setup, tcp, udp
from world import A, BACKEND, HOME_LAN


def build(lab):
    setup = Setup(lab)
    world = setup.world
    world.serve(world.backend, "backend", "page:8080", "echo:7000", "echo:20000-20009")
    setup.start()
    setup.agent.bind(
        "web", tcp(80, f"{BACKEND}:8080"), udp(7000, f"{BACKEND}:7000"),
        udp("20000-20009", BACKEND),
    )
    return setup


@case
def wg_shows_the_edge(setup):
    """wg shows the edge's port, and one peer with its block alone."""
    lines = setup.edge.host.run(["wg", "show", "edged0", "dump"]).stdout.splitlines()
    expect(lines[0].split("\t")[2], "51820")
    blocks = [line.split("\t")[3] for line in lines[1:]]
    expect_in("10.200.0.16/28", ",".join(blocks))
    expect_not_in("0.0.0.0/0", ",".join(blocks))


@case
def wg_shows_the_uplink(setup):
    """wg shows the uplink's device: the edge may send from any address, keepalive 25 s."""

    def only_peer():  # two, while the token's key is replaced
        lines = setup.world.home.run(["wg", "show", "all", "dump"]).stdout.splitlines()
        peers = [line.split("\t") for line in lines if len(line.split("\t")) == 9]
        expect(len(peers), 1, "peers")
        return peers[0]

    device, _, _, endpoint, allowed, handshake, _, _, keepalive = eventually(only_peer)
    expect(device[:3], "eu-")
    expect(endpoint, f"{A}:51820")
    expect_in("0.0.0.0/0", allowed)
    expect(int(handshake) > 0, True, "handshake")
    expect(keepalive, "25")


@case
def nft_lists_json(setup):
    """nft -j reads our table: every mapped port is an element of a map."""
    text = setup.edge.host.run(["nft", "-j", "list", "table", "inet", "edged"]).stdout
    objects = json.loads(text)["nftables"]
    elements = json.dumps([one["map"].get("elem", []) for one in objects if "map" in one])
    for part in ("80", "7000", "20000"):
        expect_in(part, elements)
    expect_in(A, elements)


@case
def grpcurl_lists_and_describes(setup):
    """grpcurl finds the services by reflection and describes each method."""
    services = setup.edge.grpcurl(API, "list")
    for name in ("edged.v1.EdgeService", "grpc.health.v1.Health"):
        expect_in(name, services)
    text = setup.edge.grpcurl(API, "describe", "edged.v1.EdgeService")
    for method in ("Register", "Sync", "GetState", "ListMappings", "WatchEvents"):
        expect_in(f"rpc {method} ", text)


@case
def grpcurl_gets_state(setup):
    """GetState and ListMappings tell what the table holds."""
    state = json.dumps(setup.edge.call("GetState"))
    expect_in(A, state)
    mappings = setup.edge.grpcurl("-d", "{}", API, "edged.v1.EdgeService/ListMappings")
    for part in ("80", "7000", "20000", "20009"):
        expect_in(part, mappings)


@case
def grpcurl_checks_health(setup):
    """grpcurl finds the health service by reflection alone, and it says SERVING."""
    health = setup.edge.grpcurl("-d", "{}", API, "grpc.health.v1.Health/Check")
    expect_in("SERVING", health)


@case
def api_through_the_tunnel_alone(setup):
    """The API answers the uplink through the tunnel, and nobody else: no local process either."""
    address = f"{EDGE_OVERLAY['a']}:7443"
    text = setup.world.home.run(["grpcurl", "-plaintext", address, "list"]).stdout
    expect_in("edged.v1.EdgeService", text)
    expect(setup.ask(ask.talk, A, 7443), "no: connection refused")
    local = ["grpcurl", "-plaintext", "-connect-timeout", "2", address, "list"]
    expect(setup.edge.host.run(local, check=False).returncode != 0, True, "refused locally")


@case
def socket_is_for_root(setup):
    """The Unix socket is for root alone."""
    mode = setup.edge.host.run(["stat", "-c", "%U %a", SOCKET]).stdout.strip()
    expect(mode in ("root 600", "root 700"), True, mode)


@case
def wireguard_go_is_detached(setup):
    """A wireguard-go that edged started outlives edged and is used again."""
    host = setup.edge.host
    mine = host.pids_of("wireguard-go")
    if not mine:
        expect_in("kernel", setup.edge.cli("status").stdout, "backend")
        return
    setup.edge.process.stop()
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", "edged stopped")
    setup.edge.run()
    expect(host.pids_of("wireguard-go"), mine)
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}", "edged again")


@case
def nft_reloads_the_listing(setup):
    """Our table's listing, deleted and loaded again, lists the same and passes packets."""
    host = setup.edge.host
    setup.edge.process.stop()
    counted = host.run(["nft", "list", "table", "inet", "edged"]).stdout
    before = setup.edge.table()
    host.nft(f"delete table inet edged\n{counted}")
    expect(setup.edge.table(), before)
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
    expect(setup.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")
    expect(setup.ask(ask.echo, A, 20009), f"backend:20009 saw {HOME_LAN}: hello")
    setup.edge.run()
    eventually(lambda: expect(setup.edge.table(), before))
    expect(setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")


@case
def kernel_without_nf_tables(setup):
    """On a kernel without nf_tables each program says so in one line, and what to do."""
    without = [PYTHON, ROOT / "tests/tools/without_nf_tables.py"]
    host = setup.edge.host
    setup.edge.process.stop()
    for command in ([EDGED, "run"], [EDGED, "trace", f"{A}:80"]):
        done = host.run([*without, *command], check=False)
        expect(done.returncode, 1, command)
        expect_in("this kernel has no nf_tables: load the module nf_tables", done.stderr)
    done = host.run([*without, EDGED, "doctor"], check=False)
    expect_in("this kernel has no nf_tables", done.stdout)
    expect_in("$ modprobe nf_tables", done.stdout)
    setup.edge.run()
    becomes(lambda: setup.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
