"""Sums of |x - w| two taps at a time: |a| + |b| = max(|a + b|, |a - b|), and vrangeps takes that maximum in one step.

x (X,) and y (Y,) flat   w (O, P, h, k) flat   at, to (R,)   base, step (O,)   off (P,) or (T,)
With a = x0 - w0 and b = x1 - w1, a + b is (x0 + x1) - (w0 + w1): what is added of x serves every row of a block, so that a
pair takes 4.5 operations where its two terms alone take 6 (one core, 24 x 24: 23.9 to 30.8 G terms/s).  An equal window gives
exactly 0, and infinities and NaN what they give alone: the maximum of a NaN and a number is the number.  (Finite numbers
beyond half of the largest there is may give infinity.)
Columns pair from the left in each row of the template, an odd last one stays alone: the same bits in both kernels.
Imports: simd.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .rows import shares
from .simd import INDEX, SHORT, Emit, nearest, put, stay_whole, zeros

LARGEST, HERE = 0b1011, 4
"""The larger of both sizes, without a sign; rounding as everywhere."""


@cache
def available() -> bool:
    """Whether there is an instruction for it: without, two taps take more operations together than apart."""
    return simd.vector_bytes() == 64 and "+avx512dq" in simd.target()[2].split(",")


class _Couple:
    """Two taps of x, and what they add to the rows of a block.

    `second` is whether there are two: known when compiled, or a bit, at 8 % of the time (masks).
    """

    def __init__(self, emit: Emit, x: tuple[Any, Any], at: Any, ahead: Any, second: Any, few: Any = None) -> None:
        self.emit, next_at = emit, emit.builder.add(at, ahead)
        a = emit.load(*x, at) if few is None else emit.load_first(few, *x, at)
        if second is False:
            self.sum = self.gap = a
            return
        if second is True:
            b = emit.load(*x, next_at)
        else:
            where = emit.splat(second)
            b = emit.load_where(where if few is None else emit.builder.and_(where, emit.lane_is("<", few)), *x, next_at)
        self.sum, self.gap = emit.add(a, b), emit.sub(a, b)

    def onto(self, total: Any, w_sum: Any, w_gap: Any) -> Any:
        emit, builder = self.emit, self.emit.builder
        mask = ir.IntType(max(emit.lanes, 8))
        name = f"llvm.x86.avx512.mask.range.{'ps' if emit.bytes == 4 else 'pd'}.512"
        shape = ir.FunctionType(emit.vector, [emit.vector, emit.vector, SHORT, emit.vector, mask, SHORT])
        largest = cgutils.get_or_insert_function(builder.module, shape, name)
        sides = emit.sub(self.sum, w_sum), emit.sub(self.gap, w_gap)
        both = builder.call(largest, [*sides, SHORT(LARGEST), emit.zero, mask((1 << emit.lanes) - 1), SHORT(HERE)])
        return emit.add(total, both)


@intrinsic(prefer_literal=True)
def couple(
    typing: Any, acc: Any, cols: Any, x: Any, i: Any, ahead: Any, second: Any, w: Any, t: Any, pitch: Any, lo: Any, hi: Any
) -> Any:  # fmt: skip
    """The taps at x[i:] and x[i + ahead:], the latter if `second`, added to rows lo..hi; row r takes w[t - r*pitch] and the next."""
    first, last, width = lo.literal_value, hi.literal_value, len(cols)
    last = min(last, acc.count // width - 1)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        total = cgutils.unpack_tuple(builder, args[0])
        known = isinstance(second, types.IntegerLiteral)
        there = bool(second.literal_value) if known else builder.icmp_signed("!=", args[5], INDEX(0))
        beside = INDEX(int(there)) if known else builder.zext(there, INDEX)
        places = [builder.add(args[3], INDEX(c * emit.lanes)) for c in range(width)]
        found = [_Couple(emit, (x, args[2]), place, args[4], there) for place in places]
        for row in range(first, last + 1):
            at = builder.sub(args[7], builder.mul(args[8], INDEX(row)))
            pair = [emit.splat(emit.element(w, args[6], place)) for place in (at, builder.add(at, beside))]
            for c in range(width):
                total[row * width + c] = found[c].onto(total[row * width + c], *pair)
        return context.make_tuple(builder, acc, total)

    second = second if isinstance(second, types.IntegerLiteral) else types.int64
    return acc(acc, cols, x, types.int64, types.int64, second, w, types.int64, types.int64, lo, hi), code


@intrinsic
def couple_narrow(typing: Any, acc: Any, x: Any, i: Any, ahead: Any, second: Any, w: Any, t: Any, count: Any) -> Any:
    """As couple for one row of `count` lanes; the memory of the others is not touched."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        (total,) = cgutils.unpack_tuple(builder, args[0])
        there = builder.icmp_signed("!=", args[4], INDEX(0))
        found = _Couple(emit, (x, args[1]), args[2], args[3], there, args[7])
        beside = builder.add(args[6], builder.zext(there, INDEX))
        pair = [emit.splat(emit.element(w, args[5], place)) for place in (args[6], beside)]
        return context.make_tuple(builder, acc, [found.onto(total, *pair)])

    return acc(acc, x, types.int64, types.int64, types.int64, w, types.int64, types.int64), code


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
            i = min(i0, m - N)
            for o in range(len(base)):
                for j0 in range(0, n, W):
                    j = min(j0, n - W)
                    acc = zeros(w, lanes, cols, rows)
                    for p in range(P):
                        for u in range(h + N - 1):
                            a = at[r] + base[o] + off[p] + (i + u) * xp + j
                            t = ((o * P + p) * h + u) * k
                            # The first rows of x serve the first rows of y only, and the last the last only.
                            if u >= N - 1 and u < h:
                                for l in range(0, k - 1, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, 1, w, t + l, k, 0, 3)
                                if k % 2:
                                    acc = couple(acc, cols, x, a + (k - 1) * d, 0, 0, w, t + k - 1, k, 0, 3)
                            elif u == 0:
                                for l in range(0, k, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, k - 1 - l, w, t + l, k, 0, 0)
                            elif u == 1:
                                for l in range(0, k, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, k - 1 - l, w, t + l, k, 0, 1)
                            elif u < N - 1:
                                for l in range(0, k, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, k - 1 - l, w, t + l, k, 0, 2)
                            elif u == h:
                                for l in range(0, k, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, k - 1 - l, w, t + l, k, 1, 3)
                            elif u == h + 1:
                                for l in range(0, k, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, k - 1 - l, w, t + l, k, 2, 3)
                            else:
                                for l in range(0, k, 2):
                                    acc = couple(acc, cols, x, a + l * d, d, k - 1 - l, w, t + l, k, 3, 3)
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
                j = max(min(j0, n - L), 0)
                acc = zeros(w, lanes, one, one)
                for t in range(0, T, k):
                    for l in range(t, t + k, 2):
                        left = t + k - 1 - l
                        ahead = off[l + 1] - off[l] if left else 0
                        if n < L:
                            acc = couple_narrow(acc, x, a + off[l], ahead, left, w, o * T + l, n)
                        else:
                            acc = couple(acc, one, x, a + j + off[l], ahead, left, w, o * T + l, 0, 0, 0)
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
        told = (t.at, t.to, t.base, t.step, t.outer, t.xp, t.yp, t.m, t.n, t.h, t.k, t.d, lanes, cols, rows)
        return lambda x, w, v, y: swept(x, coupled(w, t.k), y, *told)
    at, to = t.at, t.to
    if t.m:
        at, to = [np.add.outer(a, np.arange(t.m) * p).reshape(-1) for a, p in ((at, t.xp), (to, t.yp))]
    where = (at, to, t.base, t.step, t.off, t.n, t.k)
    return lambda x, w, v, y: listed(x, coupled(w, t.k), y, *where, np.empty(len(lanes), w.dtype), lanes)
