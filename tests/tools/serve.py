#!/usr/bin/python3
"""Small services that say whom they see.

usage: serve.py NAME KIND:PORT[-LAST]...
  page   TCP: answers one HTTP request
  talk   TCP: answers every line, as long as the connection lasts
  bulk   TCP: "pull BYTES" sends that many and their SHA-256 (32 bytes);
         "push BYTES" takes that many, or what comes until the end of
         the stream, and answers their SHA-256
  echo   UDP: answers every datagram
Answers begin with "NAME:PORT saw ADDRESS". Prints "ready" when all ports are
bound.
"""

import contextlib
import hashlib
import random
import resource
import selectors
import socket
import sys
import threading


def page(connection, who):
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(4096)
        if not part:
            return
        request += part
    body = f"{who}\n"
    head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())


def talk(connection, who):
    for line in connection.makefile("rb"):
        connection.sendall(f"{who}: ".encode() + line)


def bulk(connection, _):
    stream = connection.makefile("rb")
    verb, count = stream.readline().split()
    digest = hashlib.sha256()
    left = int(count)
    block = random.Random(left).randbytes(1 << 16)
    while left:
        part = block[:left] if verb == b"pull" else stream.read(min(left, len(block)))
        if not part:
            break
        if verb == b"pull":
            connection.sendall(part)
        digest.update(part)
        left -= len(part)
    connection.sendall(digest.digest())


TCP_KINDS = {"page": page, "talk": talk, "bulk": bulk}


def serve_connection(kind, connection, who):
    with connection, contextlib.suppress(OSError):
        TCP_KINDS[kind](connection, who)


def plain(address):
    """An IPv4 address as itself, not as a socket of both families tells it."""
    return address.removeprefix("::ffff:")


def accept(kind, name, listener):
    connection, peer = listener.accept()
    who = f"{name}:{listener.getsockname()[1]} saw {plain(peer[0])}"
    threading.Thread(target=serve_connection, args=(kind, connection, who), daemon=True).start()


def answer(kind, name, listener):
    payload, arrival, _, peer = listener.recvmsg(65536, 64)
    who = f"{name}:{listener.getsockname()[1]} saw {plain(peer[0])}: "
    # The answer comes from the address that was asked, by whatever interface.
    arrival = [
        (level, kind, data[:16] + bytes(4)) for level, kind, data in arrival
        if kind == socket.IPV6_PKTINFO
    ]
    # The answer is never longer than what fits into a datagram, nor lost in silence.
    with contextlib.suppress(OSError):
        listener.sendmsg([(who.encode() + payload)[:65507]], arrival, 0, peer)


def listen(kind, port):
    if kind not in {*TCP_KINDS, "echo"}:
        sys.exit(f"serve.py: no kind {kind!r}")
    kind_of_socket = socket.SOCK_STREAM if kind in TCP_KINDS else socket.SOCK_DGRAM
    try:
        listener = socket.socket(socket.AF_INET6, kind_of_socket)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    except OSError:  # a kernel without IPv6
        listener = socket.socket(socket.AF_INET, kind_of_socket)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    if kind in TCP_KINDS:
        listener.listen(64)
    return listener


def main(name, wanted):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ready = selectors.DefaultSelector()
    for item in wanted:
        kind, _, ports = item.partition(":")
        first, _, last = ports.partition("-")
        for port in range(int(first), int(last or first) + 1):
            serve_one = accept if kind in TCP_KINDS else answer
            ready.register(listen(kind, port), selectors.EVENT_READ, (serve_one, kind))
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            serve_one, kind = key.data
            serve_one(kind, name, key.fileobj)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    main(sys.argv[1], sys.argv[2:])
