"""Correlation with a kernel at valid positions; or convolution; or with 1-D kernels, one per axis.

x (*N)   kernel (*K)   y (*O)       Imports: truth, SciPy for the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, ClassVar

import numpy as np

from benchmarks.truth import Array, Truth, rounding


@dataclass(frozen=True, slots=True)
class Correlate:
    """`sash.correlate`, `sash.convolve` (`verb`), or `sash.separable_filter`, which is given the 1-D kernels."""

    kind: ClassVar[str] = "correlate"
    shape: tuple[int, ...]
    size: tuple[int, ...]
    dtype: str = "float32"
    stride: int = 1
    dilation: int = 1
    rank: int = 0
    """1: an outer product, which peers are told and `correlate` has to find out; 0: of full rank."""
    verb: str = "correlate"

    def given(self) -> tuple[Any, ...]:
        """x, the kernel, and its 1-D kernels if it has them."""
        rng = np.random.default_rng(sum(self.shape) + sum(self.size))
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            x, kernel = rng.standard_normal(self.shape, kind.type), rng.standard_normal(self.size, kind.type)
        else:
            x, kernel = rng.integers(0, np.iinfo(kind).max + 1, self.shape, kind), rng.integers(-8, 9, self.size, np.int8)
        if not self.rank:
            return x, kernel, ()
        parts = [rng.standard_normal(n).astype(kind) for n in self.size]
        return x, reduce(np.multiply.outer, parts), parts

    def ours(self, *given: Any) -> Callable[[], Array]:
        import sash

        x, kernel, parts = given
        verb = getattr(sash, self.verb)
        weights = parts if self.verb == "separable_filter" else kernel
        return lambda: verb(x, weights, stride=self.stride, dilation=self.dilation)

    def truth(self, *given: Any) -> Truth:
        from scipy import signal

        x, kernel, _ = given
        dense = self.spread(self.turned(kernel)).astype(np.float64)
        values = signal.oaconvolve(x.astype(np.float64), np.flip(dense), mode="valid")[self.every]
        if x.dtype.kind != "f":
            values = np.rint(values)
        allowed = rounding(x.dtype, kernel.size, float(np.abs(dense).sum()), float(np.max(np.abs(x))))
        return Truth(self.out, values, allowed)

    def work(self) -> float:
        return float(prod(self.out) * (sum(self.size) if self.rank else prod(self.size)))

    @property
    def out(self) -> tuple[int, ...]:
        return tuple((n - self.reach(k)) // self.stride + 1 for n, k in zip(self.shape, self.size, strict=True))

    @property
    def every(self) -> tuple[slice, ...]:
        """The outputs that are asked for, among those of stride 1."""
        return (slice(None, None, self.stride),) * len(self.shape)

    @property
    def inner(self) -> tuple[slice, ...]:
        """The valid outputs among those of a filter that answers at every sample, its kernel's middle at size // 2."""
        reaches = [self.reach(k) for k in self.size]
        return tuple(slice(r // 2, r // 2 + n - r + 1, self.stride) for n, r in zip(self.shape, reaches, strict=True))

    def reach(self, size: int) -> int:
        return self.dilation * (size - 1) + 1

    def spread(self, kernel: Array) -> Array:
        """The kernel with zeros between its taps, for peers that know no dilation."""
        if self.dilation == 1:
            return kernel
        wide = np.zeros([self.reach(n) for n in kernel.shape], kernel.dtype)
        wide[(slice(None, None, self.dilation),) * kernel.ndim] = kernel
        return wide

    def turned(self, kernel: Array) -> Array:
        """The kernel as a correlation needs it."""
        return np.ascontiguousarray(np.flip(kernel)) if self.verb == "convolve" else kernel
