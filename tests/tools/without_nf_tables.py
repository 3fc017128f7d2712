#!/usr/bin/python3
"""Runs a command as on a kernel without nf_tables: sockets of NETLINK_NETFILTER are refused.

usage: without_nf_tables.py COMMAND...
"""

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBER_OF_SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
AF_NETLINK, NETLINK_NETFILTER = 16, 12
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of classic BPF, on words


def main():
    # struct seccomp_data: the call's number at 0, its arguments from 16 on.
    program = b"".join(struct.pack("HBBI", *step) for step in (
        (LOAD, 0, 0, 0), (EQUAL, 0, 5, NUMBER_OF_SOCKET),
        (LOAD, 0, 0, 16), (EQUAL, 0, 3, AF_NETLINK),
        (LOAD, 0, 0, 32), (EQUAL, 0, 1, NETLINK_NETFILTER),
        (RETURN, 0, 0, ERRNO | errno.EPROTONOSUPPORT),
        (RETURN, 0, 0, ALLOW),
    ))
    steps = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                 (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(sys.argv[1], sys.argv[1:])


main()
