"""Sums of |x - w| two taps at a time: |a| + |b| = max(|a + b|, |a - b|), and vrangeps takes that maximum in one step.

x (X,) and y (Y,) flat   w (O, P, h, k) flat   at, to (R,)   base, step (O,)   off (P,) or (T,)
With a = x0 - w0 and b = x1 - w1, a + b is (x0 + x1) - (w0 + w1): what is added of x serves every row of a block, so that a
pair takes 4.5 operations where its two terms alone take 6 (one core, 24 x 24: 23.9 to 30.8 G terms/s).  An equal window gives
exactly 0, and infinities and NaN what they give alone: the maximum of a NaN and a number is the number.  (Finite numbers
beyond half of the largest there is may give infinity.)
Columns pair from the left in each row of the template, an odd last one stays alone: the same bits in both kernels.
Imports: simd, terms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .rows import shares
from .simd import INDEX, SHORT, Emit, least, most, nearest, put, repeat, sized, stay_whole, zeros
from .terms import Totals, staircase

LARGEST, HERE = 0b1011, 4
"""The larger of both sizes, without a sign; rounding as everywhere."""


@cache
def available() -> bool:
    """Whether there is an instruction for it: without, two taps take more operations together than apart."""
    return simd.vector_bytes() == 64 and "+avx512dq" in simd.target()[2].split(",")


class _Sides(NamedTuple):
    """What one or two taps of x add to the rows of a block: their sum and their difference, of one tap itself."""

    emit: Emit
    sum: Any
    gap: Any

    def onto(self, total: Any, w_sum: Any, w_gap: Any) -> Any:
        emit, builder = self.emit, self.emit.builder
        mask = ir.IntType(max(emit.lanes, 8))
        name = f"llvm.x86.avx512.mask.range.{'ps' if emit.bytes == 4 else 'pd'}.512"
        shape = ir.FunctionType(emit.vector, [emit.vector, emit.vector, SHORT, emit.vector, mask, SHORT])
        largest = cgutils.get_or_insert_function(builder.module, shape, name)
        sides = emit.sub(self.sum, w_sum), emit.sub(self.gap, w_gap)
        both = builder.call(largest, [*sides, SHORT(LARGEST), emit.zero, mask((1 << emit.lanes) - 1), SHORT(HERE)])
        return emit.add(total, both)


def _row(
    emit: Emit, k: Any, total: Totals, width: int, served: range, load: Callable[[Any, int], Any], weight: Callable[[int, Any], Any]
) -> Totals:
    """total and one row of k taps, in pairs, for these rows of a block.

    `load(l, c)` gives vector c at tap l, `weight(r, l)` the factor of row r: for a pair at its first tap the sum, at its
    second the difference.
    """
    builder = emit.builder

    def met(l: Any, total: Totals, pair: bool) -> Totals:
        beside, sides, total = builder.add(l, INDEX(int(pair))), [], list(total)
        for c in range(width):
            a = load(l, c)
            b = load(beside, c) if pair else None
            sides.append(_Sides(emit, emit.add(a, b), emit.sub(a, b)) if pair else _Sides(emit, a, a))
        for row in served:
            factors = [emit.splat(weight(row, at)) for at in (l, beside)]
            for c in range(width):
                total[row * width + c] = sides[c].onto(total[row * width + c], *factors)
        return total

    total = repeat(builder, builder.ashr(k, INDEX(1)), total, lambda n, held: met(builder.shl(n, INDEX(1)), held, True))
    return repeat(builder, builder.and_(k, INDEX(1)), total, lambda _, held: met(builder.sub(k, INDEX(1)), held, False))


@intrinsic
def couple_rows(
    typing: Any, acc: Any, cols: Any, x: Any, i: Any, xp: Any, d: Any, w: Any, t: Any, h: Any, k: Any
) -> Any:  # fmt: skip
    """A block of rows: the sums of |x[i + (r + u) xp + l d:] - w| for row r, u < h and l < k; `coupled` made w[t + u k + l]."""
    width = len(cols)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        start, pitch, apart, first, high, many = (args[n] for n in (3, 4, 5, 7, 8, 9))

        def taken(u: Any, total: Totals, served: range) -> Totals:
            row, tap = builder.add(start, builder.mul(u, pitch)), builder.add(first, builder.mul(u, many))

            def load(l: Any, c: int) -> Any:
                return emit.load(x, args[2], builder.add(builder.add(row, builder.mul(l, apart)), INDEX(c * emit.lanes)))

            def weight(r: int, l: Any) -> Any:
                return emit.element(w, args[6], builder.add(builder.sub(tap, builder.mul(many, INDEX(r))), l))

            return _row(emit, many, total, width, served, load, weight)

        total = staircase(builder, acc.count // width, high, cgutils.unpack_tuple(builder, args[0]), taken)
        return context.make_tuple(builder, acc, total)

    index = types.int64
    return acc(acc, cols, x, index, index, index, w, index, index, index), code


@intrinsic
def couple(typing: Any, acc: Any, x: Any, i: Any, off: Any, w: Any, t: Any, k: Any, few: Any) -> Any:
    """One vector: the sum of |x[i + off[l]:] - w| over all l, in rows of k taps; `coupled` made w[t + l].

    Of `few` lanes, unless that is None: the memory of the others is not touched.
    """
    narrow = isinstance(few, types.Integer)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)

        def taken(n: Any, total: Totals) -> Totals:
            first = builder.mul(n, args[6])

            def load(l: Any, c: int) -> Any:
                at = builder.add(args[2], emit.element(off, args[3], builder.add(first, l)))
                return emit.load_first(args[7], x, args[1], at) if narrow else emit.load(x, args[1], at)

            def weight(r: int, l: Any) -> Any:
                return emit.element(w, args[4], builder.add(builder.add(args[5], first), l))

            return _row(emit, args[6], total, 1, range(1), load, weight)

        rows = builder.sdiv(emit.length(off, args[3]), args[6])
        return context.make_tuple(builder, acc, repeat(builder, rows, cgutils.unpack_tuple(builder, args[0]), taken))

    return acc(acc, x, types.int64, off, w, types.int64, types.int64, types.int64 if narrow else few), code


def coupled(w: Any, k: int) -> Any:
    """Rows of k taps, flat, as sums and differences of pairs; an odd last tap as it is."""
    made = w.reshape(-1, k).copy()
    a, b = made[:, : k - 1 : 2], made[:, 1::2]
    a[:], b[:] = a + b, a - b
    return made.reshape(-1)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def swept(
    x: Any, w: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any, xp: int, yp: int,
    m: int, n: int, h: int, k: int, d: int, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """Blocks of rows x cols vectors.  Needs m >= rows, n >= cols lanes, h >= rows - 1, rows of 3 or 4."""
    stay_whole()
    N, W, P = len(rows), len(lanes) * len(cols), len(off)
    for r in range(len(at)):
        for i0 in range(0, m, N):
            i = least(i0, m - N)
            for o in range(len(base)):
                for j0 in range(0, n, W):
                    j = least(j0, n - W)
                    acc = zeros(w, lanes, cols, rows)
                    for p in range(P):
                        a = at[r] + base[o] + off[p] + i * xp + j
                        acc = couple_rows(acc, cols, x, a, xp, d, w, (o * P + p) * h * k, h, k)
                    put(y, to[r] + step[o] + i * yp + j, yp, acc, cols)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def listed(x: Any, w: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any, n: int, k: int, cell: Any, lanes: Any) -> None:
    """One vector after the other, for what fills no block; off (T,) holds rows of k taps, cell (lanes,) room for a narrow one."""
    stay_whole()
    L, T, one = len(lanes), len(off), (0,)
    for r in range(len(at)):
        for o in range(len(base)):
            a, b = at[r] + base[o], to[r] + step[o]
            for j0 in range(0, n, L):
                j = most(least(j0, n - L), 0)
                acc = zeros(w, lanes, one, one)
                if n < L:
                    acc = couple(acc, x, a, off, w, o * T, k, n)
                else:
                    acc = couple(acc, x, a + j, off, w, o * T, k, None)
                if n < L:
                    put(cell, 0, 0, acc, one)
                    for l in range(n):
                        y[b + l] = nearest(y, cell[l])
                else:
                    put(y, b + j, 0, acc, one)


def settled(itemsize: int, t: Any) -> Callable[[Any, Any, Any, Any], None]:
    """Sums of |x - w| of x, w, v (not read) and y for tables t, as rows.settled: rows of t.k taps, which pair."""
    lanes, cols, rows, _ = simd.block(itemsize)
    if t.m and shares(t.m, t.n, t.h, itemsize):
        told, kernel = (t.at, t.to, t.base, t.step, t.outer, t.xp, t.yp, t.m, t.n, t.h, t.k, t.d), sized(swept, lanes, cols, rows)
        return lambda x, w, v, y: kernel(x, coupled(w, t.k), y, *told)
    at, to = t.at, t.to
    if t.m:
        at, to = [np.add.outer(a, np.arange(t.m) * p).reshape(-1) for a, p in ((at, t.xp), (to, t.yp))]
    where = (at, to, t.base, t.step, t.off, t.n, t.k)
    vectors = sized(listed, lanes)
    return lambda x, w, v, y: vectors(x, coupled(w, t.k), y, *where, np.empty(len(lanes), w.dtype))
