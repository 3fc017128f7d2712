"""On the kernel of Debian 12, with its WireGuard."""

from case import case
from kernel import (  # noqa: F401 (cases of every kernel)
    LIMIT_SECONDS, Kernel, demo, flows, flushes, path_mtu, restarts, restore, wireguard,
)


def build(_):
    return Kernel("6.1")


@case
def ipv6(setup):
    """On 6.1, where only the whole host can forward IPv6, `edged prepare` lets it."""
    setup.cases("ipv6", 1)


@case
def ipv4_without_ipv6(setup):
    """Hosts that were started with ipv6.disable=1 serve IPv4, and say what IPv6 lacks."""
    setup.cases("ipv4", 1)
