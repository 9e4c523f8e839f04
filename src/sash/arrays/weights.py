"""A kernel in the forms that methods ask for: dense, or as a sum of outer products of 1-D kernels.

    dense (O, C/G, *K)    terms: per product, one 1-D kernel per axis    mask: like dense (weights of |x-w|, (x-w)^2)
Imports: axis, numpy_.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from sash.arrays.numpy_ import Array, cut
from sash.axis import Phase

Terms = tuple[tuple[Array, ...], ...]
MIRRORED = "mirrored"
WIDEST = {**dict.fromkeys("biu", np.int64), "f": np.float64, "c": np.complex128}


@dataclass(slots=True)
class Weights:
    """The second operand of a Problem; `dense` is made from `terms` only where a method needs it."""

    array: Array | None
    terms: Terms | None = None
    mask: Array | None = None
    spread: bool = False
    """The terms have one 1-D kernel per axis of x already, and `dense` may be kept for the next call."""
    bias: Array | None = None
    """(O,), added to every output."""
    gate: Array | None = None
    """(N, *K, *out), int8: which plane each tap of each output reads, -1 none; `array` is (L, O, C/G, *K) then."""
    kept: dict[Any, Any] = field(default_factory=dict, init=False)
    """What methods have made of it, for the next block of the same shape."""

    @property
    def dense(self) -> Array:
        if self.array is None:
            assert self.terms is not None
            self.array = sum_of_products(self.terms)[None, None]
        return self.array

    @property
    def mirrored(self) -> bool:
        """All 1-D kernels of all terms are the same turned round, about a tap in the middle."""
        found: bool | None = self.kept.get(MIRRORED)
        if found is None:
            found = self.kept[MIRRORED] = self.terms is not None and all([_mirrored(k) for term in self.terms for k in term])
        return found

    def phase(self, phases: Sequence[Phase]) -> Weights:
        """The taps that one class of the outputs of an upsampled problem reads."""
        found = [slice(p.tap, None, p.every) for p in phases]
        terms = None
        if self.terms is not None:
            terms = tuple([tuple([k[piece] if k.size > 1 else k for k, piece in zip(term, found, strict=True)]) for term in self.terms])
        array = None if self.array is None else cut(self.array, found)
        return Weights(array, terms, bias=self.bias)


def _mirrored(k: Any) -> bool:
    return k.size == 1 or (k.size % 2 == 1 and isinstance(k, np.ndarray) and k.tobytes() == k[::-1].tobytes())


def sum_of_products(terms: Terms) -> Array:
    """The dense kernel: the sum over terms of the outer product of their 1-D kernels, in at least float64's digits."""
    if not isinstance(terms[0][0], np.ndarray):
        return sum(reduce(lambda a, b: a[..., None] * b, term) for term in terms)
    wide: list[list[Array]] = [[k.astype(WIDEST[k.dtype.kind], copy=False) for k in term] for term in terms]
    if len(wide) == 1:
        total, *others = wide[0]
        for k in others:
            total = total[..., None] * k
        return total
    return np.sum([reduce(np.multiply.outer, term) for term in wide], axis=0)  # type: ignore[no-any-return]
