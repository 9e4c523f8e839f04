"""A plan: which method was chosen for a problem, and for every other one its prediction or why it cannot.

Plain numbers; the table is only its printing.  Imports: problem, methods (their Cost).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sash.methods import Cost
from sash.problem import Box, Problem


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method's answer: predicted seconds and bytes of scratch, or why not (`refusal`); seconds `measured` here, if any were."""

    name: str
    seconds: float
    scratch: int
    workers: int
    refusal: str
    cost: Cost | None
    measured: float | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.refusal:
            return {"name": self.name, "refusal": self.refusal}
        told = {"name": self.name, "seconds": self.seconds, "scratch": self.scratch, "workers": self.workers, "refusal": ""}
        return told if self.measured is None else told | {"measured": self.measured}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a problem will be solved, and why.

    `print(plan)` shows every method with its predicted time and scratch, or the sentence why not;
    `plan.method` is the name of the chosen one, `plan.candidates` all of them, `plan.to_dict()` plain numbers.

    Examples
    --------
    >>> import sash
    >>> plan = sash.plan("correlate", (512, 512), (127, 127))
    >>> plan.method, plan.seconds < 1, plan.scratch < 50_000_000
    ('fft', True, True)
    """

    title: str
    problem: Problem
    method: str
    reason: str
    candidates: tuple[Candidate, ...]
    boxes: tuple[Box, ...] = ()
    """The blocks that will be made one by one; none: the whole at once."""
    rivals: tuple[str, ...] = ()
    """Methods whose predictions are so near the chosen one's that method="measure" tries them too."""

    @property
    def chosen(self) -> Candidate:
        for c in self.candidates:  # a generator would take ten times as long, and small calls come here
            if c.name == self.method:
                return c
        raise AssertionError(self.method)

    @property
    def seconds(self) -> float:
        """Predicted time of the chosen method."""
        return self.chosen.seconds

    @property
    def scratch(self) -> int:
        """Predicted bytes beyond input and output."""
        return self.chosen.scratch

    @property
    def workers(self) -> int:
        """Threads that will take part."""
        return self.chosen.workers

    def to_dict(self) -> dict[str, Any]:
        """Everything that is printed, as plain numbers and text."""
        return {
            "title": self.title,
            "method": self.method,
            "reason": self.reason,
            "seconds": self.seconds,
            "scratch": self.scratch,
            "workers": self.workers,
            "candidates": [c.to_dict() for c in self.candidates],
        }

    def __str__(self) -> str:
        threads = f"{self.workers} thread{'s' if self.workers > 1 else ''}"
        lines = [self.title or describe(self.problem), f"-> {self.method}, {self.reason}; {threads}", ""]
        timed = any([c.measured is not None for c in self.candidates])
        columns = ("predicted", "measured", "scratch") if timed else ("time", "scratch")
        lines.append(f"  {'method':<10} {' '.join([f'{column:>9}' for column in columns])}")
        willing = sorted((c for c in self.candidates if c.cost), key=lambda c: c.seconds)
        for c in (*willing, *(c for c in self.candidates if not c.cost)):
            mark = ">" if c.name == self.method else " "
            numbers = [duration(c.seconds), size(c.scratch)] if c.cost else ["-", "-"]
            if timed:
                numbers.insert(1, "-" if c.measured is None else duration(c.measured))
            note = c.cost.note if c.cost else ""
            note = c.refusal or (f"blocks {note}" if note[:1].isdigit() else note)
            row = f"{mark} {c.name:<10} {' '.join([f'{number:>9}' for number in numbers])}  {note}"
            lines.append(row.rstrip())
        return "\n".join(lines)


def describe(problem: Problem) -> str:
    """The problem in a line: what slides over what."""
    active = problem.active or tuple(range(len(problem.axes)))
    taps = "x".join(str(problem.axes[i].size) for i in active)
    extents = "x".join(str(a.n) for a in problem.axes)
    out = "x".join(map(str, problem.out))
    parts = [f"{extents} {problem.source}", f"{taps} taps"]
    for name in ("stride", "dilation"):
        values = {getattr(problem.axes[i], name) for i in active}
        if values != {1}:
            parts.append(f"{name} {', '.join(str(getattr(problem.axes[i], name)) for i in active)}")
    if problem.planes:
        parts.append(f"{problem.planes} planes")
    for count, noun in ((problem.batch, "batch"), (problem.inputs, "in"), (problem.outputs, "out"), (problem.groups, "groups")):
        if count > 1:
            parts.append(f"{count} {noun}")
    computed = "" if problem.dtype == problem.result else f", computed in {problem.dtype}"
    return f"{', '.join(parts)} -> {out} {problem.result}{computed} ({_count(problem.results * problem.taps)} terms)"


def _count(n: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if n < 1000:
            return f"{n:.3g}{unit}"
        n /= 1000
    return f"{n:.3g}P"


def duration(seconds: float) -> str:
    """Seconds for people: 3 digits and a unit.

    >>> duration(0.00123), duration(12.3), duration(4e-6)
    ('1.23 ms', '12.3 s', '4 us')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def size(count: float) -> str:
    """Bytes for people.

    >>> size(512), size(3_500_000)
    ('512 B', '3.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
