"""Symmetric kernels: the two samples that share a tap are added first, which leaves half of the multiply-adds.

x (X,) and y (Y,) flat   at, to (r,) rows of x and y   k (R + 1,) in down and spread: the tap in the middle, then those outward
down    y[to[r] + i yp + j] (+)= k[0] x[c + line[i + R]] + sum_u k[u] (x[c + line[i + R - u]] + x[c + line[i + R + u]])
spread  y[to[r] + j] (+)= k[0] x[c + off[R]] + sum_u k[u] (x[c + off[R - u]] + x[c + off[R + u]])
for c = at[r] + j, 0 <= i < m, 0 <= j < n.  Both sum outward from the middle, in one accumulator of k's type: the same bits.
Imports: simd, terms, rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .moves import carry, carry_lines, fetch_block, fetch_lines
from .rows import STRIP, room
from .simd import INDEX, SHORT, Emit, Vec, least, most, nearest, put, put_more, repeat, seats, sized, stay_whole
from .terms import Totals


@intrinsic
def outward(typing: Any, k: Any, x: Any, i: Any, near: Any, q: Any, lanes: Any, cols: Any, rows: Any) -> Any:
    """A block of columns: row r is k[0] x[c:] and k[u] (x[c - u] + x[c + u]) for all u, where x[c + u] stands for x[i + near[q + r + u]:].

    From step to step the rows move on by one, and only the outermost are loaded.
    """
    C, N = len(cols), len(rows)
    made = types.UniTuple(Vec(k.dtype, len(lanes)), C * N)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, made.dtype)

        def load(row: Any) -> Totals:
            at = builder.add(args[2], emit.element(near, args[3], builder.add(args[4], row)))
            return [emit.load(x, args[1], builder.add(at, INDEX(c * emit.lanes))) for c in range(C)]

        def step(l: Any, state: Totals) -> Totals:
            u, total, low, high = builder.add(l, INDEX(1)), state[: made.count], state[made.count : 2 * made.count], state[2 * made.count :]
            low = load(builder.neg(u)) + low[:-C]
            high = high[C:] + load(builder.add(u, INDEX(N - 1)))
            return _paired(emit, emit.element(k, args[0], u), total, low, high) + low + high

        middle = [vector for r in range(N) for vector in load(INDEX(r))]
        found = repeat(builder, _radius(emit, k, args), _scaled(emit, k, args, middle) + middle + middle, step)
        return context.make_tuple(builder, made, found[: made.count])

    return made(k, x, types.int64, near, types.int64, lanes, cols, rows), code


@intrinsic
def sideways(typing: Any, k: Any, x: Any, i: Any, off: Any, lanes: Any, wide: Any, shift: Any) -> Any:
    """Vectors along a row: k[0] x[i + off[R]:] and k[u] (x[i + off[R - u]:] + x[i + off[R + u]:]) for all u.

    Those on the right lie `shift` elements before the next ones there: moved in registers, as loads that cross a line of
    the cache take twice as long (and halve the work of the loads: 1.9 times as fast on Zen 4).
    """
    n, step = len(wide), len(shift)
    made = types.UniTuple(Vec(k.dtype, len(lanes)), n)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, made.dtype)
        R = _radius(emit, k, args)
        mask = ir.Constant(ir.VectorType(SHORT, emit.lanes), list(range(step, step + emit.lanes)))

        def load(place: Any, first: int) -> Totals:
            at = builder.add(args[2], emit.element(off, args[3], place))
            return [emit.load(x, args[1], builder.add(at, INDEX(c * emit.lanes))) for c in range(first, n)]

        def further(l: Any, state: Totals) -> Totals:
            u, total, right = builder.add(l, INDEX(1)), state[:n], state[n:]
            moved = [builder.shuffle_vector(a, b, mask) for a, b in zip(right, right[1:], strict=False)] if step else []
            right = moved + load(builder.add(R, u), len(moved))
            return _paired(emit, emit.element(k, args[0], u), total, load(builder.sub(R, u), 0), right) + right

        middle = load(R, 0)
        found = repeat(builder, R, _scaled(emit, k, args, middle) + middle, further)
        return context.make_tuple(builder, made, found[:n])

    return made(k, x, types.int64, off, lanes, wide, shift), code


@intrinsic
def apart(typing: Any, k: Any, x: Any, spots: Any, shift: Any, off: Any, lanes: Any, few: Any) -> Any:
    """As sideways, one vector of `few` lanes at each x[spots[r] + shift:]; the memory of the others is not touched."""
    made = types.UniTuple(Vec(k.dtype, len(lanes)), len(spots))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, places = Emit(context, builder, made.dtype), cgutils.unpack_tuple(builder, args[2])
        R = _radius(emit, k, args)

        def load(place: Any) -> Totals:
            at = builder.add(args[3], emit.element(off, args[4], place))
            return [emit.load_first(args[6], x, args[1], builder.add(spot, at)) for spot in places]

        def further(l: Any, total: Totals) -> Totals:
            u = builder.add(l, INDEX(1))
            return _paired(emit, emit.element(k, args[0], u), total, load(builder.sub(R, u)), load(builder.add(R, u)))

        return context.make_tuple(builder, made, repeat(builder, R, _scaled(emit, k, args, load(R)), further))

    return made(k, x, spots, types.int64, off, lanes, types.int64), code


def _radius(emit: Emit, k: Any, args: Any) -> Any:
    return emit.builder.sub(emit.length(k, args[0]), INDEX(1))


def _scaled(emit: Emit, k: Any, args: Any, middle: Totals) -> Totals:
    w = emit.splat(emit.element(k, args[0], INDEX(0)))
    return [emit.mul(w, value) for value in middle]


def _paired(emit: Emit, weight: Any, total: Totals, low: Totals, high: Totals) -> Totals:
    w = emit.splat(weight)
    return [emit.fma(w, emit.add(a, b), t) for a, b, t in zip(low, high, total, strict=True)]


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def down(
    x: Any, k: Any, y: Any, at: Any, to: Any, line: Any, yp: int, m: int, n: int, add: int,
    room: Any, near: Any, pitch: int, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """As rows.down: blocks of rows x cols vectors, strip by strip, and with a pitch from copies in room[near[i]:]."""
    stay_whole()
    N, W, R, Q = len(rows), len(lanes) * len(cols), len(k) - 1, len(line)
    # Asked for while row r is made: the next one, or where the next call is likely to begin.
    further, beyond = line[m] - line[0], m * yp
    if len(at) > 1:
        further, beyond = at[1] - at[0], to[1] - to[0]
    for r in range(len(at)):
        ahead, goal = at[r] + further, to[r] + beyond
        for strip in range(0, n, STRIP * W):
            origin = at[r]
            if pitch:
                first, last = least(strip, n - W), least(strip + STRIP * W, n)
                carry_lines(x, origin + first, line, room, near, last - first, lanes)
                ahead, origin = origin + STRIP * W, -first
            for i0 in range(0, m, N):
                i = least(i0, m - N)
                q0, q1 = i0 * Q // m, least(i0 + N, m) * Q // m
                for j0 in range(strip, least(strip + STRIP * W, n), W):
                    j = least(j0, n - W)
                    a = origin + j
                    fetch_lines(x, ahead + j, line, q0, q1, lanes, cols)
                    fetch_block(y, goal + i * yp + j, yp, lanes, cols, rows)
                    acc = outward(k, room, a, near, i + R, lanes, cols, rows)
                    b = to[r] + i * yp + j
                    if add:
                        put_more(y, b, yp, acc, cols, i0 - i, j0 - j)
                    else:
                        put(y, b, yp, acc, cols)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def spread(x: Any, k: Any, y: Any, at: Any, to: Any, off: Any, n: int, add: int, cell: Any, lanes: Any, wide: Any, shift: Any) -> None:
    """As taps.spread: blocks of `wide` vectors along a row; what is left of `wide` rows at a time as one vector from each.

    off (2 R + 1,); a `shift` says that its steps are so many elements long.
    """
    stay_whole()
    L, B = len(lanes), len(wide)
    whole, some = n - n % (L * B), least(n, L)
    for top in range(0, len(at), B):
        count = least(B, len(at) - top)
        for r in range(top, top + count):
            a, b = at[r], to[r]
            for j in range(0, whole, L * B):
                acc = sideways(k, x, a + j, off, lanes, wide, shift)
                if add:
                    put_more(y, b + j, 0, acc, wide, 0, 0)
                else:
                    put(y, b + j, 0, acc, wide)
        if whole < n:
            spots = seats(at, top, count, wide)
            for done in range(whole, n, L):
                j = most(least(done, n - L), 0)  # the last vector overlaps the one before it
                acc = apart(k, x, spots, j, off, lanes, some)
                put(cell, 0, 0, acc, wide)
                for r in range(count):
                    b = to[top + r]
                    if n >= L:
                        carry(cell, r * L, y, b + j, add, done - j, lanes)
                    else:
                        for l in range(n):
                            y[b + l] = y[b + l] + cell[r * L + l] if add else nearest(y, cell[r * L + l])


COLS, ROWS, WIDE = (0,) * 2, (0,) * 4, (0,) * 4
"""Vectors side by side and rows of a block, which takes three registers for each; vectors along a row."""

SHIFTS = 1, 3
"""Distances of taps, one value or one colour each, that are worth a kernel of their own."""


def shares(m: int, n: int, h: int, itemsize: int) -> bool:
    """Whether m rows of n outputs, h taps high, fill a block of rows that share what they load."""
    return h > 1 and m >= len(ROWS) and n >= len(COLS) * len(simd.block(itemsize).lanes)


def column(x: Any, k: Any, y: Any, at: Any, to: Any, line: Any, yp: int, m: int, n: int, add: int) -> None:
    """y[to[r] + i yp + j] (+)= sum_u k[u] x[at[r] + line[i + u] + j], k the same turned round: a pass along any axis but the last."""
    if shares(m, n, len(k), k.itemsize):
        kernel = sized(down, simd.block(k.itemsize).lanes, COLS, ROWS)
        kernel(x, k[len(k) // 2 :], y, at, to, line, yp, m, n, add, *room(x, k, line))
        return
    for i in range(m):
        along(x, k, y, at, to + i * yp, line[i : i + len(k)], n, add)


def along(x: Any, k: Any, y: Any, at: Any, to: Any, off: Any, n: int, add: int) -> None:
    """y[to[r] + j] (+)= sum_u k[u] x[at[r] + off[u] + j], k the same turned round."""
    lanes = simd.block(k.itemsize).lanes
    step = off[1] - off[0] if len(k) > 1 and simd.vector_bytes() == simd.LINE else 0
    shift = (0,) * step if step in SHIFTS else ()
    kernel = sized(spread, lanes, WIDE, shift)
    kernel(x, k[len(k) // 2 :], y, at, to, off, n, add, np.empty(len(lanes) * len(WIDE), k.dtype))
