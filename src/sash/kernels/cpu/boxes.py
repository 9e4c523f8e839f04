"""Sums over boxes without weights, along one axis after the other.

x (outer, n, inner) flat -> y (outer, out, inner) flat, sums over k neighbours every `stride`.  `along`: blocks of k samples
are summed from their end backwards and from their start onwards; a box is an end of one block and a start of the next.
Nothing is subtracted: sums of squares keep their last digit, and NaN stays in the boxes that hold it.
Source: van Herk 1992, doi:10.1016/0167-8655(92)90069-C (there for minima).   Imports: numba.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numba import njit

WIDE = 256
"""Columns that go down together: as many as keep the ends of a block in the first caches."""


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def along(x: Any, y: Any, outer: int, n: int, inner: int, k: int, stride: int) -> None:
    """Any axis: columns of neighbours go down it together, three additions a sample however long the box."""
    out, wide = (n - k) // stride + 1, min(inner, WIDE)
    tail, head = np.empty((k, wide), x.dtype), np.empty(wide, x.dtype)
    for o in range(outer):
        for first in range(0, inner, wide):
            m = min(wide, inner - first)
            a, b = x[o * n * inner + first :], y[o * out * inner + first :]
            for start in range(0, n - k + 1, k):
                for j in range(m):
                    head[j] = 0
                below = head
                for r in range(k - 1, -1, -1):
                    row, here = a[(start + r) * inner :], tail[r]
                    for j in range(m):
                        here[j] = row[j] + below[j]
                    below = here
                for r in range(min(k, n - k - start + 1)):
                    if r:
                        row = a[(start + r + k - 1) * inner :]
                        for j in range(m):
                            head[j] += row[j]
                    if (start + r) % stride == 0:
                        goal, here = b[(start + r) // stride * inner :], tail[r]
                        for j in range(m):
                            goal[j] = here[j] + head[j]


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def across(x: Any, y: Any, outer: int, n: int, k: int, stride: int) -> None:
    """The last axis, inner = 1: sums over 1, 2, 4, ... neighbours, of which a box is as many as k has ones in base 2."""
    made, levels = n - k + 1, 0
    while k >> levels:
        levels += 1
    out = (made - 1) // stride + 1
    doubled, total = np.empty((levels, n), x.dtype), np.empty(made, x.dtype)
    for o in range(outer):
        here, done = x[o * n : o * n + n], 0
        for j in range(made):
            total[j] = 0
        for level in range(levels):
            if k >> level & 1:
                ahead = here[done:]
                for j in range(made):
                    total[j] += ahead[j]
                done += 1 << level
            if level + 1 < levels:
                ahead, there = here[1 << level :], doubled[level]
                for j in range(n - (2 << level) + 1):
                    there[j] = here[j] + ahead[j]
                here = there
        goal = y[o * out :]
        for j in range(out):
            goal[j] = total[j * stride]


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def centred(x: Any, centre: float, sums: Any, squares: Any) -> float:
    """x (C, n) -= centre; its sums over C, and those of its squares; the largest finite sample."""
    largest = 0.0
    for c in range(len(x)):
        row = x[c]
        for j in range(len(row)):
            value = row[j] - centre
            row[j] = value
            size = abs(value)
            if size < np.inf:
                largest = max(largest, size)
            if c:
                sums[j] += value
                squares[j] += value * value
            else:
                sums[j] = value
                squares[j] = value * value
    return largest


def boxes(x: Any, spare: Any, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Sums over all boxes of x, whose last axes have these box sizes and strides.

    x and `spare`, as large, both contiguous, are written over in turn; the sums lie in one of them.
    """
    shape, lead = list(x.shape), x.ndim - len(sizes)
    here, there = x.reshape(-1), spare.reshape(-1)
    for i, (k, stride) in enumerate(zip(sizes, strides, strict=True), start=lead):
        if k == stride == 1:
            continue
        outer, n, inner = prod(shape[:i]), shape[i], prod(shape[i + 1 :])
        shape[i] = (n - k) // stride + 1
        if inner == 1:
            across(here, there, outer, n, k, stride)
        else:
            along(here, there, outer, n, inner, k, stride)
        here, there = there, here
    return here[: prod(shape)].reshape(shape)
