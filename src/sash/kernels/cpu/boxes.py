"""Sums over boxes without weights, along one axis after the other: three additions a sample, however long the box.

x (outer, n, inner) flat -> y (outer, out, inner) flat, sums over k neighbours every `stride`.  Blocks of k samples are
summed from their end backwards and from their start onwards; a box is an end of one block and a start of the next.
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
    """Any axis: columns of neighbours go down it together."""
    out = (n - k) // stride + 1
    wide = min(inner, WIDE)
    tail, head = np.empty(k * wide, x.dtype), np.empty(wide, x.dtype)
    for o in range(outer):
        for first in range(0, inner, wide):
            m = min(wide, inner - first)
            a, b = x[o * n * inner + first :], y[o * out * inner + first :]
            for start in range(0, n - k + 1, k):
                for j in range(m):
                    tail[(k - 1) * wide + j] = a[(start + k - 1) * inner + j]
                for r in range(k - 2, -1, -1):
                    for j in range(m):
                        tail[r * wide + j] = a[(start + r) * inner + j] + tail[(r + 1) * wide + j]
                head[:] = 0
                if start % stride == 0:
                    for j in range(m):
                        b[start // stride * inner + j] = tail[j]
                for r in range(1, min(k, n - k - start + 1)):
                    i = start + r
                    for j in range(m):
                        head[j] += a[(i + k - 1) * inner + j]
                    if i % stride == 0:
                        for j in range(m):
                            b[i // stride * inner + j] = tail[r * wide + j] + head[j]


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def across(x: Any, y: Any, outer: int, n: int, k: int, stride: int) -> None:
    """The last axis, inner = 1: `along` by single samples."""
    out = (n - k) // stride + 1
    tail = np.empty(k, x.dtype)
    for o in range(outer):
        a, b = x[o * n : o * n + n], y[o * out : o * out + out]
        for start in range(0, n - k + 1, k):
            total = a[start + k - 1]
            tail[k - 1] = total
            for r in range(k - 2, -1, -1):
                total = a[start + r] + total
                tail[r] = total
            if start % stride == 0:
                b[start // stride] = total
            head = 0.0
            for r in range(1, min(k, n - k - start + 1)):
                i = start + r
                head += a[i + k - 1]
                if i % stride == 0:
                    b[i // stride] = tail[r] + head


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


def boxes(x: Any, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Sums over all boxes of x, whose last axes have these box sizes and strides; contiguous, of x's type."""
    done = np.ascontiguousarray(x)
    lead = x.ndim - len(sizes)
    for i, (k, stride) in enumerate(zip(sizes, strides, strict=True)):
        if k == stride == 1:
            continue
        shape = list(done.shape)
        outer, n, inner = prod(shape[: lead + i]), shape[lead + i], prod(shape[lead + i + 1 :])
        shape[lead + i] = (n - k) // stride + 1
        y = np.empty(shape, done.dtype)
        if inner == 1:
            across(done.reshape(-1), y.reshape(-1), outer, n, k, stride)
        else:
            along(done.reshape(-1), y.reshape(-1), outer, n, inner, k, stride)
        done = y
    return done
