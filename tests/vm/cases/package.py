"""The package on a machine of its own: installed, enrolled, forwarding; restarted, upgraded,
rebooted, switched off; removed. The cases follow each other on one machine."""

import json
import re
import select
import shlex
import shutil
import socket
import subprocess
import time

import ask
from case import case
from expect import eventually, expect, expect_in
from lab import ROOT
from machine import Machine
from product import NETWORKS, Agent, edge_node, tcp, udp
from stream import Stream, Transfer
from world import A, A2, BACKEND, HOME_LAN, World

LIMIT_SECONDS = 600
PACKAGES = ROOT / "build/package"
MOST_EXPOSED = 1.6


class Installed:
    """The world with a machine as its VPS, on which the package was installed and enrolled."""

    def __init__(self, lab):
        self._lab = lab
        self.world = World(lab, edges=())
        self.world.serve(
            self.world.backend, "backend", "page:8080", "talk:9000", "bulk:8082", "echo:7000"
        )
        self.agent = Agent(self.world.home)
        self.vps = self._machine()
        self.install_output = self.apt("install /mnt/edged.deb")
        self.installed_units = self.vps.run(
            "systemctl show -P ActiveState edged.path edged.service"
        ).split()
        self._join()

    def _machine(self):
        packages = sorted(PACKAGES.glob("edged_*.deb"))
        if not packages:
            raise AssertionError(f"no package in {PACKAGES}: ./dev package makes it")
        parcel = self._lab.folder / "parcel"
        parcel.mkdir()
        shutil.copy(packages[-1], parcel / "edged.deb")
        make_newer(parcel / "edged.deb", parcel / "newer.deb", self._lab.folder / "newer")
        vps = Machine(self._lab, self.world.internet, "a", parcel)
        self.world.internet.ip("address add 203.0.113.126/25 dev a\nlink set dev a up")
        vps.start()
        vps.run("mount -o ro /dev/vdb /mnt", seconds=90)
        return vps

    def _join(self):
        self.agent.write("a", edge_node("a", A, (A, A2), tunnel={"network": NETWORKS["a"]}))
        token = self.agent.token("a").stdout.strip()
        self.vps.run(f"edged join {shlex.quote(token)}")
        self.agent.run()
        self.agent.wait_edge_ready("a", seconds=60)
        self.agent.bind(
            "all",
            tcp(80, f"{BACKEND}:8080"), tcp(82, f"{BACKEND}:8082"),
            tcp(9000, f"{BACKEND}:9000"), udp(7000, f"{BACKEND}:7000"),
        )
        eventually(self._key_is_settled, 30)

    def _key_is_settled(self):
        """The token's key has been replaced, and the agent knows one key."""
        tunnel = json.loads(self.vps.run("edged status -o json"))["tunnel"]
        expect(tunnel.get("keyOfToken", False), False, "key of the token")
        shown = self.world.home.run(["wg", "show", "all", "peers"]).stdout
        expect(len(shown.splitlines()), 1, "peers of the uplink")

    def apt(self, words):
        return self.vps.run(
            f"DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 {words}", seconds=300
        )

    def ask(self, question, *arguments):
        with self.world.client.network():
            return question(*arguments)

    def stream(self):
        """Questions every 20 ms to the mapped echo, while the block lasts."""
        return Stream(self.world.client, A, 7000)

    def transfers(self):
        """A download and an upload, both under way."""
        both = [
            Transfer(self.world.client, A, 82, verb, rate=400_000, patience=500)
            for verb in ("pull", "push")
        ]
        return [transfer.flowing() for transfer in both]

    def expect_forwarding(self):
        expect(self.ask(ask.page, A, 80), f"backend:8080 saw {HOME_LAN}")
        expect(self.ask(ask.echo, A, 7000), f"backend:7000 saw {HOME_LAN}: hello")

    def main_pid(self):
        return self.vps.run("systemctl show -P MainPID edged").strip()

    def wait_active(self, not_pid="0", seconds=30):
        def active():
            expect(self.vps.run("systemctl show -P ActiveState edged").strip(), "active")
            expect(self.main_pid() not in (not_pid, "0"), True, "a new process")

        eventually(active, seconds, pause=0.2)

    def wait_network(self, seconds=240):
        """Waits until the machine's own network answers; when that was. Nothing has port 9."""
        deadline = time.monotonic() + seconds
        with self.world.client.network(), socket.socket(type=socket.SOCK_DGRAM) as asked:
            asked.connect((A, 9))
            while time.monotonic() < deadline:
                try:
                    asked.send(b"up?")
                    if select.select([asked], [], [], 0.02)[0]:
                        asked.recv(1)
                except ConnectionRefusedError:
                    return time.monotonic()
                except OSError:
                    time.sleep(0.02)  # a router says that there is nobody
        raise AssertionError(f"no network after {seconds} s")


