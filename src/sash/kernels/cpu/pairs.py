"""Symmetric kernels: the two samples that share a tap are added first, which leaves half of the multiply-adds.

x (X,) and y (Y,) flat   at, to (r,) rows of x and y   k (R + 1,) in down and spread: the tap in the middle, then those outward
down    y[to[r] + i yp + j] (+)= k[0] x[c + line[i + R]] + sum_u k[u] (x[c + line[i + R - u]] + x[c + line[i + R + u]])
spread  y[to[r] + j] (+)= k[0] x[c + off[R]] + sum_u k[u] (x[c + off[R - u]] + x[c + off[R + u]])
for c = at[r] + j, 0 <= i < m, 0 <= j < n.  Both sum outward from the middle, in one accumulator of k's type: the same bits.
Imports: simd, rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .rows import STRIP, room
from .simd import INDEX, SHORT, Emit, Vec, carry, fetch, nearest, put, put_more, repeat, seats, stay_whole


@intrinsic
def lines(typing: Any, x: Any, spots: Any, shift: Any, k: Any, lanes: Any, cols: Any) -> Any:
    """cols vectors at each x[spots[r] + shift:], as k's elements, row by row."""
    made = types.UniTuple(Vec(k.dtype, len(lanes)), len(cols) * len(spots))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, made.dtype)
        found = []
        for spot in cgutils.unpack_tuple(builder, args[1]):
            start = builder.add(spot, args[2])
            found += [emit.load(x, args[0], builder.add(start, INDEX(c * emit.lanes))) for c in range(len(cols))]
        return context.make_tuple(builder, made, found)

    return made(x, spots, types.int64, k, lanes, cols), code


@intrinsic
def firsts(typing: Any, x: Any, spots: Any, shift: Any, k: Any, lanes: Any, count: Any) -> Any:
    """The first `count` elements at each x[spots[r] + shift:], one vector each; the memory of the others is not touched."""
    made = types.UniTuple(Vec(k.dtype, len(lanes)), len(spots))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, made.dtype)
        places = [builder.add(spot, args[2]) for spot in cgutils.unpack_tuple(builder, args[1])]
        return context.make_tuple(builder, made, [emit.load_first(args[5], x, args[0], place) for place in places])

    return made(x, spots, types.int64, k, lanes, types.int64), code


