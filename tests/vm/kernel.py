"""What the build machine's own kernel may not show: Debian's, with their WireGuard. A kernel is
booted once, for all of its cases, and once more without IPv6. The cases below are those of
every kernel: a module of the tier takes them in by name."""

import os
import re
import shlex
import subprocess

from case import case
from expect import expect, expect_in
from lab import BUILD, ROOT

LIMIT_SECONDS = 1200
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


class Kernel:
    """What the commands said under one kernel; it is booted when the first is asked for."""

    def __init__(self, version):
        self._version = version
        self._said = {}

    def said_by(self, name):
        """The output of a command, which must have ended well."""
        append = "ipv6.disable=1" if name in WITHOUT_IPV6 else ""
        if append not in self._said:
            self._said[append] = self._boot(append)
        output = self._said[append]
        part = re.search(f"^@begin {name}\n(.*?)^@end {name} (\\d+)$", output, re.S | re.M)
        last = (part[1] if part else output).strip().splitlines()[-3:]
        expect(part and part[2], "0", f"{' / '.join(last)} (all of it: {self._log(append)})")
        first, _, again = part[1].partition("@again\n")
        if again:
            print(f"    {self._version}: {name} failed once, and passed alone", flush=True)
        return again or first

    def _boot(self, append):
        # What fails is tried once more, alone, as everywhere: a guest has no processor of its
        # own, and booting it again takes longer.
        script = "\n".join(
            f"echo @begin {name}\n{run} || {{ echo @again; {run}; }}\necho @end {name} $?"
            for name, command in (WITHOUT_IPV6 if append else COMMANDS).items()
            for run in [shlex.join(map(str, command))]
        )
        done = subprocess.run(
            [ROOT / "tests/vm/boot", "--memory", "768", "--seconds", str(LIMIT_SECONDS - 10),
             f"--append={append}", self._version, "--", "env", f"PATH={os.environ['PATH']}",
             f"EDGED_BUILD={BUILD.name}", "EDGED_TEST_SLOWNESS=4",
             "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )
        self._log(append).parent.mkdir(parents=True, exist_ok=True)
        self._log(append).write_text(done.stdout)
        return done.stdout

    def _log(self, append):
        return BUILD / "vm-logs" / f"{self._version}{append and f'-{append}'}.log"

    def demo(self):
        expect_in("kernel WireGuard", self.said_by("demo"))

    def wireguard_client(self):
        said = self.said_by("wireguard")
        expect(re.findall(r"^SKIPPED:.*$", said, re.MULTILINE), [])
        expect_in("All tests passed", said)

    def cases(self, name, count):
        """So many cases of the netns tier, with what they measured."""
        said = self.said_by(name)
        measured = [line.strip() for line in said.splitlines() if line.startswith("    ")]
        print("\n".join(f"    {self._version}: {line}" for line in measured), flush=True)
        expect(said.strip().splitlines()[-1], f"{count} passed, 0 failed, 0 skipped")


@case
def demo(setup):
    """The demo works, by the kernel's WireGuard."""
    setup.demo()


@case
def wireguard(setup):
    """Our client of the kernel's WireGuard does what its tests say."""
    setup.wireguard_client()


@case
def flushes(setup):
    """The guard stays, and TCP goes on, through nft flush ruleset and conntrack -F."""
    setup.cases("flushes", 5)


@case
def restarts(setup):
    """With the kernel's WireGuard on both ends, killed daemons lose nothing."""
    setup.cases("restarts", 1)


@case
def restore(setup):
    """The kernel's WireGuard speaks first when the way to silent uplinks is there."""
    setup.cases("restore", 1)


@case
def flows(setup):
    """Stale flows go, others stay, and bindings have their timeouts."""
    setup.cases("flows", 2)
    setup.cases("timeouts", 1)


@case
def path_mtu(setup):
    """With the kernel's WireGuard, a path that is a black hole is found."""
    setup.cases("pmtu", 2)
