"""The sums at the heart of the kernels: accumulators of a register block gain the terms of many taps.

acc: a tuple of rows * cols vectors, row by row   op: the term, as in simd   w, v flat   off, line: tables of places in x, contiguous int64
The loops over taps are written here, as LLVM wants them: of Numba's own each takes 20 ms to compile.   Imports: simd.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INDEX, PLAIN_ABSOLUTE, UNWEIGHTED, Emit, repeat

Totals = list[Any]
"""The vectors of a block while they are in registers."""


def staircase(builder: Any, rows: int, high: Any, total: Totals, taken: Callable[[Any, Totals, range], Totals]) -> Totals:
    """`taken(u, total, served)` for each row u of x that a block with `high` taps, rows - 1 at least, reads, and the rows it serves.

    Row u serves row r of the block, where it meets the tap u - r.
    """
    for u in range(rows - 1):  # above the last row of the block
        total = taken(INDEX(u), total, range(u + 1))
    inner = builder.sub(high, INDEX(rows - 1))
    total = repeat(builder, inner, total, lambda u, held: taken(builder.add(u, INDEX(rows - 1)), held, range(rows)))
    for u in range(rows - 1):  # below the last tap of its first row
        total = taken(builder.add(high, INDEX(u)), total, range(u + 1, rows))
    return total


def between(emit: Emit, j: Any, n: Any, spots: range, inner: int, width: int, past: Any) -> Callable[[Any, int], Totals]:
    """Of a row of n samples `width` vectors from sample j + o on, for each o of `spots`: read(start, o), start at sample j + spots[0].

    What lies before the row's first sample, in the first vector where o < 0, or behind its last, in the last one where
    o >= inner, is in no memory, and reads `past`.
    """
    builder, L = emit.builder, emit.lanes
    begun = {o: emit.lane_is(">=", builder.neg(builder.add(j, INDEX(o)))) for o in spots if o < 0}
    left = {o: emit.lane_is("<", builder.sub(n, builder.add(j, INDEX(o + (width - 1) * L)))) for o in spots if o >= inner}

    def read(start: Any, o: int) -> Totals:
        found = []
        for c in range(width):
            masks = [begun[o]] if c == 0 and o in begun else []
            masks += [left[o]] if c == width - 1 and o in left else []
            found.append(emit.ahead(start, o - spots.start + c * L, masks, past))
        return found

    return read


def _weights(emit: Emit, op: int, signature: Any, args: Any, first: int, index: Any) -> tuple[Any, Any]:
    """Splats of w[index] and, where the term has a weight, v[index]; w and v are arguments first and first + 1."""
    w = emit.splat(emit.element(signature.args[first], args[first], index))
    at = INDEX(0) if op == len(PLAIN_ABSOLUTE) else index
    v = None if op in UNWEIGHTED else emit.splat(emit.element(signature.args[first + 1], args[first + 1], at))
    return w, v


@intrinsic
def gain(typing: Any, op: Any, acc: Any, cols: Any, x: Any, i: Any, off: Any, w: Any, v: Any, t: Any, count: Any) -> Any:
    """One row of cols vectors: the terms of w[t + l] at x[i + off[l]:], l < count."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)

        def step(l: Any, total: Totals) -> Totals:
            at = builder.add(args[4], emit.element(off, args[5], l))
            weights = _weights(emit, len(op), signature, args, 6, builder.add(args[8], l))
            return met(emit, len(op), total, len(cols), (x, args[3]), at, range(1), lambda row: weights)

        total = repeat(builder, args[9], cgutils.unpack_tuple(builder, args[1]), step)
        return context.make_tuple(builder, acc, total)

    return acc(op, acc, cols, x, types.int64, off, w, v, types.int64, types.int64), code


