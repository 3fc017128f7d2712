"""What a process costs the processors."""

import statistics
import time
from pathlib import Path

from results import Row


def spent(pid):
    """Seconds of all its threads so far; the kernel's clock ticks are too coarse."""
    return sum(
        int((task / "schedstat").read_text().split()[0])
        for task in Path(f"/proc/{pid}/task").iterdir()
    ) / 1e9


def changes_row(name, pid, change, turns, pause, bound):
    """The median of `change(turn)`: milliseconds for it and what follows, which has been done
    after `pause` seconds. Each is measured beside as long without one; what comes every half
    minute, and hits one of them, is not what a change costs."""

    def spent_on(call):
        before = spent(pid)
        call()
        time.sleep(pause)
        return (spent(pid) - before) * 1000

    idle, busy = [], []
    for turn in range(turns):
        idle.append(spent_on(lambda: None))
        busy.append(spent_on(lambda turn=turn: change(turn)))
    more = [one - other for one, other in zip(busy, idle)]
    note = f"{turns} changes; {statistics.median(idle):.2g} ms for as long without"
    return Row.median(name, more, "ms", bound, note)
