"""On the kernel of Debian 12's backports and of Debian 13, with its WireGuard."""

from case import case
from kernel import Kernel

LIMIT_SECONDS = Kernel.LIMIT_SECONDS


def build(_):
    return Kernel("6.12")


@case
def demo(setup):
    """The demo works on the kernel of Debian 12's backports and Debian 13."""
    setup.demo()


@case
def wireguard(setup):
    """Our client of the kernel's WireGuard does on 6.12 what its tests say."""
    setup.wireguard_client()


@case
def flushes(setup):
    """On 6.12 the guard stays, and TCP goes on, through nft flush ruleset and conntrack -F."""
    setup.cases("flushes", 5)


@case
def restarts(setup):
    """On 6.12, with the kernel's WireGuard on both ends, killed daemons lose nothing."""
    setup.cases("restarts", 1)


@case
def restore(setup):
    """On 6.12 the kernel's WireGuard speaks first when the way to silent uplinks is there."""
    setup.cases("restore", 1)


@case
def flows(setup):
    """On 6.12 stale flows go, others stay, and bindings have their timeouts."""
    setup.cases("flows", 2)
    setup.cases("timeouts", 1)


@case
def path_mtu(setup):
    """On 6.12, with the kernel's WireGuard, a path that is a black hole is found."""
    setup.cases("pmtu", 2)
