"""Rows woven of their classes: samples s apart that lie together become neighbours again.  The way back of `split`.

`woven` weaves rows that lie in memory; `crossed` makes channels that do not see each other and weaves each row while the
first-level cache holds it.   Imports: border, simd, terms.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .border import bordered
from .simd import INDEX, PRODUCT, SHORT, Emit, Vec, least, nearest, put, repeat, stay_whole, zeros
from .terms import Totals, met


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def woven(t: Any, size: int, counts: Any, y: Any, to: Any, ways: Any) -> None:
    """Place j s + c of y[to[r]:] is sample j of class c of row r, which lies at t[c size + r counts[c]:].

    `counts[c]` samples of each class, of which there are as many as `ways` is long; the first have one more than the last, or as many.
    """
    s = len(ways)
    m = counts[s - 1]
    for r in range(len(to)):
        goal = y[to[r] : to[r] + m * s]
        if s == 2:
            even, odd = t[r * counts[0] :], t[size + r * counts[1] :]
            for j in range(m):
                goal[2 * j] = even[j]
                goal[2 * j + 1] = odd[j]
        else:
            for c in range(s):
                one = t[c * size + r * counts[c] :]
                for j in range(m):
                    goal[j * s + c] = one[j]
        for c in range(s):
            if counts[c] > m:
                y[to[r] + m * s + c] = t[c * size + r * counts[c] + m]


@intrinsic
def knit(typing: Any, t: Any, i: Any, pitch: Any, y: Any, j: Any, lanes: Any, ways: Any) -> Any:
    """One vector of each class, at t[i], t[i + pitch], ..., to y[j:], a sample of each in turn."""
    L, s = len(lanes), len(ways)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, wide = Emit(context, builder, Vec(t.dtype, L)), Emit(context, builder, Vec(t.dtype, L * s))
        side = emit.load(t, args[0], args[1])
        for c in range(1, s):  # side by side first, then in turn
            line = emit.load(t, args[0], builder.add(args[1], builder.mul(args[2], INDEX(c))))
            longer = ir.Constant(ir.VectorType(SHORT, L * c), [min(l, L - 1) for l in range(L * c)])
            line = builder.shuffle_vector(line, line, longer)
            both = [*range(L * c), *range(L * c, L * c + L)]
            side = builder.shuffle_vector(side, line, ir.Constant(ir.VectorType(SHORT, L * (c + 1)), both))
        turns = ir.Constant(ir.VectorType(SHORT, L * s), [c * L + l for l in range(L) for c in range(s)])
        wide.store(builder.shuffle_vector(side, side, turns), y, args[3], args[4])
        return context.get_dummy_value()

    return types.void(t, types.int64, types.int64, y, types.int64, lanes, ways), code


@intrinsic
def some(typing: Any, acc: Any, x: Any, i: Any, off: Any, w: Any, tap: Any, first: Any, last: Any) -> Any:
    """One row of vectors: the sum of w[tap[t]] x[i + off[t]:] over first <= t < last, added to acc."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)

        def step(l: Any, total: Totals) -> Totals:
            t = builder.add(args[6], l)
            weight = emit.splat(emit.element(w, args[4], emit.element(tap, args[5], t)))
            at = builder.add(args[2], emit.element(off, args[3], t))
            return met(emit, len(PRODUCT), total, acc.count, (x, args[1]), at, range(1), lambda row: (weight, None))

        total = repeat(builder, builder.sub(args[7], args[6]), cgutils.unpack_tuple(builder, args[0]), step)
        return context.make_tuple(builder, acc, total)

    return acc(acc, x, types.int64, off, w, tap, types.int64, types.int64), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def crossed(
    x: Any, room: Any, cell: Any, w: Any, y: Any, at: Any, goal: Any, first: int, frame: Any, nil: Any, source: Any, target: Any,
    kind: Any, begin: Any, off: Any, tap: Any, T: int, counts: Any, pitch: int, lanes: Any, cols: Any, thin: Any, way: Any, ways: Any,
) -> None:  # fmt: skip
    """Image i, number `first` + i, is given its border in `room`; row r of its results goes to y[goal[i] + target[r]:].

    Class c of a row of kind q is the sum of taps begin[q s + c] up to the next: w[tap[t]] room[source[r] + off[t] + j].
    room and cell (s, pitch) are a block of vectors longer than what is read of them.
    """
    stay_whole()
    L, W, s = len(lanes), len(lanes) * len(cols), len(ways)
    row, down, ring, lead, many, length = frame
    G = len(w) // T
    m = counts[s - 1]
    whole = m if m >= L else 0
    for i in range(len(at)):
        bordered(x, room, at[i : i + 1], row, nil, down, ring, lead, many, length, 0.0, thin, way)
        part = w[(first + i) % G * T : (first + i) % G * T + T]
        for r in range(len(source)):
            for c in range(s):
                one, last = begin[kind[r] * s + c], begin[kind[r] * s + c + 1]
                for j in range(0, counts[c], W):
                    acc = some(zeros(w, lanes, cols, (0,)), room, source[r] + j, off, part, tap, one, last)
                    put(cell, c * pitch + j, 0, acc, cols)
            b = goal[i] + target[r]
            for j0 in range(0, whole, L):
                j = least(j0, m - L)  # the last vectors overlap those before them
                knit(cell, j, pitch, y, b + j * s, lanes, ways)
            for c in range(s):
                for j in range(whole, counts[c]):
                    y[b + j * s + c] = nearest(y, cell[c * pitch + j])
