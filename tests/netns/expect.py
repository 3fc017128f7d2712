"""What cases say: expectations that fail with both values, and waiting with an end."""

import contextlib
import time


class Skipped(Exception):
    """This case cannot run here; the text says why."""


def expect(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{_label(what)}got {_short(got)}, wanted {_short(wanted)}")


def expect_in(part, text, what=""):
    if part not in text:
        raise AssertionError(f"{_label(what)}no {part!r} in {_short(text)}")


def expect_not_in(part, text, what=""):
    if part in text:
        raise AssertionError(f"{_label(what)}{part!r} in {_short(text)}")


def eventually(attempt, seconds=5.0, pause=0.02):
    """Calls `attempt` until it raises no AssertionError; what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except AssertionError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"still after {seconds} s: {error}") from None
        time.sleep(pause)


def becomes(ask, wanted, seconds=5.0):
    """Waits until `ask()` returns `wanted`."""
    eventually(lambda: expect(ask(), wanted), seconds)


@contextlib.contextmanager
def within(seconds, what):
    """The block must take no longer than this."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    if took > seconds:
        raise AssertionError(f"{what} took {took:.2f} s, more than {seconds} s")


def _label(what):
    return f"{what}: " if what else ""


def _short(value):
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"
