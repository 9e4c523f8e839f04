"""Exact integer filters: how large a result can be, and the fastest type that holds it and all partial sums exactly.

With x in [low, high], and p and n the sums of the kernel's positive and negative taps, every output lies in
[p low - n high, p high - n low], and no partial sum is larger than (p + n) max|x|: within 24 bits float32 is exact,
within 53 float64 is.  All bounds are Python integers, which cannot overflow.   Imports: problem, arrays, errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from sash.accuracy import EXACT_BITS
from sash.arrays.numpy_ import Array, readable, sound
from sash.arrays.weights import Weights
from sash.errors import OverflowRisk
from sash.problem import Problem


def exactly(problem: Problem, x: Array, kernel: Weights, cval: int, result: np.dtype[Any]) -> Problem:
    """The problem in a type that is exact for this data; refuses where `result` might not hold an output.

    First the range of x's type is tried; only where that proves too little are its values looked at.
    """
    positive, negative = _mass(kernel)
    bottom, top = type_range(result)
    padded = any(not a.plain for a in problem.axes)
    for low, high in _ranges(x):
        if padded:
            low, high = min(low, cval), max(high, cval)
        least, most = positive * low - negative * high, positive * high - negative * low
        bits = ((positive + negative) * max(abs(low), abs(high))).bit_length()
        fits = bottom <= least and most <= top
        if fits and bits <= EXACT_BITS["float32"]:
            break
    if not fits:
        raise OverflowRisk(
            f"the result might not fit {result}: with x in [{low}, {high}] it lies in [{least}, {most}], and {result} holds "
            f"[{bottom}, {top}]; use dtype='float64' (rounded), or smaller numbers."
        )
    problem = problem.whole_numbers(bits)
    return problem._replace(straight=readable(x.dtype, problem.dtype) and sound(x))


def _mass(kernel: Weights) -> tuple[int, int]:
    """Sums of the kernel's positive and of its negative taps (both >= 0), as Python integers that cannot overflow.

    Of several output channels the largest of each.
    """
    if kernel.array is not None and len(kernel.array) > 1:
        each = [_mass(Weights(kernel.array[o : o + 1])) for o in range(len(kernel.array))]
        return max(p for p, _ in each), max(n for _, n in each)
    if kernel.array is not None:
        flat = kernel.array.reshape(-1)
        if flat.dtype.itemsize < 8:
            total = int(flat.sum(dtype=np.int64))
            size = total if flat.dtype.kind in "bu" else int(np.abs(flat.astype(np.int64)).sum())
        else:
            values = [int(v) for v in flat]
            total, size = sum(values), sum(map(abs, values))
        return (size + total) // 2, (size - total) // 2
    positive = negative = 0
    for term in kernel.terms or ():
        p, n = 1, 0
        for k in term:
            values = [int(v) for v in k]
            a, b = sum(v for v in values if v > 0), -sum(v for v in values if v < 0)
            p, n = p * a + n * b, p * b + n * a
        positive, negative = positive + p, negative + n
    return positive, negative


def _ranges(x: Array) -> Iterator[tuple[int, int]]:
    """What x's values lie between: first by its type, then by its values."""
    if not x.size:
        yield 0, 0
        return
    yield type_range(x.dtype)
    yield int(x.min()), int(x.max())


@lru_cache(maxsize=32)
def type_range(kind: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest value of an integer type; (0, 1) for bool and for anything else."""
    if kind.kind not in "iu":
        return 0, 1
    info = np.iinfo(kind)
    return int(info.min), int(info.max)


def within(cval: int, dtype: str) -> int:
    """`cval` as the type computed in holds it: int64 modulo 2**64; a float's is too large only if no tap reads it."""
    if dtype == "int64":
        return (cval + (1 << 63)) % (1 << 64) - (1 << 63)
    return cval if abs(cval) <= 1 << EXACT_BITS["float64"] else 0
