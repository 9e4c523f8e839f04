"""Vectors on their way: from memory to memory, and asked for ahead of their use.

lanes (L,)   cols (C,)   rows (N,): sizes, as in simd.   Imports: simd.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INDEX, LINE, SHORT, Emit, Vec, repeat, vectors


@intrinsic
def carry(typing: Any, cell: Any, c: Any, y: Any, i: Any, add: Any, left: Any, lanes: Any) -> Any:
    """One vector from cell[c:] to y[i:]; if add, onto what y holds, but not in the first `left` lanes."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(cell.dtype if isinstance(cell.dtype, types.Float) else y.dtype, len(lanes)))
        new = emit.load(cell, args[0], args[1])
        with builder.if_else(builder.icmp_signed("!=", args[4], INDEX(0))) as (more, anew):
            with more:
                old = emit.load(y, args[2], args[3])
                sums = builder.select(emit.lane_is(">=", args[5]), emit.add(old, new), old)
                emit.store(sums, y, args[2], args[3])
            with anew:
                emit.store(new, y, args[2], args[3])
        return context.get_dummy_value()

    return types.void(cell, types.int64, y, types.int64, types.int64, types.int64, lanes), code


@intrinsic
def carry_lines(typing: Any, x: Any, i: Any, line: Any, y: Any, near: Any, n: Any, lanes: Any) -> Any:
    """n elements, a vector at least, from each x[i + line[q]:] to y[near[q]:], an array of floats."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(y.dtype, len(lanes)))
        last = builder.sub(args[5], INDEX(emit.lanes))  # the last vector overlaps the one before it
        many = builder.sdiv(builder.add(args[5], INDEX(emit.lanes - 1)), INDEX(emit.lanes))

        def row(q: Any, nothing: list[Any]) -> list[Any]:
            source, goal = builder.add(args[1], emit.element(line, args[2], q)), emit.element(near, args[4], q)

            def step(l: Any, nothing: list[Any]) -> list[Any]:
                j = builder.mul(l, INDEX(emit.lanes))
                j = builder.select(builder.icmp_signed("<", j, last), j, last)
                emit.store(emit.load(x, args[0], builder.add(source, j)), y, args[3], builder.add(goal, j))
                return nothing

            return repeat(builder, many, nothing, step)

        repeat(builder, emit.length(line, args[2]), [], row)
        return context.get_dummy_value()

    return types.void(x, types.int64, line, y, near, types.int64, lanes), code


@intrinsic
def fetch(typing: Any, x: Any, i: Any, lanes: Any, cols: Any, write: Any) -> Any:
    """Asks for the cache lines of cols vectors at x[i:] ahead of their use, to write if `write` is long; any i will do."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _ask(Emit(context, builder, Vec(x.dtype, len(lanes))), (x, args[0]), args[1], len(cols), bool(len(write)))
        return context.get_dummy_value()

    return types.void(x, types.int64, lanes, cols, write), code


@intrinsic
def fetch_lines(typing: Any, x: Any, i: Any, line: Any, first: Any, last: Any, lanes: Any, cols: Any) -> Any:
    """fetch to read at x[i + line[q]:], first <= q < last."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(x.dtype, len(lanes)))

        def step(l: Any, nothing: list[Any]) -> list[Any]:
            place = emit.element(line, args[2], builder.add(args[3], l))
            _ask(emit, (x, args[0]), builder.add(args[1], place), len(cols), False)
            return nothing

        repeat(builder, builder.sub(args[4], args[3]), [], step)
        return context.get_dummy_value()

    return types.void(x, types.int64, line, types.int64, types.int64, lanes, cols), code


@intrinsic
def fetch_block(typing: Any, y: Any, i: Any, pitch: Any, lanes: Any, cols: Any, rows: Any) -> Any:
    """fetch to write at y[i + r*pitch:], all rows of a block."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(y.dtype, len(lanes)))
        for r in range(len(rows)):
            _ask(emit, (y, args[0]), builder.add(args[1], builder.mul(args[2], INDEX(r))), len(cols), True)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, lanes, cols, rows), code


def _ask(emit: Emit, x: tuple[Any, Any], at: Any, cols: int, write: bool) -> None:
    builder, byte = emit.builder, ir.IntType(8).as_pointer()
    shape = ir.FunctionType(ir.VoidType(), [byte, SHORT, SHORT, SHORT])
    function = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0i8")
    for first in range(0, cols * emit.lanes, max(LINE // emit.bytes, 1)):
        pointer = builder.bitcast(emit.address(*x, builder.add(at, INDEX(first))), byte)
        builder.call(function, [pointer, SHORT(int(write)), SHORT(2), SHORT(1)])


@intrinsic
def add_all(typing: Any, total: Any, piece: Any, lost: Any, lanes: Any) -> Any:
    """All of `added`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(total.dtype, len(lanes)))

        def step(j: Any, few: Any, nothing: list[Any]) -> list[Any]:
            old, more, rest = [emit.take(few, total, a, j) for a in args[:3]]
            new = emit.add(old, more)
            part = emit.sub(new, old)
            gone = emit.add(emit.sub(old, emit.sub(new, part)), emit.sub(more, part))
            whole = builder.fcmp_ordered("==", emit.sub(gone, gone), emit.zero)  # an infinite sum loses nothing
            emit.leave(few, new, total, args[0], j)
            emit.leave(few, emit.add(rest, builder.select(whole, gone, emit.zero)), total, args[2], j)
            return nothing

        vectors(builder, emit.lanes, emit.length(total, args[0]), [], step)
        return context.get_dummy_value()

    return types.void(total, piece, lost, lanes), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def added(total: Any, piece: Any, lost: Any, lanes: Any) -> None:
    """total += piece, flat and of one type, what rounding loses going into `lost` (Knuth's two-sum: TAOCP 4.2.2)."""
    add_all(total, piece, lost, lanes)
