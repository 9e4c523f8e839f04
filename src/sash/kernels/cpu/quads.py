"""Sums of products of bytes and signed bytes: four taps of 16 positions a step, in 32 bits (AVX-512 VNNI).

x (X,) uint8 flat   w (E, h, k) flat, words of four signed bytes   y (Y,) int32   at, to (R,) blocks of m rows in x and y   off (E,)
y[to[r] + i yp + j] = sum_euc w[e, u, c] . x[at[r] + off[e] + (i + u) xp + j + 4 c:][:4]   for i < m and j < n
Position j of a block is lane j // 4 of its vector j % 4, which is loaded j % 4 bytes further on: what is loaded serves several
rows.  n is rounded up to whole blocks: x and y have room behind for what these read and write.   Imports: simd, terms.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, Vec, least, repeat, sized, stay_whole
from .terms import Totals, staircase

LANES, STEPS, ROWS = 16, 4, 4
"""Sums of a vector, vectors of a row of a block, and its rows."""


@cache
def available() -> bool:
    """Whether there is an instruction for it."""
    return simd.vector_bytes() == 64 and "+avx512vnni" in simd.target()[2].split(",")


@intrinsic
def none(typing: Any, rows: Any) -> Any:
    """The sums of a block, all zero."""
    made = types.UniTuple(Vec(types.int32, LANES), STEPS * len(rows))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(context.get_value_type(made.dtype), None)
        return context.make_tuple(builder, made, [zero] * made.count)

    return made(rows), code


@intrinsic
def dot(typing: Any, acc: Any, x: Any, i: Any, xp: Any, w: Any, t: Any, h: Any, k: Any) -> Any:
    """A block of rows whose first reads x[i:]: the terms of w[t + u k + c] for u < h and c < k; h >= rows - 1."""
    index = types.int64

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, whole = Emit(context, builder, acc.dtype), ir.VectorType(SHORT, LANES)
        shape = ir.FunctionType(whole, [whole] * 3)
        times = cgutils.get_or_insert_function(builder.module, shape, "llvm.x86.avx512.vpdpbusd.512")
        _, rows, i, pitch, weights, t, high, many = args

        def taken(u: Any, total: Totals, served: range) -> Totals:
            start, tap = builder.add(i, builder.mul(u, pitch)), builder.add(t, builder.mul(u, many))

            def step(c: Any, total: Totals) -> Totals:
                place, total = emit.address(x, rows, builder.add(start, builder.mul(c, INDEX(STEPS)))), list(total)
                spots = [builder.gep(place, [INDEX(s)]) for s in range(STEPS)]
                line = [builder.load(builder.bitcast(spot, whole.as_pointer()), align=1) for spot in spots]
                for row in served:
                    at = builder.add(builder.sub(tap, builder.mul(many, INDEX(row))), c)
                    factor = emit.splat(emit.element(w, weights, at))
                    for s in range(STEPS):
                        n = row * STEPS + s
                        total[n] = builder.call(times, [total[n], line[s], factor])
                return total

            return repeat(builder, many, total, step)

        total = staircase(builder, acc.count // STEPS, high, cgutils.unpack_tuple(builder, args[0]), taken)
        return context.make_tuple(builder, acc, total)

    return acc(acc, x, index, index, w, index, index, index), code


@intrinsic
def put_turns(typing: Any, y: Any, i: Any, pitch: Any, acc: Any) -> Any:
    """Row r of the block to y[i + r pitch:], a sum of each vector in turn."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, values = Emit(context, builder, acc.dtype), cgutils.unpack_tuple(builder, args[3])

        def joined(a: Any, b: Any, count: int) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(SHORT, 2 * count), list(range(2 * count))))

        for row in range(len(values) // STEPS):
            first, second, third, fourth = values[row * STEPS : (row + 1) * STEPS]
            every = joined(joined(first, second, LANES), joined(third, fourth, LANES), 2 * LANES)
            for part in range(STEPS):
                order = [(part * LANES + l) // STEPS + (l % STEPS) * LANES for l in range(LANES)]
                value = builder.shuffle_vector(every, every, ir.Constant(ir.VectorType(SHORT, LANES), order))
                at = builder.add(builder.add(args[1], builder.mul(args[2], INDEX(row))), INDEX(part * LANES))
                emit.store(value, y, args[0], at)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, acc), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def quads(
    x: Any, w: Any, y: Any, at: Any, to: Any, off: Any, first: int, n: int, m: int, h: int, k: int, xp: int, yp: int, rows: Any
) -> None:  # fmt: skip
    """The sums at the head, of the weights from w[first] on.  Needs m and h + 1 to fill the rows of a block."""
    stay_whole()
    for r in range(len(at)):
        for i0 in range(0, m, len(rows)):
            i = least(i0, m - len(rows))
            for j in range(0, n, 64):
                acc = none(rows)
                for e in range(len(off)):
                    acc = dot(acc, x, at[r] + off[e] + i * xp + j, xp, w, first + e * h * k, h, k)
                put_turns(y, to[r] + i * yp + j, yp, acc)


def products(x: Any, w: Any, y: Any, at: Any, to: Any, off: Any, first: int, n: int, m: int, h: int, k: int, xp: int, yp: int) -> None:
    """`quads` by blocks of as many rows as there are, or as taps reach over."""
    sized(quads, (0,) * min(ROWS, m, h + 1))(x, w, y, at, to, off, first, n, m, h, k, xp, yp)
