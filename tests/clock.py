"""A clock that is told the time, and a map of methods made by it.

Imports: pytest, sash.
"""

from __future__ import annotations

import pytest

import sash
from sash import crossovers, timings, trials

SMALL = {"budget": 0.001}
SECONDS = {"direct": 2.0, "fft": 3.0, "gemm": 1.0, "shift_add": 4.0}
"""What the methods of `faked` take."""


class Clock:
    """A clock that moves only when a method is run: each takes the seconds it is given, or ends in its error."""

    def __init__(self, takes: dict[str, float | BaseException]) -> None:
        self.now, self.takes, self.calls = 0.0, takes, []

    def __call__(self) -> float:
        return self.now

    def run(self, method: str) -> None:
        self.calls.append(method)
        took = self.takes[method]
        if isinstance(took, BaseException):
            raise took
        self.now += took


def start(monkeypatch: pytest.MonkeyPatch, **takes: float | BaseException) -> Clock:
    """From now on sash reads this clock."""
    clock = Clock(takes)
    monkeypatch.setattr(timings, "perf_counter", clock)
    monkeypatch.setattr(trials.Trial, "runs", lambda self: clock.run)
    return clock


def faked(monkeypatch: pytest.MonkeyPatch) -> crossovers.Crossover:
    """A map in which gemm always wins, whatever is predicted, and one cell is impossible."""
    start(monkeypatch, **SECONDS)
    monkeypatch.setattr(timings, "BEHIND", 1e9)
    return sash.crossover("correlate", [8, 64], [3, 9], methods=list(SECONDS))
