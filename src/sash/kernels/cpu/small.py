"""Small windows, unrolled: all taps of a block of rows without a loop, the weights in registers.

The letters and the order of every sum are those of rows.   Three by three taps of 112 columns took 7.9 us in rows' loops
over three rows and columns, 4.7 here.   Imports: simd.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INDEX, Emit, Vec, least, put, stay_whole, zeros

SIDE = 3
"""Taps down and across: nine weights leave room for the sums in 32 registers."""


@intrinsic
def splats(typing: Any, w: Any, t: Any, count: Any, lanes: Any) -> Any:
    """w[t], w[t + 1], ... everywhere in a vector each, as many as count is long."""
    made = types.UniTuple(Vec(w.dtype, len(lanes)), len(count))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, start = Emit(context, builder, made.dtype), args[1]
        found = [emit.splat(emit.element(w, args[0], builder.add(start, INDEX(i)))) for i in range(made.count)]
        return context.make_tuple(builder, made, found)

    return made(w, types.int64, count, lanes), code


@intrinsic
def window(typing: Any, acc: Any, cols: Any, x: Any, i: Any, pitch: Any, d: Any, taps: Any, high: Any) -> Any:
    """The terms of all rows of a block whose first reads x[i:]; image rows `pitch` apart, taps of a row d apart."""
    C, h = len(cols), len(high)
    rows, k = acc.count // C, taps.count // h

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        total, weights = (cgutils.unpack_tuple(builder, args[n]) for n in (0, 6))
        for q in range(rows + h - 1):
            start = builder.add(args[3], builder.mul(args[4], INDEX(q)))
            for l in range(k):
                at = builder.add(start, builder.mul(args[5], INDEX(l)))
                line = [emit.load(x, args[2], builder.add(at, INDEX(c * emit.lanes))) for c in range(C)]
                for row in range(max(q - h + 1, 0), min(q, rows - 1) + 1):
                    for c in range(C):
                        total[row * C + c] = emit.fma(weights[(q - row) * k + l], line[c], total[row * C + c])
        return context.make_tuple(builder, acc, total)

    return acc(acc, cols, x, types.int64, types.int64, types.int64, taps, high), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def small(
    x: Any, w: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any, xp: int, yp: int, m: int, n: int, d: int,
    lanes: Any, cols: Any, rows: Any, high: Any, count: Any,
) -> None:  # fmt: skip
    """Blocks of rows x cols vectors.  Needs m >= rows and n >= cols lanes."""
    stay_whole()
    N, W, P, T = len(rows), len(lanes) * len(cols), len(off), len(count)
    for r in range(len(at)):
        for i0 in range(0, m, N):
            i = least(i0, m - N)
            for o in range(len(base)):
                for j0 in range(0, n, W):
                    j = least(j0, n - W)
                    acc = zeros(w, lanes, cols, rows)
                    for p in range(P):
                        taps = splats(w, (o * P + p) * T, count, lanes)
                        acc = window(acc, cols, x, at[r] + base[o] + off[p] + i * xp + j, xp, d, taps, high)
                    put(y, to[r] + step[o] + i * yp + j, yp, acc, cols)
