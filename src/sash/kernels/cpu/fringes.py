"""Channels without a frame, rows of stride 1: each row is read where it lies and serves several rows of results.

x, y flat   at, goal (I,) where image i begins in x and y   w (G, P, h, k), image i takes channel i % G
Row q of plane r goes to far_to[r] + q pitch in y, and reads rows of n samples at far (R, P) + line[q + u], u < h.  BLANK in either:
a border that is `past` all along; blank (B,) holds such a row.  Result j of a row of m reads samples j + first + l, l < k; those
before a row's first sample, or behind its last, are `past`: they are in no memory, the first and the last vector of a row leave
them out.  The sums are in the order of taps.   Imports: moves, simd, terms.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .moves import fetch_block
from .simd import INDEX, Emit, least, put, repeat, stay_whole, zeros
from .terms import Totals, between, staircase

COLUMNS = {
    4: {7: (2, 1.36), 4: (3, 1.34), 3: (3, 1.4), 2: (4, 1.55), 1: (4, 1.81)},
    3: {4: (2, 1.6), 3: (3, 1.4), 2: (3, 1.6), 1: (4, 1.8)},
}
"""Rows of a block for each number of columns, and what a vector of terms takes there, for either side of `simd.block`."""

HALF, FEWER = 1.1, 0.2
"""What it takes more where vectors are half as long, which fill a row of 56 or 14 where longer ones do not, and for each row less."""


@cache
def form(itemsize: int, rows: int, m: int, h: int, k: int, lead: int, tail: int) -> tuple[tuple[int, ...], ...]:
    """The sizes that it is compiled for: the block that takes least for so many rows of m results, by h x k taps.

    `lead` samples and `tail` of them are read before a row and behind it, no more than half of the longest vector has lanes.
    """
    size, found = simd.block(itemsize), list[tuple[float, int, int, int]]()
    long = len(size.lanes)
    for lanes in (long, long // 2) if long * itemsize == simd.LINE else (long,):
        for cols, (most, rate) in COLUMNS[len(size.rows)].items():
            if cols * lanes <= m:
                high = min(most, rows, h + 1)
                made = -(-m // (cols * lanes)) * cols * lanes * -(-rows // high) * high
                found.append((made * rate * (1 + FEWER * (most - high)) * (HALF if lanes < long else 1), lanes, cols, high))
    _, lanes, cols, high = min(found)
    return tuple([(0,) * n for n in (lanes, cols, high, k + 1, lead + 1, tail + 1)])


@intrinsic
def gain_fringes(
    typing: Any, acc: Any, cols: Any, x: Any, a: Any, j: Any, n: Any, far: Any, r: Any, P: Any, line: Any, q: Any, h: Any, w: Any, t: Any,
    past: Any, blank: Any, count: Any, lead: Any, tail: Any,
) -> Any:  # fmt: skip
    """The terms of results j, j + 1, ... of a block of rows from q on; `lead` taps of `count` begin before sample j, and `tail`
    end behind it."""
    index, width, k, first = types.int64, len(cols), len(count) - 1, 1 - len(lead)
    inner = k + 1 - len(tail)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        _, _, rows, a, j, n, planes, r, P, lines, q, h, weights, t, past, nothing, *_ = args
        here, empty = builder.add(a, builder.add(j, INDEX(first))), emit.address(blank, nothing, INDEX(0))
        read = between(emit, j, n, range(first, first + k), first + inner, width, emit.splat(past))

        def plane(p: Any, total: Totals) -> Totals:
            layer = emit.element(far, planes, builder.add(r, p))
            top = builder.add(t, builder.mul(builder.mul(p, h), INDEX(k)))

            def taken(u: Any, total: Totals, served: range) -> Totals:
                row, total = emit.element(line, lines, builder.add(q, u)), list(total)
                real = builder.and_(builder.icmp_signed(">=", row, INDEX(0)), builder.icmp_signed(">=", layer, INDEX(0)))
                start = emit.address(x, rows, builder.add(here, builder.add(layer, row)))
                start = builder.select(real, start, empty)
                tap = builder.add(top, builder.mul(u, INDEX(k)))
                for l in range(k):
                    found = read(start, first + l)
                    for s in served:
                        weight = emit.splat(emit.element(w, weights, builder.add(tap, INDEX(l - s * k))))
                        for c in range(width):
                            total[s * width + c] = emit.fma(weight, found[c], total[s * width + c])
                return total

            return staircase(builder, acc.count // width, h, total, taken)

        return context.make_tuple(builder, acc, repeat(builder, P, cgutils.unpack_tuple(builder, args[0]), plane))

    told = (acc, cols, x, index, index, index, far, index, index, line, index, index, w, index, w.dtype, blank, count, lead, tail)
    return acc(*told), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def fringes(
    x: Any, w: Any, y: Any, at: Any, goal: Any, far_to: Any, far: Any, line: Any, pitch: int, blank: Any, n: int, m: int, h: int, past: Any,
    lanes: Any, cols: Any, rows: Any, count: Any, lead: Any, tail: Any,
) -> None:  # fmt: skip
    """One channel after the other; x, w and y are of one type.  Needs h >= rows - 1, and rows and m to fill a block."""
    stay_whole()
    N, W, P, k = len(rows), len(lanes) * len(cols), len(far) // len(far_to), len(count) - 1
    Q, T = len(line) - h + 1, P * h * k
    G = len(w) // T
    for i in range(len(at)):
        t = i % G * T
        for r in range(len(far_to)):
            for q0 in range(0, Q, N):
                q = least(q0, Q - N)
                for j0 in range(0, m, W):
                    j = least(j0, m - W)
                    b = goal[i] + far_to[r] + q * pitch + j
                    fetch_block(y, b + N * pitch, pitch, lanes, cols, rows)
                    acc = zeros(w, lanes, cols, rows)
                    acc = gain_fringes(acc, cols, x, at[i], j, n, far, r * P, P, line, q, h, w, t, past, blank, count, lead, tail)
                    put(y, b, pitch, acc, cols)
