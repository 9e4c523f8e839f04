"""The verbs that slide nothing: views of windows, Gaussian taps, and kernels taken apart.

Imports: truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.truth import Array, Truth


@dataclass(frozen=True, slots=True)
class Views:
    """`sash.windows`: every window of a plane, without a copy."""

    kind: ClassVar[str] = "views"
    shape: tuple[int, int]
    size: int

    def given(self) -> tuple[Any, ...]:
        return (np.random.default_rng(0).standard_normal(self.shape, np.float32),)

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        (x,) = given
        return lambda: sash.windows(x, self.size)

    def truth(self, *given: Any) -> Truth:
        (x,) = given
        k = self.size
        out = tuple(n - k + 1 for n in self.shape)
        values = np.array([[x[i : i + k, j : j + k] for j in range(out[1])] for i in range(out[0])], np.float64)
        return Truth((*out, k, k), values, 0.0)

    def work(self) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Taps:
    """`sash.gaussian_kernel` of one axis."""

    kind: ClassVar[str] = "taps"
    sigma: float
    size: int

    def given(self) -> tuple[Any, ...]:
        return ()

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        return lambda: sash.gaussian_kernel(self.sigma, size=self.size)

    def truth(self, *given: Any) -> Truth:
        at = np.arange(self.size) - (self.size - 1) / 2
        taps = np.exp(-0.5 * (at / self.sigma) ** 2)
        return Truth((self.size,), taps / taps.sum(), 1e-15)

    def work(self) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Split:
    """`sash.separate` of an outer product, multiplied out again so that there is something to check."""

    kind: ClassVar[str] = "split"
    size: int

    def given(self) -> tuple[Any, ...]:
        rng = np.random.default_rng(self.size)
        return (np.multiply.outer(rng.standard_normal(self.size), rng.standard_normal(self.size)),)

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        (kernel,) = given
        return lambda: sash.separate(kernel).dense()

    def truth(self, *given: Any) -> Truth:
        (kernel,) = given
        return Truth(kernel.shape, kernel, float(np.finfo(np.float64).eps * prod(kernel.shape) * np.abs(kernel).sum()))

    def work(self) -> float:
        return 0.0
