"""What the build machine's own kernel may not show: Debian's, with their WireGuard. Each
kernel is booted once, for all of its cases, and once more without IPv6."""

import os
import re
import shlex
import subprocess

from case import case
from expect import expect, expect_in
from lab import BUILD, ROOT

LIMIT_SECONDS = 600
NETNS = ROOT / "tests/netns/run"
COMMANDS = {
    "demo": [ROOT / "packaging/demo/demo.py"],
    "wireguard": [BUILD / "tests/common/wireguard/common_wireguard_kernel_test", "*- Kernel"],
    "flushes": [NETNS, "_flush"],
    "restarts": [NETNS, "restarts/both_are_killed"],
    "restore": [NETNS, "restore/network_comes_late"],
    "flows": [NETNS, "flows/udp_of_a"],
    "timeouts": [NETNS, "flows/a_binding_has_its_timeouts"],
    "pmtu": [NETNS, "pmtu/black_hole"],
    "ipv6": [NETNS, "ipv6/both_families"],
}
WITHOUT_IPV6 = {"ipv4": [NETNS, "ipv6_off/not_in_the_kernel"]}


class Guests:
    """What the commands said under each kernel; one that is asked for first is booted."""

    def __init__(self):
        self._said = {}

    def said_by(self, kernel, name):
        """The output of a command, which must have ended well."""
        guest = (kernel, *(["ipv6.disable=1"] if name in WITHOUT_IPV6 else []))
        if guest not in self._said:
            self._said[guest] = self._boot(*guest)
        output = self._said[guest]
        part = re.search(f"^@begin {name}\n(.*?)^@end {name} (\\d+)$", output, re.S | re.M)
        last = (part[1] if part else output).strip().splitlines()[-3:]
        expect(part and part[2], "0", f"{' / '.join(last)} (all of it: {self._log(*guest)})")
        return part[1]

    def _boot(self, kernel, append=""):
        script = "\n".join(
            f"echo @begin {name}\n{shlex.join(map(str, command))}\necho @end {name} $?"
            for name, command in (WITHOUT_IPV6 if append else COMMANDS).items()
        )
        done = subprocess.run(
            [ROOT / "tests/vm/boot", "--memory", "768", "--seconds", str(LIMIT_SECONDS - 10),
             f"--append={append}", kernel, "--", "env", f"PATH={os.environ['PATH']}",
             f"EDGED_BUILD={BUILD.name}", "EDGED_TEST_SLOWNESS=4",
             "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )
        self._log(kernel, append).parent.mkdir(parents=True, exist_ok=True)
        self._log(kernel, append).write_text(done.stdout)
        return done.stdout

    @staticmethod
    def _log(kernel, append=""):
        return BUILD / "vm-logs" / f"{kernel}{append and f'-{append}'}.log"


def build(_):
    return Guests()


def check_demo(setup, kernel):
    expect_in("kernel WireGuard", setup.said_by(kernel, "demo"))


def check_wireguard_client(setup, kernel):
    said = setup.said_by(kernel, "wireguard")
    expect(re.findall(r"^SKIPPED:.*$", said, re.MULTILINE), [])
    expect_in("All tests passed", said)


def check_cases(setup, kernel, name, count):
    """So many cases of the netns tier, with what they measured."""
    said = setup.said_by(kernel, name)
    print("\n".join(f"    {kernel}: {line.strip()}" for line in said.splitlines()
                    if line.startswith("    ")), flush=True)
    expect(said.strip().splitlines()[-1], f"{count} passed, 0 failed, 0 skipped")


@case
def demo_on_6_1(setup):
    """The demo works on Debian 12's kernel, by the kernel's WireGuard."""
    check_demo(setup, "6.1")


@case
def wireguard_on_6_1(setup):
    """Our client of the kernel's WireGuard does on 6.1 what its tests say."""
    check_wireguard_client(setup, "6.1")


@case
def flushes_on_6_1(setup):
    """On 6.1 the guard stays, and TCP goes on, through nft flush ruleset and conntrack -F."""
    check_cases(setup, "6.1", "flushes", 5)


@case
def restarts_on_6_1(setup):
    """On 6.1, with the kernel's WireGuard on both ends, killed daemons lose nothing."""
    check_cases(setup, "6.1", "restarts", 1)


@case
def restore_on_6_1(setup):
    """On 6.1 the kernel's WireGuard speaks first when the way to silent uplinks is there."""
    check_cases(setup, "6.1", "restore", 1)


@case
def flows_on_6_1(setup):
    """On 6.1 stale flows go, others stay, and bindings have their timeouts."""
    check_cases(setup, "6.1", "flows", 2)
    check_cases(setup, "6.1", "timeouts", 1)


@case
def path_mtu_on_6_1(setup):
    """On 6.1, with the kernel's WireGuard, a path that is a black hole is found."""
    check_cases(setup, "6.1", "pmtu", 2)


@case
def ipv6_on_6_1(setup):
    """On 6.1, where only the whole host can forward IPv6, `edged prepare` lets it."""
    check_cases(setup, "6.1", "ipv6", 1)


@case
def ipv4_on_6_1_without_ipv6(setup):
    """Hosts that were started with ipv6.disable=1 serve IPv4, and say what IPv6 lacks."""
    check_cases(setup, "6.1", "ipv4", 1)


@case
def demo_on_6_12(setup):
    """The demo works on the kernel of Debian 12's backports and Debian 13."""
    check_demo(setup, "6.12")


@case
def wireguard_on_6_12(setup):
    """Our client of the kernel's WireGuard does on 6.12 what its tests say."""
    check_wireguard_client(setup, "6.12")


@case
def flushes_on_6_12(setup):
    """On 6.12 the guard stays, and TCP goes on, through nft flush ruleset and conntrack -F."""
    check_cases(setup, "6.12", "flushes", 5)


@case
def restarts_on_6_12(setup):
    """On 6.12, with the kernel's WireGuard on both ends, killed daemons lose nothing."""
    check_cases(setup, "6.12", "restarts", 1)


@case
def restore_on_6_12(setup):
    """On 6.12 the kernel's WireGuard speaks first when the way to silent uplinks is there."""
    check_cases(setup, "6.12", "restore", 1)


@case
def flows_on_6_12(setup):
    """On 6.12 stale flows go, others stay, and bindings have their timeouts."""
    check_cases(setup, "6.12", "flows", 2)
    check_cases(setup, "6.12", "timeouts", 1)


@case
def path_mtu_on_6_12(setup):
    """On 6.12, with the kernel's WireGuard, a path that is a black hole is found."""
    check_cases(setup, "6.12", "pmtu", 2)
