#!/usr/bin/python3
"""Somebody who changes an nf_tables table again and again.

usage: stranger.py TABLE CHANGES
Adds so many chains to TABLE (of family inet), each in a batch of its own, one
every 2 ms: nft itself reads the whole ruleset before each change.
"""

import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
REQUEST, CREATE = 1, 0x400
BATCH_BEGIN, BATCH_END = 16, 17
NFTABLES, NEW_CHAIN = 10, 3
CHAIN_TABLE, CHAIN_NAME = 1, 3
INET = 1
PAUSE = 0.002


def message(kind, flags, family, resource, body=b""):
    payload = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | flags, 1, 0) + payload


def text(kind, value):
    data = value.encode() + b"\0"
    padding = b"\0" * (-len(data) % 4)
    return struct.pack("=HH", 4 + len(data), kind) + data + padding


def main(table, changes):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        for number in range(int(changes)):
            names = text(CHAIN_TABLE, table) + text(CHAIN_NAME, f"strange-{number}")
            kernel.send(
                message(BATCH_BEGIN, 0, 0, NFTABLES)
                + message(NFTABLES << 8 | NEW_CHAIN, CREATE, INET, 0, names)
                + message(BATCH_END, 0, 0, NFTABLES)
            )
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
