"""How many cases passed, and the line that says so at the end of every runner."""

import re
from dataclasses import dataclass


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def said_by(line):
    """(passed, failed, skipped) of such a line; None for any other."""
    found = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped\n?", line)
    return tuple(map(int, found.groups())) if found else None
