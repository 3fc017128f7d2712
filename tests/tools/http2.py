"""A client of the edge's API that does not want to be served well: HTTP/2 (RFC 9113) by hand.

A Flood opens Sync streams and begins a message of a claimed size on each, of which it sends as
much as the server lets it, and never the end; Messages are sent whole. The other functions write
frames for some time, as fast as the server takes them, and read nothing.
"""

import select
import socket
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
PIECE = 16384


def _frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _field(name, value):
    """Literal, without index and without Huffman coding (RFC 7541, section 6.2.2)."""
    text = [word.encode() for word in (name, value)]
    return b"\0" + b"".join(bytes([len(word)]) + word for word in text)


def _request(method, service="edged.v1.EdgeService", more=()):
    return b"".join(
        _field(*pair) for pair in (
            (":method", "POST"), (":scheme", "http"), (":authority", "edge"),
            (":path", f"/{service}/{method}"), ("content-type", "application/grpc"),
            ("te", "trailers"), *more,
        )
    )


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0)
REQUEST = _request("Sync")
EMPTY_MESSAGE = b"\0\0\0\0\0"


def connect(where, seconds=2.0):
    """`where`: the path of a Unix socket, or (address, port)."""
    if not isinstance(where, str):
        return socket.create_connection(where, seconds)
    connection = socket.socket(socket.AF_UNIX)
    # Without blocking, a queue that is full for a moment is an error.
    limit = struct.pack("ll", int(seconds), 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.connect(where)
    connection.settimeout(seconds)
    return connection


def _stream_numbers():
    return range(1, 1 << 31, 2)


def rapid_resets():
    """Streams that are opened and taken back at once."""
    for stream in _stream_numbers():
        yield _frame(HEADERS, END_HEADERS, stream, REQUEST) + _frame(
            RST_STREAM, 0, stream, b"\0\0\0\x08"
        )


def resets_of(service, method):
    """The same with another method."""
    headers = _request(method, service)
    for stream in _stream_numbers():
        yield _frame(HEADERS, END_HEADERS, stream, headers) + _frame(
            RST_STREAM, 0, stream, b"\0\0\0\x08"
        )


def pings():
    while True:
        yield _frame(PING, 0, 0, b"12345678")


def settings():
    """Each wants to be acknowledged."""
    while True:
        yield _frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 65535))


def headers_without_end():
    """A request whose headers go on and on (RFC 9113, section 6.10)."""
    yield _frame(HEADERS, 0, 1, REQUEST)
    while True:
        yield _frame(CONTINUATION, 0, 1, b"".join(_field(f"x-{n}", "y" * 100) for n in range(100)))


def calls(method):
    """Whole unary calls, one after the other, whose answers nobody reads."""
    headers = _request(method)
    for stream in _stream_numbers():
        yield _frame(HEADERS, END_HEADERS, stream, headers) + _frame(
            DATA, END_STREAM, stream, EMPTY_MESSAGE
        )


def attack(where, frames, seconds):
    """Writes `frames` until the time is over; begins anew when the server hangs up. How many were
    written, and how often it hung up."""
    deadline = time.monotonic() + seconds
    written = hung_up = 0
    while time.monotonic() < deadline:
        try:
            with connect(where, 0.2) as connection:
                connection.sendall(PREFACE)
                for frame in frames():
                    connection.sendall(frame)
                    written += 1
                    if time.monotonic() > deadline:
                        break
        except TimeoutError:
            pass  # it takes no more, and has not hung up
        except OSError:
            hung_up += 1
            time.sleep(0.01)
    return written, hung_up


class Flood:
    """One connection with streams that each claim a message of `size` bytes."""

    keeps = PIECE  # of each message, at least
    request = REQUEST
    preface = PREFACE

    def __init__(self, where, streams=1, size=0):
        self._begin(where, streams, b"\0" + struct.pack(">I", size), size)

    def _begin(self, where, streams, head, size):
        self.socket = connect(where)
        self.unsent = {1 + 2 * number: size for number in range(streams)}
        self.windows = dict.fromkeys(self.unsent, 65535)
        self.window = self.initial = 65535
        self.ended = set()  # streams that the server ended
        self.open = True
        self._received = b""
        self.said = b""  # the headers and trailers that the server sent
        self._write(self.preface)
        for stream in self.unsent:
            self._write(_frame(HEADERS, END_HEADERS, stream, self.request))
            if size:
                self._data(stream, head)

    def close(self):
        self.socket.close()

    def sent(self):
        """Bytes of data in all."""
        return self._sent

    _sent = 0

    def pump(self, seconds):
        """Sends what the server takes, for so long or until it closes the connection."""
        deadline = time.monotonic() + seconds
        while self.open and (left := deadline - time.monotonic()) > 0:
            readable = select.select([self.socket], [], [], min(left, 0.01))[0]
            if readable:
                self._read()
            for stream in list(self.unsent):
                self._send_some(stream)

    def _send_some(self, stream):
        while (
            self.open and stream not in self.ended and self.unsent[stream] > self.keeps
            and min(self.windows[stream], self.window) >= PIECE
        ):
            piece = self._piece(self.unsent[stream])
            self._data(stream, piece)
            self.unsent[stream] -= len(piece)

    def _piece(self, left):
        return b"x" * PIECE

    def _data(self, stream, payload):
        self._write(_frame(DATA, 0, stream, payload))
        self.windows[stream] -= len(payload)
        self.window -= len(payload)
        self._sent += len(payload)

    def _write(self, payload):
        try:
            self.socket.sendall(payload)
        except OSError:
            self.open = False

    def _read(self):
        try:
            received = self.socket.recv(1 << 16)
        except OSError:
            received = b""
        self.open = self.open and bool(received)
        self._received += received
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                break
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            payload, self._received = self._received[9:9 + size], self._received[9 + size:]
            self._take(kind, flags, stream, payload)

    def _take(self, kind, flags, stream, payload):
        if kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += more
            elif stream in self.windows:
                self.windows[stream] += more
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == INITIAL_WINDOW_SIZE:
                    for each in self.windows:
                        self.windows[each] += value - self.initial
                    self.initial = value
            self._write(_frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._write(_frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.ended.add(stream)
        if kind == HEADERS:
            self.said += payload


class Messages(Flood):
    """One connection with streams on each of which the same message is sent once."""

    keeps = 0

    def __init__(self, where, message, streams=1, method="Sync", encoding=None,
                 service="edged.v1.EdgeService", more=()):
        self._message = message
        more = (*more, *([("grpc-encoding", encoding)] if encoding else []))
        self.request = _request(method, service, more)
        head = bytes([encoding is not None]) + struct.pack(">I", len(message))
        self._begin(where, streams, head, len(message))

    def _piece(self, left):
        at = len(self._message) - left
        return self._message[at:at + PIECE]

    def repeat(self):
        """The same on one more stream."""
        stream = max(self.unsent) + 2
        self.unsent[stream] = len(self._message)
        self.windows[stream] = self.initial
        self._write(_frame(HEADERS, END_HEADERS, stream, self.request))
        self._data(stream, b"\0" + struct.pack(">I", len(self._message)))

    def is_sent(self):
        return not any(self.unsent[stream] for stream in self.unsent if stream not in self.ended)


class DeafMessages(Messages):
    """The same, but of an answer's content the server may send nothing."""

    preface = PREFACE + _frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
