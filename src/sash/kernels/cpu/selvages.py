"""Transposed channels without a frame, stride 2: both classes of a row are made side by side and woven in registers.

x, y flat   at, goal (I,) where image i begins in x and y   w (G, T), image number i takes channel i % G
Row r of m samples goes to goal[i] + to[r], and is made of the terms begin[r] up to the next: rows of n samples at row[t], of which
BLANK is a border that is zero all along, by the weights from tap[t] on.  Its sample 2 j + c is the sum of w[tap[t] + first_c + 2 l]
x[row[t] + j + near_c + l], l < k_c.  What lies outside a row is in no memory.  The sums are in the order of taps.
Imports: simd, terms.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, least, repeat, stay_whole, zeros
from .terms import Totals, between

WAYS = 2
"""Classes."""

COLUMNS = {1: 1.5, 2: 1.1, 4: 1.0}
"""Vectors of each class of a block, and what a vector of terms takes there."""


@cache
def lanes_of(itemsize: int, m: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Lanes and vectors of a block for m samples of each class: those that take least."""
    long, found = len(simd.block(itemsize).lanes), list[tuple[float, int, int]]()
    for lanes in (long, long // 2) if long * itemsize == simd.LINE else (long,):
        found += [(-(-m // (cols * lanes)) * cols * lanes * rate, lanes, cols) for cols, rate in COLUMNS.items() if cols * lanes <= m]
    _, lanes, cols = min(found)
    return (0,) * lanes, (0,) * cols


@intrinsic
def gain_classes(
    typing: Any, acc: Any, cols: Any, x: Any, a: Any, j: Any, n: Any, row: Any, tap: Any, one: Any, last: Any, w: Any, blank: Any,
    even: Any, odd: Any, later: Any, lead: Any, tail: Any, taps: Any,
) -> Any:  # fmt: skip
    """The terms of samples j, j + 1, ... of both classes; even and odd: taps of each; the odd ones read from `later` samples on.

    `taps` says which weight is the even class' first, and which the odd one's (0 or 1).
    """
    index, width = types.int64, len(cols)
    counts, ahead = (len(even) - 1, len(odd) - 1), len(later) - 2
    first = -(len(lead) - 1), ahead - (len(lead) - 1)
    if ahead < 0:
        first = -ahead - (len(lead) - 1), -(len(lead) - 1)
    spots = range(min(first), max(f + k for f, k in zip(first, counts, strict=True)))
    inner = spots.stop - (len(tail) - 1)
    begins = divmod(len(taps) - 1, WAYS)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        _, _, rows, a, j, n, lines, numbers, one, end, weights, nothing, *_ = args
        here, empty = builder.add(builder.add(a, j), INDEX(spots.start)), emit.address(blank, nothing, INDEX(0))
        read = between(emit, j, n, spots, inner, width, emit.zero)

        def step(t: Any, total: Totals) -> Totals:
            t, total = builder.add(one, t), list(total)
            line, number = emit.element(row, lines, t), emit.element(tap, numbers, t)
            start = builder.select(builder.icmp_signed(">=", line, INDEX(0)), emit.address(x, rows, builder.add(here, line)), empty)
            for o in spots:
                found = read(start, o)
                for way in range(WAYS):
                    if not 0 <= (l := o - first[way]) < counts[way]:
                        continue
                    weight = emit.splat(emit.element(w, weights, builder.add(number, INDEX(begins[way] + WAYS * l))))
                    for c in range(width):
                        total[way * width + c] = emit.fma(weight, found[c], total[way * width + c])
            return total

        return context.make_tuple(builder, acc, repeat(builder, builder.sub(end, one), cgutils.unpack_tuple(builder, args[0]), step))

    told = (acc, cols, x, index, index, index, row, tap, index, index, w, blank, even, odd, later, lead, tail, taps)
    return acc(*told), code


@intrinsic
def put_woven(typing: Any, y: Any, b: Any, acc: Any, m: Any) -> Any:
    """Samples of both classes in turn to y[b:]; of the last vector what belongs to the first m."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        L, sums = emit.lanes, cgutils.unpack_tuple(builder, args[2])
        C = len(sums) // WAYS
        for c in range(C):
            for half in range(WAYS):
                turns = [way * L + half * L // WAYS + l for l in range(L // WAYS) for way in range(WAYS)]
                value = builder.shuffle_vector(sums[c], sums[C + c], ir.Constant(ir.VectorType(SHORT, L), turns))
                done = INDEX((c * WAYS + half) * L)
                spot = builder.add(args[1], done)
                if c < C - 1 or not half:
                    emit.store(value, y, args[0], spot)
                else:
                    emit.store_first(builder.sub(args[3], done), value, y, args[0], spot)
        return context.get_dummy_value()

    return types.void(y, types.int64, acc, types.int64), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def selvages(
    x: Any, w: Any, y: Any, at: Any, goal: Any, number: int, to: Any, begin: Any, row: Any, tap: Any, blank: Any, T: int, n: int, m: int,
    lanes: Any, cols: Any, ways: Any, even: Any, odd: Any, later: Any, lead: Any, tail: Any, taps: Any,
) -> None:  # fmt: skip
    """One channel after the other.  Needs a block's samples of each class in a row."""
    stay_whole()
    W, G = len(lanes) * len(cols), len(w) // T
    M = (m + 1) // 2
    for i in range(len(at)):
        part = w[(number + i) % G * T : (number + i) % G * T + T]
        for r in range(len(to)):
            for j0 in range(0, M, W):
                j = least(j0, M - W)
                acc = zeros(w, lanes, cols, ways)
                acc = gain_classes(
                    acc, cols, x, at[i], j, n, row, tap, begin[r], begin[r + 1], part, blank, even, odd, later, lead, tail, taps
                )
                put_woven(y, goal[i] + to[r] + 2 * j, acc, m - 2 * j)
