"""What the build machine's own kernel may not show: Debian's, with their WireGuard."""

import os
import re
import subprocess

from case import case
from expect import expect, expect_in
from lab import BUILD, ROOT

LIMIT_SECONDS = 180
DEMO = ROOT / "packaging/demo/demo.py"
WIREGUARD_TEST = BUILD / "tests/common/wireguard/common_wireguard_kernel_test"


def run_under(kernel, *command):
    """What a command printed that ended well as root under this kernel."""
    done = subprocess.run(
        [ROOT / "tests/vm/boot", "--memory", "768", "--seconds", str(LIMIT_SECONDS - 5), kernel,
         "--", "env", f"PATH={os.environ['PATH']}", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )
    log = BUILD / "vm-logs" / f"{kernel}-{os.path.basename(command[0])}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout)
    last = " / ".join(done.stdout.strip().splitlines()[-3:])
    expect(done.returncode, 0, f"{last} (all of it: {log}): exit code")
    return done.stdout


def check_demo(kernel):
    expect_in("kernel WireGuard", run_under(kernel, str(DEMO)))


def check_wireguard_client(kernel):
    shown = run_under(kernel, str(WIREGUARD_TEST), "*- Kernel")
    expect(re.findall(r"^SKIPPED:.*$", shown, re.MULTILINE), [])
    expect_in("All tests passed", shown)


@case
def demo_on_6_1():
    """The demo works on Debian 12's kernel, by the kernel's WireGuard."""
    check_demo("6.1")


@case
def demo_on_6_12():
    """The demo works on the kernel of Debian 12's backports and Debian 13."""
    check_demo("6.12")


@case
def wireguard_on_6_1():
    """Our client of the kernel's WireGuard does on 6.1 what its tests say."""
    check_wireguard_client("6.1")


@case
def wireguard_on_6_12():
    """Our client of the kernel's WireGuard does on 6.12 what its tests say."""
    check_wireguard_client("6.12")
