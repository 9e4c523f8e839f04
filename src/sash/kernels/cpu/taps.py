"""The general kernel: every output is a sum over a list of offsets, whatever the rank, stride, dilation or channels.

x (X,) and y (Y,) flat   w, v (O, T)   at, to (R,) rows of x and y   base, step (O,) channels   off (T,) taps
y[to[r] + step[o] + j] (+)= sum_t term(w[o, t], v[o, t], x[at[r] + base[o] + off[t] + j])   for 0 <= j < n
One accumulator of w's type per output and taps in ascending order: its bits depend on nothing else.  x may hold small
integers, and y integers that hold every result.   Imports: simd, terms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import simd
from .moves import carry
from .simd import least, most, nearest, put, put_more, seats, sized, stay_whole, zeros
from .terms import gain, gain_apart, gain_narrow


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def spread(
    x: Any, w: Any, v: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any,
    n: int, add: int, cell: Any, op: Any, lanes: Any, wide: Any,
) -> None:  # fmt: skip
    """Blocks of `wide` vectors along a row; what is left of `wide` rows at a time as one vector from each.

    cell (lanes * wide,): room for those on their way to y.
    """
    stay_whole()
    L, B, T = len(lanes), len(wide), len(off)
    whole = n - n % (L * B)
    for top in range(0, len(at), B):
        count = least(B, len(at) - top)
        for o in range(len(base)):
            for r in range(top, top + count):
                a, b = at[r] + base[o], to[r] + step[o]
                for j in range(0, whole, L * B):
                    acc = zeros(w, lanes, wide, (0,))
                    acc = gain(op, acc, wide, x, a + j, off, w, v, o * T, T)
                    if add:
                        put_more(y, b + j, 0, acc, wide, 0, 0)
                    else:
                        put(y, b + j, 0, acc, wide)
            if whole < n:
                spots = seats(at, top, count, wide)
                for done in range(whole, n, L):
                    j = most(least(done, n - L), 0)  # the last vector overlaps the one before it
                    acc = zeros(w, lanes, wide, (0,))
                    if n < L:
                        acc = gain_narrow(op, acc, x, spots, base[o], off, w, v, o * T, T, n)
                    else:
                        acc = gain_apart(op, acc, x, spots, base[o] + j, off, w, v, o * T, T)
                    put(cell, 0, 0, acc, wide)
                    for r in range(count):
                        b = to[top + r] + step[o]
                        if n >= L:
                            carry(cell, r * L, y, b + j, add, done - j, lanes)
                        else:
                            for l in range(n):
                                y[b + l] = y[b + l] + cell[r * L + l] if add else nearest(y, cell[r * L + l])


def taps(x: Any, w: Any, v: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any, n: int, add: int, op: int) -> None:
    """Sum of terms at listed offsets; add 1 accumulates into y.

    op 0: w x, 1: v |x - w|, 2: v (x - w)^2, and where all v are 1 (v[0] alone is read) 3: |x - w|, 4: (x - w)^2.
    """
    size = simd.block(w.itemsize)
    cell = np.empty(len(size.lanes) * len(size.wide), w.dtype)
    kernel = sized(spread, simd.OPS[op], size.lanes, size.wide)
    kernel(x, w.ravel(), v.ravel(), y, at, to, base, step, off, n, add, cell)