@intrinsic
def scaled(typing: Any, rows: Any, k: Any) -> Any:
    """k[0] times each vector."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, rows.dtype)
        w = emit.splat(emit.element(k, args[1], INDEX(0)))
        return context.make_tuple(builder, rows, [emit.mul(w, v) for v in cgutils.unpack_tuple(builder, args[0])])

    return rows(rows, k), code


@intrinsic
def outward(typing: Any, low: Any, cols: Any, x: Any, a: Any, near: Any, q: Any, k: Any) -> Any:
    """Column sums of a block whose middle rows are `low`; row r takes x[a + near[q + r - u]:] and x[a + near[q + r + u]:] times k[u]."""
    width = len(cols)
    last = low.count // width - 1

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, low.dtype)
        middle = cgutils.unpack_tuple(builder, args[0])
        n, R = len(middle), builder.sub(emit.length(k, args[6]), INDEX(1))

        def load(row: Any) -> list[Any]:
            at = builder.add(args[3], emit.element(near, args[4], builder.add(args[5], row)))
            return [emit.load(x, args[2], builder.add(at, INDEX(c * emit.lanes))) for c in range(width)]

        def step(l: Any, state: list[Any]) -> list[Any]:
            u = builder.add(l, INDEX(1))
            total, below, above = state[:n], state[n : 2 * n], state[2 * n :]
            below = load(builder.neg(u)) + below[:-width]
            above = above[width:] + load(builder.add(u, INDEX(last)))
            w = emit.splat(emit.element(k, args[6], u))
            return [emit.fma(w, emit.add(p, q), t) for p, q, t in zip(below, above, total, strict=True)] + below + above

        w = emit.splat(emit.element(k, args[6], INDEX(0)))
        first = [emit.mul(w, v) for v in middle]
        found = repeat(builder, R, first + middle + middle, step)
        return context.make_tuple(builder, low, found[:n])

    return low(low, cols, x, types.int64, near, types.int64, k), code


@intrinsic
def sideways(typing: Any, right: Any, x: Any, a: Any, off: Any, k: Any, shift: Any) -> Any:
    """Sums along a row from its middle vectors `right`: acc + k[u] (x[a + off[R - u]:] + x[a + off[R + u]:]) for all u.

    The one before lies `shift` elements behind x[a + off[R + u]:]: moved there in registers, as loads that cross a line of
    the cache take twice as long (and halve the work of the loads: 1.9 times as fast on Zen 4).
    """
    step = len(shift)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, right.dtype)
        middle = cgutils.unpack_tuple(builder, args[0])
        n, R = len(middle), builder.sub(emit.length(k, args[4]), INDEX(1))
        mask = ir.Constant(ir.VectorType(SHORT, emit.lanes), list(range(step, step + emit.lanes)))

        def further(l: Any, state: list[Any]) -> list[Any]:
            u = builder.add(l, INDEX(1))
            total, old, new = state[:n], state[n:], []
            a, b = (builder.add(args[2], emit.element(off, args[3], place)) for place in (builder.sub(R, u), builder.add(R, u)))
            w = emit.splat(emit.element(k, args[4], u))
            for c in range(n):
                if step and c + 1 < n:
                    new.append(builder.shuffle_vector(old[c], old[c + 1], mask))
                else:
                    new.append(emit.load(x, args[1], builder.add(b, INDEX(c * emit.lanes))))
                left = emit.load(x, args[1], builder.add(a, INDEX(c * emit.lanes)))
                total[c] = emit.fma(w, emit.add(left, new[c]), total[c])
            return total + new

        w = emit.splat(emit.element(k, args[4], INDEX(0)))
        found = repeat(builder, R, [emit.mul(w, v) for v in middle] + middle, further)
        return context.make_tuple(builder, right, found[:n])

    return right(right, x, types.int64, off, k, shift), code


@intrinsic
def paired(typing: Any, acc: Any, left: Any, right: Any, k: Any, u: Any) -> Any:
    """acc + k[u] (left + right)."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        w = emit.splat(emit.element(k, args[3], args[4]))
        every = zip(*(cgutils.unpack_tuple(builder, v) for v in args[:3]), strict=True)
        return context.make_tuple(builder, acc, [emit.fma(w, emit.add(p, q), t) for t, p, q in every])

    return acc(acc, acc, acc, k, types.int64), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def down(
    x: Any, k: Any, y: Any, at: Any, to: Any, line: Any, yp: int, m: int, n: int, add: int,
    room: Any, near: Any, pitch: int, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """As rows.down: blocks of rows x cols vectors, strip by strip, and with a pitch from copies in room[near[i]:]."""
    stay_whole()
    N, L, W, R, Q = len(rows), len(lanes), len(lanes) * len(cols), len(k) - 1, len(line)
    for r in range(len(at)):
        # Asked for while row r is made: the next one, or where the next call is likely to begin.
        ahead, goal = at[r] + line[m] - line[0], to[r] + m * yp
        if r + 1 < len(at):
            ahead, goal = at[r + 1], to[r + 1]
        elif r:
            ahead, goal = 2 * at[r] - at[r - 1], 2 * to[r] - to[r - 1]
        for strip in range(0, n, STRIP * W):
            origin = at[r]
            if pitch:
                first, last = min(strip, n - W), min(strip + STRIP * W, n)
                for q in range(Q):
                    for j0 in range(first, last, L):
                        j = min(j0, last - L)
                        carry(x, origin + line[q] + j, room, near[q] + j - first, 0, 0, lanes)
                ahead, origin = origin + STRIP * W, -first
            for i0 in range(0, m, N):
                i = min(i0, m - N)
                q0, q1 = i0 * Q // m, min(i0 + N, m) * Q // m
                spots = seats(near, i + R, N, rows)
                for j0 in range(strip, min(strip + STRIP * W, n), W):
                    j = min(j0, n - W)
                    a = origin + j
                    for q in range(q0, q1):
                        fetch(x, ahead + line[q] + j, lanes, cols, ())
                    for q in range(i, i + N):
                        fetch(y, goal + q * yp + j, lanes, cols, (0,))
                    low = lines(room, spots, a, k, lanes, cols)
                    acc = outward(low, cols, room, a, near, i + R, k)
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
    L, B, R = len(lanes), len(wide), len(k) - 1
    whole, some = n - n % (L * B), min(n, L)
    for top in range(0, len(at), B):
        count = min(B, len(at) - top)
        for r in range(top, top + count):
            a, b = at[r], to[r]
            for j in range(0, whole, L * B):
                right = lines(x, (a,), j + off[R], k, lanes, wide)
                acc = sideways(right, x, a + j, off, k, shift)
                if add:
                    put_more(y, b + j, 0, acc, wide, 0, 0)
                else:
                    put(y, b + j, 0, acc, wide)
        if whole < n:
            spots = seats(at, top, count, wide)
            for done in range(whole, n, L):
                j = max(min(done, n - L), 0)  # the last vector overlaps the one before it
                acc = scaled(firsts(x, spots, j + off[R], k, lanes, some), k)
                for u in range(1, R + 1):
                    left, right = firsts(x, spots, j + off[R - u], k, lanes, some), firsts(x, spots, j + off[R + u], k, lanes, some)
                    acc = paired(acc, left, right, k, u)
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
        form = simd.block(k.itemsize).lanes, COLS, ROWS
        down(x, k[len(k) // 2 :], y, at, to, line, yp, m, n, add, *room(x, k, line), *form)
        return
    for i in range(m):
        along(x, k, y, at, to + i * yp, line[i : i + len(k)], n, add)


def along(x: Any, k: Any, y: Any, at: Any, to: Any, off: Any, n: int, add: int) -> None:
    """y[to[r] + j] (+)= sum_u k[u] x[at[r] + off[u] + j], k the same turned round."""
    lanes = simd.block(k.itemsize).lanes
    step = off[1] - off[0] if len(k) > 1 and simd.vector_bytes() == simd.LINE else 0
    shift = (0,) * step if step in SHIFTS else ()
    spread(x, k[len(k) // 2 :], y, at, to, off, n, add, np.empty(len(lanes) * len(WIDE), k.dtype), lanes, WIDE, shift)
