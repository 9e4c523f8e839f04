"""Jobs as data: what is asked, on which arrays (seeded), sash's call, and the truth in float64.

A job's `kind` is the name of the function in each peer's file that does it.   Imports: truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from benchmarks.jobs.blur import Blur
from benchmarks.jobs.correlate import Correlate
from benchmarks.jobs.depth import Depth
from benchmarks.jobs.little import Split, Taps, Views
from benchmarks.jobs.match import Match
from benchmarks.jobs.network import Network
from benchmarks.truth import Array, Together, Truth

__all__ = ["Blur", "Correlate", "Depth", "Job", "Match", "Network", "Split", "Taps", "Views"]


class Job(Protocol):
    """What every job answers."""

    kind: ClassVar[str]

    def given(self) -> tuple[Any, ...]:
        """The arrays, the largest first; the same ones every time."""

    def ours(self, *given: Any) -> Callable[[], Array]:
        """sash's call."""

    def truth(self, *given: Any) -> Truth | Together:
        """The answer."""

    def work(self) -> float:
        """Multiply-adds (or differences) of the plain way: each output from its taps, axis by axis where that is meant."""
