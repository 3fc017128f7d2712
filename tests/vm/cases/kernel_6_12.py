"""On the kernel of Debian 12's backports and of Debian 13, with its WireGuard."""

from kernel import (  # noqa: F401 (cases of every kernel)
    LIMIT_SECONDS, Kernel, demo, flows, flushes, path_mtu, restarts, restore, wireguard,
)


def build(_):
    return Kernel("6.12")
