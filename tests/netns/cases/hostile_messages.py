"""Messages that are small when they come and large when they are read, and what is said of
messages."""

import contextlib
import time
import zlib

import http2
from case import case
from expect import becomes, expect, expect_in, expect_not_in
from product import EDGE_OVERLAY, port_binding
from served import MEGABYTE, Undisturbed, memory, serves_more, serving, web

API = (EDGE_OVERLAY["a"], 7443)
MOST = 64 * MEGABYTE  # that the edge may grow by


def gzipped_zeros(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = [packer.compress(bytes(MEGABYTE)) for _ in range(size // MEGABYTE)]
    return b"".join([*packed, packer.flush()])


def sent(setup, message, seconds=4.0, **options):
    """Sends the message from the uplink; what the edge grew by, and what it said."""
    before = memory(setup.edge)
    with Undisturbed(setup, stream=False), setup.world.home.network():
        flood = http2.Messages(API, message, **options)
        flood.pump(seconds)
        flood.close()
    grown = memory(setup.edge) - before
    print(
        f"    {len(message)} bytes {options}: sent {flood.is_sent()}, ended {len(flood.ended)}, "
        f"grown by {grown / MEGABYTE:.1f} MB"
    )
    return grown, flood


@case
def compressed_messages(lab):
    """A message that would be 300 MB when it is unpacked is never unpacked."""
    setup = serving(lab)
    bomb = gzipped_zeros(300 * MEGABYTE)
    for method in ("Sync", "GetState"):
        grown, flood = sent(setup, bomb, method=method, encoding="gzip")
        expect(grown < MOST, True, f"grown by {grown}")
    serves_more(setup)


def field(number, content):
    """A field of bytes or of a message (protobuf's encoding), with less than 4 MiB of content."""
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128,
                  size >> 21]) + content


def message_of(empty, count):
    """A snapshot's chunk with that many empty records of one kind."""
    return field(2, bytes([empty << 3 | 2, 0]) * count)


@case
def messages_of_nothing(lab):
    """Millions of empty records in a message of 4 MB do not take the edge's memory."""
    setup = serving(lab)
    for empty in (3, 4, 5):
        grown, flood = sent(setup, message_of(empty, 2_000_000), streams=4)
        expect(grown < MOST, True, f"grown by {grown}")
    serves_more(setup)


@case
def log_that_is_forged(lab):
    """What strangers write in headers and fields neither forges lines of the log nor fills it."""
    setup = serving(lab)
    forged = "\x1b[1mx\nFORGED"
    headers = [("grpc-encoding", forged)] + [("content-type", forged)] * 300
    before = len(setup.edge.process.output())
    with setup.world.home.network():
        for _ in range(20):
            with contextlib.closing(http2.Messages(API, b"\x1a\x02\xff\n", 5, "Register")) as flood:
                flood.pump(0.1)
            with contextlib.closing(http2.Messages(API, b"x", 5, more=headers)) as flood:
                flood.pump(0.1)
    said = setup.edge.process.output()[before:]
    expect_in("edged warn: gRPC: ", said)
    expect_in(r"\u001b[1mx\nFORGED", said)
    expect_not_in("\x1b", said)
    for line in said.splitlines():
        expect(line.startswith("20"), True, f"a line of edged's own: {line}")
    expect(len(said) < 20_000, True, f"{len(said)} bytes in the log")
    serves_more(setup)


@case
def answers_that_wait_for_readers(lab):
    """Large answers that nobody takes do not gather in the edge's memory."""
    setup = serving(lab)
    setup.agent.write("many", port_binding("many", *(web(port) for port in range(2000, 12_000))))
    becomes(lambda: setup.edge.status()["mappingCount"], "10001", 20)
    with Undisturbed(setup), setup.world.home.network():
        time.sleep(2)
        before = memory(setup.edge, "VmRSS")
        # page_size: 10,000
        held = [
            http2.DeafMessages(API, b"\x08\x90\x4e", method="ListMappings") for _ in range(6)
        ]
        for _ in range(20):
            for one in held:
                one.pump(0.05)
                one.repeat()
        grown = memory(setup.edge, "VmRSS") - before
        print(f"    grown by {grown / MEGABYTE:.1f} MB, ended {[len(o.ended) for o in held]}")
        expect(grown < 32 * MEGABYTE, True, f"grown by {grown}")
        for one in held:
            one.close()
    serves_more(setup)
