"""What a method is: its name, why it refuses, what it costs, how it runs.  A module with these five names is one.

    x (N, C, *S)   y (N, O, *out)   any layout; `prepare` is called once, `run` once per block of the output.
Imports: problem, machine, arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.problem import Box, Problem

GATED = "weights vary from place to place"
ON_CPU = "its kernels run on the CPU"
"""Why most methods refuse, in the same words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Work, by the name of its rate on the machine; scratch bytes of each worker and of all; the tile they are for."""

    work: Mapping[str, float]
    scratch: int
    shared: int
    tile: tuple[int, ...]
    note: str = ""
    parts: int = 1
    """Pieces of a tile that are transformed side by side."""
    crowded: float = 1.0
    """How much longer blocks take where threads make several at once, beyond what every method loses then."""
    blocks: int = 0
    """How many there are, where they are not a grid of tiles."""
    alone: bool = False
    """One block after the other: a library shares each among threads of its own."""


class Method(Protocol):
    """One way to solve a Problem."""

    NAME: str

    def refuses(self, problem: Problem, /) -> str:
        """Why it cannot, as a sentence for the plan; empty where it can."""

    def cost(self, problem: Problem, machine: Machine, limit: float, /) -> Cost:
        """What it takes when each worker may use `limit` bytes; the least it can do with where that is not enough."""

    def boxes(self, problem: Problem, cost: Cost, /) -> list[Box]:
        """The blocks of the output, made in any order by any thread; they never depend on the number of threads."""

    def prepare(self, problem: Problem, weights: Weights, cost: Cost, /) -> Any:
        """The kernel as `run` wants it."""

    def run(self, problem: Problem, x: Array, prepared: Any, y: Array, cval: float, /) -> None:
        """Write one block: `problem`, x and y are those of the block."""
