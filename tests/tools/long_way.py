#!/usr/bin/python3
"""Makes what is routed into a TUN device come out of it again a while later: a long way, for
kernels without netem.

usage: long_way.py DEVICE MILLISECONDS
"""

import collections
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
QUEUE = 10_000  # packets


def main(device, delay):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    print("ready", flush=True)
    waiting = collections.deque(maxlen=QUEUE)
    while True:
        wait = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        if select.select([tun], [], [], wait)[0]:
            waiting.append((time.monotonic() + delay, os.read(tun, 65536)))
        while waiting and waiting[0][0] <= time.monotonic():
            try:
                os.write(tun, waiting.popleft()[1])
            except OSError:
                pass  # the device is down


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) / 1000)
