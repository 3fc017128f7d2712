"""How fast edged takes changes, and what memory it has then."""

import contextlib
import re
import time

from place import FEW, MANY, UPLINKS, Agent, Heartbeats, wait_for_line
from results import Row, at_most, percentile, quartiles

GROUPS = 16  # of bench_agent; u2 is in all of them, u3 in one
SETTLE_SECONDS = 3  # the state is written after 0.5 s, and memory given back


def now_ms():
    return time.monotonic() * 1e3


class Control:
    """Both edges with an agent each: FEW at 1,000 mappings, MANY at 60,000."""

    def __init__(self, place, effort):
        self.place = place
        self.effort = effort
        self.edges = {way: place.edge(way) for way in (FEW, MANY)}
        time.sleep(SETTLE_SECONDS)
        self.idle_memory = self.edges[FEW].resident()
        self.beats = {way: Heartbeats(place.target, way) for way in self.edges}
        self.agents = {}

    def connect(self):
        """An agent for each edge, and what they are measured with."""
        for way, edge in self.edges.items():
            self.agents[way] = Agent(edge.host, way.address)
        self.agents[FEW].snapshot(1_000)
        self.agents[MANY].snapshot(60_000)

    @contextlib.contextmanager
    def _alone(self):
        """Only MANY runs, as on a host of its own: the kernel makes events of every element
        while anybody listens to nf_tables, in whatever namespace."""
        if FEW in self.agents:
            self.agents.pop(FEW).stop()
        self.edges[FEW].stop()
        yield self.edges[MANY]
        self.edges[FEW].start()

    def snapshots(self):
        """Beside nft no edge runs at all."""
        with self._alone() as edge:
            yield self._snapshots(edge)

    def _snapshots(self, edge):
        rules = self.place.lab.folder / "rules.nft"
        loader = self.place.lab.host("loader")
        pairs = []
        for _ in range(self.effort.pairs):
            agent = Agent(edge.host, MANY.address)
            agent.snapshot(0)
            took = agent.snapshot(60_000)
            if not pairs:
                rules.write_text(edge.table())
            agent.snapshot(0)
            agent.stop()
            edge.stop()
            start = now_ms()
            loader.run(["nft", "-f", rules], seconds=60)
            pairs.append((took, now_ms() - start))
            loader.run(["nft", "flush", "ruleset"])
            edge.start()
        own, other = (quartiles(values)[1] for values in zip(*pairs))
        return Row.ratio(
            "snapshot of 60,000 single ports until its ACK, against nft -f of the same rules",
            pairs, at_most(0.6), f"{own:.0f} ms, {other:.0f} ms",
        )

    def changes(self):
        totals = {FEW: [], MANY: []}
        applies = {FEW: [], MANY: []}
        pairs = []
        for way in totals:
            self.agents[way].changes(20)  # not counted
        for _ in range(self.effort.pairs):
            medians = {}
            for way in (FEW, MANY):
                total, apply = self.agents[way].changes(self.effort.changes)
                totals[way] += total
                applies[way] += apply
                medians[way] = percentile(total, 50)
            pairs.append((medians[MANY], medians[FEW]))
        many, few = totals[MANY], totals[FEW]
        what = "one single port added or removed until its ACK"
        note = f"{len(many)} changes; edged itself {percentile(applies[MANY], 50):.2g} ms"
        yield Row(f"{what}, at 60,000 mappings: p50", percentile(many, 50), "ms", at_most(1),
                  quartiles(many)[::2], note)
        yield Row(f"{what}, at 60,000 mappings: p99", percentile(many, 99), "ms", at_most(5),
                  note=f"longest {max(many):.3g} ms")
        yield Row.ratio(
            f"{what}: p50 at 60,000 against p50 at 1,000 mappings", pairs, at_most(1.3),
            f"{percentile(many, 50):.3g} ms, {percentile(few, 50):.3g} ms",
        )

    def memory(self):
        time.sleep(SETTLE_SECONDS)
        yield Row("resident memory, idle", self.idle_memory, "MB", at_most(10))
        yield Row("resident memory, steady with 60,000 mappings", self.edges[MANY].resident(),
                  "MB", at_most(24), note="after all changes above")

    def groups(self):
        with self._alone() as edge:
            yield from self._groups(edge)

    def _groups(self, edge):
        for block in UPLINKS:
            wait_for_line(edge.process, re.compile(f"uplink u{block}: .*→ alive"), 0)
        for block, groups, name in ((2, GROUPS, "16 groups at once"), (3, 1, "a group alone")):
            times = [self._lose(edge, block) / groups for _ in range(self.effort.losses)]
            yield Row.median(
                f"group rewritten (uplink lost), per group, at 60,000 mappings: {name}",
                times, "ms", at_most(1), f"{len(times)} losses",
            )

    def _lose(self, edge, block):
        """Milliseconds from the verdict to the rewritten groups, by edged's log."""
        start = len(edge.process.output())
        self.beats[MANY].silent.add(block)
        lost = wait_for_line(
            edge.process, re.compile(rf"uplink u{block}: alive → suspect, ([\d.]+) ms"), start
        )
        self.beats[MANY].silent.clear()
        wait_for_line(
            edge.process, re.compile(f"uplink u{block}: (suspect|dead) → alive"), lost.end()
        )
        return float(lost[1])

    def few_mappings(self):
        """As little as an edge ever has, and both edges ready for traffic."""
        if FEW not in self.agents:
            self.agents[FEW] = Agent(self.edges[FEW].host, FEW.address)
        self.agents[FEW].snapshot(10)
        for edge in self.edges.values():
            wait_for_line(edge.process, re.compile("uplink u1: .*→ alive"), 0)

    def stop(self):
        for beats in self.beats.values():
            beats.stop()
        for agent in self.agents.values():
            agent.stop()
        for edge in self.edges.values():
            edge.stop()
