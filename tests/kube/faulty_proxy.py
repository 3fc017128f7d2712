"""A proxy in front of the API server that does to its client what networks, overloaded
servers and restored backups do. It speaks plain HTTP to the client, and HTTPS to the
server; every request has a connection of its own."""

import json
import socket
import ssl
import threading

EXPIRED = {
    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
    "message": "too old resource version", "reason": "Expired", "code": 410,
}
LONGEST_HEAD = 1 << 20


def _answer(status, body, *headers):
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json",
            f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


class Request:
    def __init__(self, head, body):
        line, _, self.headers = head.partition(b"\r\n")
        self.method, self.target, _ = line.decode().split(" ")
        self.body = body
        self.is_watch = "watch=" in self.target

    def forwarded(self):
        """As it goes to the server: this one alone."""
        kept = [
            line for line in self.headers.split(b"\r\n")
            if line and not line.lower().startswith((b"connection:", b"accept-encoding:"))
        ]
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), *kept, b"Connection: close"]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


# Faults: what is answered instead of asking the server; None asks it.


def gone(request):
    """A watch's version has expired, by the status."""
    return _answer("410 Gone", json.dumps(EXPIRED).encode()) if request.is_watch else None


def gone_in_stream(request):
    """The same as an ERROR event in the stream."""
    event = json.dumps({"type": "ERROR", "object": EXPIRED}).encode() + b"\n"
    return _answer("200 OK", event) if request.is_watch else None


def empty(request):
    """The same as an answer without anything."""
    return _answer("200 OK", b"") if request.is_watch else None


def too_many(request):
    body = json.dumps({**EXPIRED, "reason": "TooManyRequests", "code": 429,
                       "message": "too many requests"}).encode()
    return _answer("429 Too Many Requests", body, "Retry-After: 1")


def broken(request):
    body = json.dumps({**EXPIRED, "reason": "InternalError", "code": 500,
                       "message": "etcd is away"}).encode()
    return _answer("500 Internal Server Error", body)


def silent(_):
    """Hangs up without a word."""
    return b""


def lagging(lists):
    """A server that is behind: lists are as `lists` says, by path, and each watch of one ends
    at once as expired."""
    def fault(request):
        body = lists.get(request.target.partition("?")[0])
        if body is None or request.method != "GET":
            return None
        return gone(request) or _answer("200 OK", body)

    return fault


class FaultyProxy:
    """Listens on `host` of the lab, in front of `cluster`. `fault` is one of the above, or
    None; `pause` seconds lie between any two of its bytes."""

    PORT = 8001

    def __init__(self, host, cluster, server):
        self.fault = None
        self.pause = 0.0
        self.requests = []  # (method, target) since the beginning
        self._host = host
        self._server = server
        self._context = ssl.create_default_context(
            cafile=cluster.folder / "certs/apiserver.crt"
        )
        self._open = set()
        self._lock = threading.Lock()
        self._over = False
        with host.network():
            self._listener = socket.create_server(("127.0.0.1", self.PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over = True
        self._listener.close()
        self.cut()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.PORT}"

    def cut(self):
        """Ends every connection in the middle of whatever it is."""
        with self._lock:
            for one in self._open:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has ended by itself
                    pass

    def count(self, part):
        """How many requests had `part` in their target."""
        return sum(part in target for _, target in list(self.requests))

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the end
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        with client, self._tracked(client):
            try:
                self._serve_one(client)
            except OSError:  # either side went away
                pass

    def _serve_one(self, client):
        request = _read_request(client)
        if request is None:
            return
        self.requests.append((request.method, request.target))
        answer = self.fault(request) if self.fault else None
        if answer is not None:
            client.sendall(answer)
            return
        with self._host.network():
            plain = socket.create_connection(self._server, 10)
        with self._context.wrap_socket(plain, server_hostname=self._server[0]) as server:
            server.settimeout(None)
            with self._tracked(server):
                server.sendall(request.forwarded())
                self._copy(server, client)

    def _copy(self, server, client):
        while piece := server.recv(65536):
            if not self.pause:
                client.sendall(piece)
                continue
            for byte in piece:
                client.sendall(bytes([byte]))
                threading.Event().wait(self.pause)

    def _tracked(self, one):
        return _Tracked(self._lock, self._open, one)


class _Tracked:
    """Holds a socket in a set as long as the block lasts."""

    def __init__(self, lock, sockets, one):
        self._lock, self._sockets, self._one = lock, sockets, one

    def __enter__(self):
        with self._lock:
            self._sockets.add(self._one)

    def __exit__(self, *_):
        with self._lock:
            self._sockets.discard(self._one)


def _read_request(client):
    read = b""
    while b"\r\n\r\n" not in read:
        piece = client.recv(65536)
        if not piece or len(read) > LONGEST_HEAD:
            return None
        read += piece
    head, _, body = read.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line == b"expect: 100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < length:
        body += client.recv(65536)
    return Request(head, body)
