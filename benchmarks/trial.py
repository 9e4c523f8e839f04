"""One cell: every contender on the same arrays, checked first, then timed in turns.

Imports: clock, peers, truth, way; what is timed decides what else is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from benchmarks import clock, peers
from benchmarks.clock import Times
from benchmarks.jobs import Job
from benchmarks.truth import Together, Truth
from benchmarks.way import Way

OURS = "sash"
COPY = "copy"
HOPELESS = 5.0
"""Times sash's seconds: past it, what took longer than the patience is not run again."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A job with a name; `when`: in every run, with --all, or with --large only; `group`: those that are summed up together."""

    name: str
    job: Job
    when: Literal["quick", "all", "large"] = "all"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one contender: times where it is right; else how far off it is, or why it did not run."""

    name: str
    peer: str
    times: Times | None = None
    error: float = 0.0
    allowed: float = 0.0
    refusal: str = ""
    note: str = ""
    scratch: int | None = None
    reference: bool = False
    """Not a contender: less than the job, as a mark to measure by."""

    @property
    def wrong(self) -> bool:
        return not self.refusal and not self.error <= self.allowed


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell with all its entries, sash's first; `copy`: seconds of a plain copy of the data; `work`: multiply-adds."""

    suite: str
    name: str
    entries: tuple[Entry, ...]
    copy: float
    work: float
    kind: str = ""
    group: str = ""
    size: int = 0
    """Bytes of the data."""

    @property
    def ours(self) -> Entry:
        return self.entries[0]

    def ratios(self) -> dict[str, float]:
        """Time of each right peer divided by sash's; empty where sash is wrong."""
        return self._over(False)

    def references(self) -> dict[str, float]:
        """The same of what is no contender."""
        return self._over(True)

    def _over(self, reference: bool) -> dict[str, float]:
        mine = self.ours.times
        return {e.name: e.times.median / mine.median for e in self.entries[1:] if e.times and e.reference == reference} if mine else {}

    def best(self) -> tuple[str, float] | None:
        """The fastest peer, and its time divided by sash's."""
        return min(self.ratios().items(), key=lambda item: item[1], default=None)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait: rounds (or as many as the budget allows), seconds per cell, and seconds per call of a peer."""

    rounds: int | None = None
    budget: float = 3.0
    patience: float = 3.0


def contenders(job: Job, given: tuple[Any, ...], names: tuple[str, ...]) -> Iterator[tuple[str, Way]]:
    """sash, then every way of every peer that is installed."""
    yield OURS, Way(OURS, job.ours(*given))
    for name in names:
        if peers.opened(name):
            for way in peers.ways(name, job, given):
                yield name, way


def attempt(suite: str, cell: Cell, names: tuple[str, ...], limits: Limits) -> Outcome:
    """Check and time everyone."""
    job, given = cell.job, cell.job.given()
    truth = job.truth(*given)
    entries: dict[str, Entry] = {}
    right: dict[str, Way] = {}
    took: dict[str, float] = {}
    for peer, way in contenders(job, given, names):
        if way.seconds > limits.patience:
            way = replace(way, refusal=f"not run: about {way.seconds:.0f} s a call")
        if way.refusal:
            entries[way.name] = Entry(way.name, peer, refusal=way.refusal, note=way.note)
            continue
        entry, seconds = checked(peer, way, truth)
        entries[way.name] = entry
        if entry.refusal or entry.wrong:
            continue
        if limits.rounds is None and seconds > limits.patience and seconds > HOPELESS * took.get(OURS, seconds):
            entries[way.name] = replace(entry, times=Times((seconds / way.part,)))  # it has been waited for once
            continue
        right[way.name], took[way.name] = way, seconds
    runs: dict[str, Any] = {name: way.run for name, way in right.items()}
    if given:
        runs[COPY], took[COPY] = copying(given[0])
    times = clock.in_turns(runs, took, limits.budget, limits.rounds)
    copy = times.pop(COPY).median if given else 0.0
    for name, found in times.items():
        whole = Times(tuple(s / right[name].part for s in found.seconds))
        entries[name] = replace(entries[name], times=whole)
    size = sum(a.nbytes for a in given if isinstance(a, np.ndarray))
    return Outcome(suite, cell.name, tuple(entries.values()), copy, job.work(), job.kind, cell.group, size)


def checked(peer: str, way: Way, truth: Truth | Together) -> tuple[Entry, float]:
    """The first call, which also warms up, against the truth; and the seconds of a call."""
    try:
        answer, seconds = clock.once(way.run)
        if seconds < 1 or way.name == OURS:  # the first call may have compiled, or opened a library
            answer, seconds = clock.once(way.run)
    except Exception as failed:  # whatever a library may raise is its answer
        reason = str(failed).strip().splitlines()[-1] if str(failed).strip() else type(failed).__name__
        return Entry(way.name, peer, refusal=f"failed: {reason}", note=way.note), 0.0
    right = way.truth() if way.truth else truth
    entry = Entry(way.name, peer, error=right.error(answer), allowed=right.allowed * way.slack, note=way.note, reference=way.reference)
    if seconds < clock.SHORT:  # a call that comes alone takes several times as long: samples would be shorter than they should
        seconds = min(seconds, *[clock.once(way.run)[1] for _ in range(5)])
    return entry, seconds


def copying(x: Any) -> tuple[Any, float]:
    """A plain copy of an array, and its seconds."""
    target = np.empty_like(x)

    def run() -> None:
        np.copyto(target, x)

    run()
    return run, clock.once(run)[1]
