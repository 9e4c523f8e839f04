"""What is right, in float64 and without sash, at every position or at sampled ones; and how far off is allowed.

Imports: NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SAMPLES = 400
"""Positions looked at where the definition is too slow to be taken everywhere."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The right values (everywhere, or at the positions `at`) and the largest error that passes as rounding."""

    shape: tuple[int, ...]
    values: Array
    allowed: float
    at: tuple[Array, ...] | None = None

    def error(self, found: Array) -> float:
        """The largest difference; infinite for a wrong shape, or for NaN. `found` may be the first rows alone."""
        found = np.asarray(found)
        rows = found.shape[0] if found.ndim else 0
        if found.shape[1:] != self.shape[1:] or rows > self.shape[0] or not rows:
            return float("inf")
        if self.at is None:
            there, values = found, self.values[:rows]
        else:
            kept = self.at[0] < rows
            there, values = found[tuple(axis[kept] for axis in self.at)], self.values[kept]
        if there.ndim < 2:
            there, values = there[None], values[None]
        # Slice by slice: a float64 copy of a whole volume would be the largest array of the run.
        worst = float(np.max([np.max(np.abs(a - b)) for a, b in zip(there, values, strict=True)]))  # NaN stays
        return worst if np.isfinite(worst) else float("inf")


@dataclass(frozen=True, slots=True)
class Together:
    """The truths of a call with several results: its error is the worst of them, each in units of what it may be."""

    parts: tuple[Truth, ...]
    allowed: float = 1.0

    def error(self, found: Any) -> float:
        if not isinstance(found, tuple) or len(found) != len(self.parts):
            return float("inf")
        return max(part.error(each) / part.allowed for part, each in zip(self.parts, found, strict=True))


def positions(shape: tuple[int, ...], seed: int = 0) -> tuple[Array, ...]:
    """Corners, and places drawn at random, every other one moved to a border, as one index array per axis."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, len(shape))
    drawn = rng.integers(0, shape, (SAMPLES, len(shape)))
    moved = rng.integers(0, len(shape), SAMPLES // 2)
    drawn[: len(moved)][np.arange(len(moved)), moved] = rng.integers(0, 2, len(moved)) * (np.array(shape)[moved] - 1)
    return tuple(np.concatenate((corners, drawn)).T)


def rounding(dtype: Any, taps: int, mass: float, largest: float) -> float:
    """The promise that sash makes, taken as the measure for all: 4 eps sqrt(taps) sum|kernel| max|x|; 0 for integers."""
    kind = np.dtype(dtype)
    return 4 * float(np.finfo(kind).eps) * taps**0.5 * mass * largest if kind.kind == "f" else 0.0
