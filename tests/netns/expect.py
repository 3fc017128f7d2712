"""What cases say: expectations that fail with both values, and waiting with an end."""

import contextlib
import time

from slowness import SLOWNESS


class Skipped(Exception):
    """This case cannot run here; the text says why."""


def expect(got, wanted, what=""):
    if got != wanted:
        got, wanted = _where_they_differ(got, wanted)
        raise AssertionError(f"{_label(what)}got {_short(got)}, wanted {_short(wanted)}")


def expect_in(part, text, what=""):
    if part not in text:
        raise AssertionError(f"{_label(what)}no {part!r} in {_short(text)}")


def expect_not_in(part, text, what=""):
    if part in text:
        raise AssertionError(f"{_label(what)}{part!r} in {_short(text)}")


def eventually(attempt, seconds=5.0, pause=0.02):
    """Calls `attempt` until it raises no AssertionError; what it returned."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while True:
        try:
            return attempt()
        except AssertionError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"still after {seconds} s: {error}") from None
        time.sleep(pause)


def becomes(ask, wanted, seconds=5.0, what=""):
    """Waits until `ask()` returns `wanted`."""
    eventually(lambda: expect(ask(), wanted, what), seconds)


@contextlib.contextmanager
def within(seconds, what):
    """The block must take no longer than this."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    if took > seconds:
        raise AssertionError(f"{what} took {took:.2f} s, more than {seconds} s")


def _where_they_differ(got, wanted):
    """Of two texts of many lines, the lines that only one of them has."""
    if not (isinstance(got, str) and isinstance(wanted, str) and "\n" in got + wanted):
        return got, wanted
    lines = [text.splitlines() for text in (got, wanted)]
    only = [
        [line for line in mine if line not in other]
        for mine, other in (lines, reversed(lines))
    ]
    return tuple("\n".join(mine) for mine in only) if any(only) else (got, wanted)


def _label(what):
    return f"{what}: " if what else ""


def _short(value):
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"
