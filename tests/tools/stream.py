"""Clients that look for gaps: numbered datagrams, and downloads and uploads at a rate."""

import hashlib
import random
import select
import socket
import threading
import time

from slowness import SLOWNESS


class Stream:
    """Sends a numbered datagram each `interval` while the block lasts, all by one socket of
    `host`, to an echo, and knows what did not come back."""

    PATIENCE = 1.0

    def __init__(self, host, address, port, interval=0.02):
        with host.network():
            self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._target = (address, port)
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = {}  # times by number
        self.answered = {}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self):
        due = time.monotonic()
        while not self._over.is_set():
            if time.monotonic() >= due:
                due += self._interval
                self._send(len(self.sent))
            self._receive(max(due - time.monotonic(), 0))
        end = time.monotonic() + self.PATIENCE
        while self.lost() and time.monotonic() < end:
            self._receive(0.05)

    def _send(self, number):
        self.sent[number] = time.monotonic()
        try:
            self._socket.sendto(str(number).encode(), self._target)
        except OSError:
            pass  # an ICMP error to an earlier one

    def _receive(self, seconds):
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        try:
            payload = self._socket.recv(1000).decode()
        except OSError:
            return
        self.answered.setdefault(int(payload.rpartition(" ")[2]), time.monotonic())

    def source(self):
        """Its port, once something was sent."""
        return self._socket.getsockname()[1]

    def lost(self):
        return sorted(set(self.sent) - set(self.answered))

    def first_answer_after(self, moment):
        """When the first datagram was answered that was sent after `moment`; None: none yet."""
        answers = dict(self.answered)
        return min((at for number, at in answers.items() if self.sent[number] > moment),
                   default=None)

    def told(self):
        delays = [at - self.sent[number] for number, at in self.answered.items()]
        longest = max(delays, default=0) * 1000
        return f"{len(self.sent)} sent, {len(self.lost())} lost, the longest took {longest:.0f} ms"


class Transfer(threading.Thread):
    """A "pull" or "push" of serve.py's bulk over one TCP connection at a steady rate, until
    result() is asked for; longest_gap are the seconds in which nothing moved."""

    COUNT = 1 << 30  # more than is ever moved
    BLOCK = 1 << 14

    def __init__(self, host, address, port, verb, rate=4_000_000 / SLOWNESS, patience=15):
        """`rate`: bytes a second. A guest that has no processor of its own loses packets of
        others when it is asked to encrypt more than it can."""
        super().__init__(daemon=True)
        self._verb = verb
        self._rate = rate
        self._pattern = random.Random(self.COUNT).randbytes(1 << 16)
        self._moved = 0
        self._end = self.COUNT
        self._result = "not done"
        self.longest_gap = 0.0
        with host.network():
            self._socket = socket.socket()
            # What the kernel takes ahead of the network hides gaps.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._socket.settimeout(patience)
        self._socket.connect((address, port))
        self.source = self._socket.getsockname()[1]
        self.start()

    def flowing(self):
        """Waits until a second's worth has moved."""
        self._wait(self._rate)
        return self

    def result(self):
        """"whole", or what went wrong. Ends it after another second's worth."""
        self._end = self._moved + self._rate
        self.join()
        return self._result

    def _wait(self, count):
        while self._moved < count and self.is_alive():
            time.sleep(0.001)

    def run(self):
        with self._socket:
            try:
                self._socket.sendall(f"{self._verb} {self.COUNT}\n".encode())
                self._result = self._pull() if self._verb == "pull" else self._push()
            except OSError as error:
                self._result = f"no: {error}"

    def _blocks(self):
        """The next part of what is moved, each at its time."""
        due = last = time.monotonic()
        while self._moved < self._end:
            place = self._moved % len(self._pattern)
            before = self._moved
            yield self._pattern[place : place + self.BLOCK]
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - last)
            due = max(due + (self._moved - before) / self._rate, now - 1)
            time.sleep(max(due - now, 0))
            last = time.monotonic()

    def _pull(self):
        for wanted in self._blocks():
            part = self._socket.recv(len(wanted))
            if not part:
                return "no: closed"
            if not wanted.startswith(part):
                return f"other bytes after {self._moved}"
            self._moved += len(part)
        return "whole"

    def _push(self):
        digest = hashlib.sha256()
        for block in self._blocks():
            sent = self._socket.send(block)
            digest.update(block[:sent])
            self._moved += sent
        self._socket.shutdown(socket.SHUT_WR)
        answered = self._socket.recv(32, socket.MSG_WAITALL)
        return "whole" if answered == digest.digest() else "checksum wrong"