def make_newer(package, newer, folder):
    """The same package with a higher version."""
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    control = folder / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", r"\g<0>+newer", control.read_text()))
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", folder, newer], check=True,
        stdout=subprocess.DEVNULL,
    )


def build(lab):
    return Installed(lab)


@case
def installs_without_starting(setup):
    """apt installs it with what it needs, starts no daemon, and says the next step."""
    expect(setup.installed_units, ["active", "inactive"], "edged.path and edged.service")
    expect_in("edged join TOKEN", setup.install_output)


@case
def starts_when_enrolled(setup):
    """`edged join` alone makes it serve: no systemctl, no configuration."""
    setup.expect_forwarding()
    shown = setup.vps.run("systemctl show -p ActiveState -p StatusText -p UnitFileState edged")
    expect(sorted(shown.split("\n")[:3]),
           ["ActiveState=active", "StatusText=enrolled as a", "UnitFileState=enabled"])
    expect_in("kernel WireGuard", setup.vps.run("edged status"))


@case
def is_confined(setup):
    """It is a user of its own with CAP_NET_ADMIN alone, in a sandbox."""
    status = setup.vps.run(f"cat /proc/{setup.main_pid()}/status")
    fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
    user = setup.vps.run("id -u edged").strip()
    expect(fields["Uid"].split(), [user] * 4)
    for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        expect(int(fields[capabilities], 16), 1 << 12, capabilities)
    expect((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"))
    check_exposure(setup, "edged.service", MOST_EXPOSED)


def check_exposure(setup, unit, most):
    shown = setup.vps.run(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    exposure = float(re.search(r"level for .*: ([\d.]+)", shown)[1])
    print(f"    systemd-analyze security {unit}: {exposure}")
    expect(exposure <= most, True, f"{exposure} is at most {most}")


@case
def is_for_root_and_itself(setup):
    """Others reach neither its socket nor its state."""
    shown = setup.vps.run(
        "stat -c '%U:%G %a %n' /run/edged /run/edged/edged.sock /var/lib/edged /var/lib/edged/*"
    )
    for line in shown.splitlines():
        owner, mode, name = line.split()
        expect((owner, int(mode, 8) & 0o077), ("edged:edged", 0), name)
    output, status = setup.vps.run(
        "setpriv --reuid nobody --regid nogroup --clear-groups edged status", check=False
    )
    expect(status, 1, output)


@case
def prepares_the_kernel(setup):
    """`edged prepare` has set the sysctls, before the daemon, as root."""
    names = ("nf_conntrack_max", "nf_conntrack_acct", "nf_conntrack_tcp_loose")
    paths = " ".join(f"/proc/sys/net/netfilter/{name}" for name in names)
    expect(setup.vps.run(f"cat {paths}").split(), ["32768", "1", "1"])
    expect(setup.vps.run("cat /proc/sys/net/ipv6/conf/all/forwarding").strip(), "1")
    expect(setup.vps.run("edged prepare"), "", "prepared twice")


def nothing_is_lost(setup, *disturbances):
    """A stream, a held connection, a download and an upload go through all of them."""
    with setup.ask(ask.Held, A, 9000) as held, setup.stream() as stream:
        transfers = setup.transfers()
        for disturb in disturbances:
            before = setup.main_pid()
            disturb()
            setup.wait_active(not_pid=before)
        expect(held.ask(), f"backend:9000 saw {HOME_LAN}: hello")
        expect([transfer.result() for transfer in transfers], ["whole", "whole"])
    print(f"    {stream.told()}")
    expect(stream.lost(), [], f"lost of {len(stream.sent)}")


@case
def restart_drops_nothing(setup):
    """A restart and a kill -9 lose no datagram and no connection."""
    nothing_is_lost(
        setup,
        lambda: setup.vps.run("systemctl restart edged"),
        lambda: setup.vps.run(f"kill -9 {setup.main_pid()}"),
    )


@case
def upgrade_drops_nothing(setup):
    """A newer version, installed over the first, runs at once; nothing is lost."""
    version = lambda: setup.vps.run("dpkg-query -W -f '${Version}' edged")  # noqa: E731
    before = version()
    nothing_is_lost(setup, lambda: setup.apt("install /mnt/newer.deb"))
    expect(version(), f"{before}+newer")


def survives(setup, what, disturb):
    """A download and an upload go on through what is done to the machine."""
    transfers = setup.transfers()
    result = disturb()
    for transfer, name in zip(transfers, ("download", "upload")):
        expect(transfer.result(), "whole", f"{name} through {what}")
        print(f"    {what}: {name} longest gap {transfer.longest_gap:.3f} s", flush=True)
    return result


@case
def tcp_survives_flushes(setup):
    """A download and an upload go on through conntrack -F and nft flush ruleset."""
    for command in ("conntrack -F", "nft flush ruleset"):
        survives(setup, command, lambda: setup.vps.run(command))


def outage(setup, go_down, kernel):
    """Seconds from the machine's network until a mapped port answers."""
    go_down()
    with setup.stream() as stream:
        setup.vps.start(kernel)
        network = setup.wait_network()
        answered = lambda: expect(  # noqa: E731
            stream.first_answer_after(network - 1) is not None, True, "an answer"
        )
        eventually(answered, 120)
        gap = stream.first_answer_after(network - 1) - network
    return gap


@case
def reboot(setup):
    """After a reboot it forwards by itself; a download, an upload and a connection go on."""
    with setup.ask(ask.Held, A, 9000) as held:
        gap = survives(setup, "reboot", lambda: outage(setup, setup.vps.go_down, "6.1"))
        expect(held.ask(), f"backend:9000 saw {HOME_LAN}: hello", "a connection from before")
    setup.expect_forwarding()
    print(f"    reboot: traffic {gap:.2f} s after the network")


@case
def power_cut(setup):
    """With the agent dead and the uplink idle, a machine that lost its power, and comes back
    with kernel 6.12, forwards too: it speaks first, to where its uplinks were last."""
    setup.agent.process.kill()
    time.sleep(12)  # beyond the time after which WireGuard says something by itself
    gap = outage(setup, setup.vps.cut_power, "6.12")
    setup.agent.run()
    expect_in("6.12", setup.vps.run("uname -r", seconds=240))
    setup.agent.wait_edge_ready("a", seconds=60)
    setup.expect_forwarding()
    print(f"    power cut: traffic {gap:.2f} s after the network, without the agent")


@case
def wireguard_in_user_space(setup):
    """wireguard-go, as a unit of its own, is confined as edged is, and outlives it."""
    setup.apt("install wireguard-go")
    setup.vps.run("echo 'wireguard: userspace' >>/etc/edged/edged.yaml\n"
                  "systemctl stop edged && ip link del edged0\n"
                  "systemctl enable --now edged-wireguard@edged0 && systemctl start edged")
    setup.agent.wait_edge_ready("a", seconds=30)
    setup.expect_forwarding()
    expect_in("userspace WireGuard", setup.vps.run("edged status"))
    unit = "edged-wireguard@edged0.service"
    pid = setup.vps.run(f"systemctl show -P MainPID {unit}").strip()
    status = setup.vps.run(f"cat /proc/{pid}/status")
    fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
    expect(fields["Uid"].split(), [setup.vps.run("id -u edged").strip()] * 4)
    expect(int(fields["CapEff"], 16), 1 << 12, "CapEff")
    check_exposure(setup, unit, MOST_EXPOSED)
    nothing_is_lost(setup, lambda: setup.vps.run("systemctl restart edged"))
    expect(setup.vps.run(f"systemctl show -P MainPID {unit}").strip(), pid, "the same process")


@case
def stops_and_goes(setup):
    """Stopped it stays stopped; removed, it forwards nothing; installed again, it forwards;
    purged, nothing of it is left."""
    setup.vps.run("systemctl stop edged && touch /var/lib/edged && sleep 1")
    expect(setup.vps.run("systemctl show -P ActiveState edged").strip(), "inactive")
    setup.expect_forwarding()
    setup.apt("remove edged")
    expect(setup.vps.run("nft list tables; ls /sys/class/net").split(), ["eth0", "lo"])
    setup.vps.run("mount -o ro /dev/vdb /mnt")
    setup.apt("install /mnt/edged.deb")
    setup.vps.run("systemctl start edged-wireguard@edged0")
    eventually(setup.expect_forwarding, 30)
    setup.apt("purge edged")
    left = setup.vps.run("ls -d /etc/edged /var/lib/edged /run/edged /lib/systemd/system/edged* "
                         "/etc/systemd/system/*/edged*", check=False)[0]
    expect(re.findall(r"^/.*", left, re.MULTILINE), [])
