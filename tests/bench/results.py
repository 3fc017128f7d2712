"""What was measured, as rows: statistics, the table, JSON. Pure."""

import json
import statistics
from dataclasses import dataclass

# Pairs of one ratio; fewer say nothing on a machine that does other things too.
LEAST_PAIRS = 9


@dataclass(frozen=True)
class Bound:
    """What a value must reach."""

    sign: str  # "<=" or ">="
    limit: float

    def holds(self, value):
        return value <= self.limit if self.sign == "<=" else value >= self.limit

    def __str__(self):
        return f"{self.sign} {self.limit:g}"


def at_most(limit):
    return Bound("<=", limit)


def at_least(limit):
    return Bound(">=", limit)


def percentile(values, percent):
    """The least value that so many per cent of all values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(rank, 1) - 1]


def quartiles(values):
    """(first quartile, median, third quartile)."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    bound: Bound
    spread: tuple = None  # (first, third quartile); None: one value
    note: str = ""  # what the value was made of

    @property
    def holds(self):
        return self.bound.holds(self.value)

    @classmethod
    def median(cls, name, values, unit, bound, note=""):
        first, middle, third = quartiles(values)
        return cls(name, middle, unit, bound, (first, third), note)

    @classmethod
    def ratio(cls, name, pairs, bound, note=""):
        """The median of the ratios of pairs that were measured one after the other."""
        if len(pairs) < LEAST_PAIRS:
            raise ValueError(f"{name}: {len(pairs)} pairs, fewer than {LEAST_PAIRS}")
        return cls.median(name, [one / other for one, other in pairs], "x", bound, note)

    def as_json(self):
        return {
            "name": self.name,
            "value": float(f"{self.value:.4g}"),
            "unit": self.unit,
            "bound": str(self.bound),
            "holds": self.holds,
        }

    def cells(self):
        spread = "" if self.spread is None else f"{_short(self.spread[0])} to {_short(self.spread[1])}"
        holds = "yes" if self.holds else "NO"
        return (self.name, f"{_short(self.value)} {self.unit}", spread, str(self.bound), holds, self.note)


HEADS = ("what", "measured", "quartiles", "must be", "holds", "made of")


def _short(value):
    """Three digits, or all that stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_json(rows):
    return json.dumps([row.as_json() for row in rows], indent=2) + "\n"


def as_text(rows):
    """A table for the terminal."""
    lines = [HEADS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() + "\n"
        for line in lines
    )


def as_markdown(rows):
    lines = [HEADS, ("---",) * len(HEADS), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def verdict(rows):
    """One sentence for the end."""
    missed = [row.name for row in rows if not row.holds]
    if not missed:
        return f"all {len(rows)} bounds hold"
    return f"{len(missed)} of {len(rows)} bounds not held: {'; '.join(missed)}"


def between(text, begin, end, new):
    """`text` with `new` in place of what stands between its lines `begin` and `end`."""
    before, found, rest = text.partition(begin + "\n")
    _, also_found, after = rest.partition(end + "\n")
    if not found or not also_found:
        raise ValueError(f"no lines {begin!r} and {end!r}")
    return f"{before}{begin}\n{new}{end}\n{after}"
