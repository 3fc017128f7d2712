"""What edged tells the one that has started it (sd_notify)."""

import contextlib
import os
import socket

from case import case
from expect import expect, expect_in
from lab import PYTHON
from product import NETWORKS, Setup, edge_node
from world import A, A2


@contextlib.contextmanager
def notified(lab):
    """A socket that hears what programs say which are started inside."""
    path = lab.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        os.environ["NOTIFY_SOCKET"] = str(path)
        try:
            yield heard
        finally:
            del os.environ["NOTIFY_SOCKET"]


def said(heard, seconds):
    """What is said within this time, and right after it."""
    text = ""
    with contextlib.suppress(TimeoutError):
        while True:
            heard.settimeout(0.2 if text else seconds)
            text += heard.recv(4096).decode() + "\n"
    return text


@case
def ready_after_the_first_apply(lab):
    """An enrolled edge is READY when it serves, not before: here its port was taken first."""
    setup = Setup(lab)
    script = (
        "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 51820))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    taker = setup.edge.host.start([PYTHON, "-c", script], "taker")
    taker.wait_for("ready")
    setup.agent.write("a", edge_node("a", A, (A, A2), tunnel={"network": NETWORKS["a"]}))
    setup.edge.join(setup.agent.token("a").stdout)
    with notified(lab) as heard:
        setup.edge.start()
        setup.edge.process.wait_for("reconcile: ")
        expect(said(heard, 0.5), "", "while the port is taken")
        taker.kill()
        expect_in("READY=1\nSTATUS=enrolled as a", said(heard, 12))
        setup.edge.process.stop()
        expect_in("STOPPING=1", said(heard, 0.5))


@case
def ready_without_an_enrolment(lab):
    """One that is not enrolled is READY, and says what it waits for."""
    setup = Setup(lab)
    with notified(lab) as heard:
        setup.edge.run()
        expect_in("READY=1\nSTATUS=not enrolled; waiting for `edged join`", said(heard, 0.5))
