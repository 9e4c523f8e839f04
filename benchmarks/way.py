"""One way of doing a job: a peer's call on the given arrays, ready to be run.

Imports: truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.truth import Array, Together, Truth


@dataclass(frozen=True, slots=True)
class Way:
    """A contender of a cell. What stands ready before the clock runs: kernels, and the library's own image object."""

    name: str
    run: Callable[[], Array]
    seconds: float = 0.0
    """A rough guess, so that nobody waits for what cannot win; 0: quick."""
    truth: Callable[[], Truth | Together] | None = None
    """Its own definition, where the library means something else by the same words (`note` says what)."""
    slack: float = 1.0
    """Times the allowed error, where the library is known to round more coarsely (`note` says why)."""
    note: str = ""
    part: float = 1.0
    """The share of the job that one run does: its first rows. The time is scaled up, in the peer's favour."""
    reference: bool = False
    """Less than the job (`note` says what), as a mark to measure by: it neither wins nor loses."""
    refusal: str = ""
    """Why the library cannot do this one, where that is worth a line."""


def cannot(name: str, why: str) -> Way:
    """A way that is named and not run."""
    return Way(name, lambda: np.empty(0), refusal=f"left out: {why}")
