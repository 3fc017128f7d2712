#!/usr/bin/python3
"""The client's side of serve.py: every question has a deadline.

usage: ask.py page|talk|echo ADDRESS PORT
       ask.py pull|push ADDRESS PORT BYTES
The functions are also used from tests, inside `with host.network():`. They
return what was answered, or "no: " and why nothing was.
"""

import hashlib
import random
import select
import socket
import sys
import time

from slowness import SLOWNESS

SECONDS = 2.0 * SLOWNESS


def _why(error):
    if isinstance(error, TimeoutError):
        return "no: timed out"
    return f"no: {error.strerror or error}".lower()


def datagram_socket(address):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def page(address, port, seconds=SECONDS):
    """The body of http://address:port/."""
    try:
        with socket.create_connection((address, port), seconds) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = _read_all(connection, seconds).decode()
    except OSError as error:
        return _why(error)
    return answer.partition("\r\n\r\n")[2].strip() or "no: closed"


def echo(address, port, payload="hello", seconds=SECONDS):
    """What one datagram brings back."""
    with datagram_socket(address) as asked:
        asked.settimeout(seconds)
        try:
            asked.connect((address, port))
            asked.send(payload.encode())
            return asked.recv(65536).decode()
        except OSError as error:
            return _why(error)


def echo_ports(address, ports, seconds=20.0, window=64):
    """Asks many UDP ports by one socket; {port: answer} of those that did."""
    waiting = iter(ports)
    answers = {}
    pending = {}
    deadline = time.monotonic() + seconds
    with datagram_socket(address) as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while time.monotonic() < deadline:
            while len(pending) < window and (port := next(waiting, None)) is not None:
                pending[port] = time.monotonic()
                asked.sendto(b"hello", (address, port))
            if not pending:
                break
            if select.select([asked], [], [], 0.2)[0]:
                payload, (_, port, *_) = asked.recvfrom(65536)
                answers[port] = payload.decode()
                pending.pop(port, None)
            now = time.monotonic()
            pending = {port: sent for port, sent in pending.items() if now - sent < SECONDS}
    return answers


class Held:
    """A connection that stays open: one line there, one line back."""

    def __init__(self, address, port, seconds=SECONDS):
        self._socket = socket.create_connection((address, port), seconds)
        self._lines = self._socket.makefile("r")
        self.source = self._socket.getsockname()[1]

    def ask(self, line="hello"):
        try:
            self._socket.sendall(f"{line}\n".encode())
            return self._lines.readline().strip() or "no: closed"
        except OSError as error:
            return _why(error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


def talk(address, port, line="hello", seconds=SECONDS):
    """What one line on a new connection brings back."""
    try:
        with Held(address, port, seconds) as held:
            return held.ask(line)
    except OSError as error:
        return _why(error)


def pull(address, port, count, seconds=20.0):
    """Downloads `count` bytes; "N bytes, checksum right"."""
    try:
        with socket.create_connection((address, port), seconds) as connection:
            connection.sendall(f"pull {count}\n".encode())
            answer = _read_all(connection, seconds)
    except OSError as error:
        return _why(error)
    data, digest = answer[:count], answer[count:]
    right = hashlib.sha256(data).digest() == digest
    return f"{len(data)} bytes, checksum {'right' if right else 'wrong'}"


def push(address, port, count, seconds=20.0):
    """Uploads `count` bytes; "N bytes, checksum right"."""
    data = random.Random(count).randbytes(count)
    try:
        with socket.create_connection((address, port), seconds) as connection:
            connection.sendall(f"push {count}\n".encode() + data)
            answer = _read_all(connection, seconds)
    except OSError as error:
        return _why(error)
    right = hashlib.sha256(data).digest() == answer
    return f"{count} bytes, checksum {'right' if right else 'wrong'}"


def _read_all(connection, seconds):
    deadline = time.monotonic() + seconds
    parts = []
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def main(words):
    kinds = {"page": page, "talk": talk, "echo": echo, "pull": pull, "push": push}
    if len(words) not in (3, 4) or words[0] not in kinds:
        sys.exit(__doc__.strip())
    answer = kinds[words[0]](words[1], *map(int, words[2:]))
    print(answer)
    return answer.startswith("no: ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