@intrinsic(prefer_literal=True)
def gain_rows(
    typing: Any, op: Any, acc: Any, cols: Any, x: Any, i: Any, line: Any, q: Any, d: Any, w: Any, v: Any, t: Any, h: Any, k: Any
) -> Any:  # fmt: skip
    """A block of rows: the terms of w[t + u k + l] at x[i + line[q + r + u] + l d:] for row r, u < h and l < k; h >= rows - 1.

    Each row of x is loaded once and serves all rows of the block that have a tap there.  A k written as 1 saves the loop
    over l.
    """
    width, column = len(cols), isinstance(k, types.IntegerLiteral) and k.literal_value == 1

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, size = Emit(context, builder, acc.dtype), len(op)
        start, origin, apart, first, high, many = (args[n] for n in (4, 6, 7, 10, 11, 12))

        def taken(u: Any, total: Totals, served: range) -> Totals:
            row = builder.add(start, emit.element(line, args[5], builder.add(origin, u)))
            tap = builder.add(first, builder.mul(u, many))

            def step(l: Any, total: Totals) -> Totals:
                def weights(r: int) -> Any:
                    return _weights(emit, size, signature, args, 8, builder.add(builder.sub(tap, builder.mul(many, INDEX(r))), l))

                return met(emit, size, total, width, (x, args[3]), builder.add(row, builder.mul(l, apart)), served, weights)

            return step(INDEX(0), total) if column else repeat(builder, many, total, step)

        total = staircase(builder, acc.count // width, high, cgutils.unpack_tuple(builder, args[1]), taken)
        return context.make_tuple(builder, acc, total)

    index = types.int64
    return acc(op, acc, cols, x, index, line, index, index, w, v, index, index, k if column else index), code


@intrinsic
def gain_apart(typing: Any, op: Any, acc: Any, x: Any, spots: Any, shift: Any, off: Any, w: Any, v: Any, t: Any, count: Any) -> Any:
    """As gain, each vector loaded from its own place x[spots[i] + shift + off[l]:]."""
    kinds = acc(op, acc, x, spots, types.int64, off, w, v, types.int64, types.int64)
    return kinds, _apart(kinds, lambda emit, args: emit.load)


@intrinsic
def gain_narrow(
    typing: Any, op: Any, acc: Any, x: Any, spots: Any, shift: Any, off: Any, w: Any, v: Any, t: Any, count: Any, few: Any
) -> Any:  # fmt: skip
    """As gain_apart for `few` lanes; the memory of the others is not touched."""
    kinds = acc(op, acc, x, spots, types.int64, off, w, v, types.int64, types.int64, types.int64)
    return kinds, _apart(kinds, lambda emit, args: partial(emit.load_first, args[10]))


def _apart(kinds: Any, loader: Callable[[Emit, Any], Callable[..., Any]]) -> Callable[..., Any]:
    op, acc, x, _, _, off = kinds.args[:6]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        load, spots = loader(emit, args), cgutils.unpack_tuple(builder, args[3])

        def step(l: Any, total: Totals) -> Totals:
            a, b = _weights(emit, len(op), signature, args, 6, builder.add(args[8], l))
            at = builder.add(args[4], emit.element(off, args[5], l))
            lines = [load(x, args[2], builder.add(spot, at)) for spot in spots]
            return [emit.term(len(op), a, b, line, held) for line, held in zip(lines, total, strict=True)]

        total = repeat(builder, args[9], cgutils.unpack_tuple(builder, args[1]), step)
        return context.make_tuple(builder, acc, total)

    return code


def met(
    emit: Emit, op: int, total: Totals, width: int, x: tuple[Any, Any], at: Any, rows: range, weights: Callable[[int], tuple[Any, Any]]
) -> Totals:
    """total and the terms of `width` vectors at x[at:], loaded once, for these rows of a block; `weights` gives w and v of each."""
    line, total = [emit.load(*x, emit.builder.add(at, INDEX(c * emit.lanes))) for c in range(width)], list(total)
    for row in rows:
        a, b = weights(row)
        for c in range(width):
            total[row * width + c] = emit.term(op, a, b, line[c], total[row * width + c])
    return total
