"""Sums over boxes without weights, along one axis after the other.

x (outer, n, inner) flat -> y (outer, out, inner) flat, sums over k neighbours every `stride`.  `along`: blocks of k samples
are summed from their end backwards and from their start onwards; a box is an end of one block and a start of the next.
Nothing is subtracted: sums of squares keep their last digit, and NaN stays in the boxes that hold it.
Source: van Herk 1992, doi:10.1016/0167-8655(92)90069-C (there for minima).   Imports: simd.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, Vec, least, sized, stay_whole, vectors

WIDE = 256
"""Columns that go down together: as many as keep the ends of a block in the first caches."""


@intrinsic
def add(typing: Any, y: Any, i: Any, a: Any, p: Any, b: Any, q: Any, n: Any, lanes: Any) -> Any:
    """y[i + j] = a[p + j] + b[q + j], j < n; y may be a or b, at the same place."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(y.dtype, len(lanes)))

        def step(j: Any, few: Any, nothing: list[Any]) -> list[Any]:
            i, p, q = [builder.add(args[n], j) for n in (1, 3, 5)]
            emit.leave(few, emit.add(emit.take(few, a, args[2], p), emit.take(few, b, args[4], q)), y, args[0], i)
            return nothing

        vectors(builder, emit.lanes, args[6], [], step)
        return context.get_dummy_value()

    return types.void(y, types.int64, a, types.int64, b, types.int64, types.int64, lanes), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def along(x: Any, y: Any, room: Any, outer: int, n: int, inner: int, wide: int, k: int, stride: int, lanes: Any) -> None:
    """Any axis: `wide` columns of neighbours go down it together, three additions a sample however long the box.

    room: k rows for the ends of a block, one of zeros, one for the starts.
    """
    stay_whole()
    out, zero, start = (n - k) // stride + 1, k * wide, (k + 1) * wide
    for o in range(outer):
        for first in range(0, inner, wide):
            m = least(wide, inner - first)
            a, b = o * n * inner + first, o * out * inner + first
            for block in range(0, n - k + 1, k):
                for r in range(k - 1, -1, -1):
                    add(room, r * wide, x, a + (block + r) * inner, room, (r + 1) * wide, m, lanes)
                so_far = zero
                for r in range(least(k, n - k - block + 1)):
                    if r:
                        add(room, start, x, a + (block + r + k - 1) * inner, room, so_far, m, lanes)
                        so_far = start
                    if (block + r) % stride == 0:
                        add(y, b + (block + r) // stride * inner, room, r * wide, room, so_far, m, lanes)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def across(x: Any, y: Any, room: Any, outer: int, n: int, k: int, levels: int, stride: int, lanes: Any) -> None:
    """The last axis, inner = 1: sums over 1, 2, 4, ... neighbours, of which a box is as many as k has ones in base 2.

    room: a row for each of these `levels`, one of zeros, one for the sums.
    """
    stay_whole()
    made, zero, total = n - k + 1, levels * n, (levels + 1) * n
    out = (made - 1) // stride + 1
    for o in range(outer):
        done = 0
        add(room, 0, x, o * n, room, zero, n, lanes)
        for level in range(levels):
            here = level * n
            if k >> level & 1:
                add(room, total, room, total if done else zero, room, here + done, made, lanes)
                done += 1 << level
            if level + 1 < levels:
                add(room, here + n, room, here, room, here + (1 << level), n - (2 << level) + 1, lanes)
        if stride == 1:
            add(y, o * out, room, total, room, zero, made, lanes)
        else:
            for j in range(out):
                y[o * out + j] = room[total + j * stride]


@intrinsic
def shift(typing: Any, x: Any, i: Any, centre: Any, sums: Any, squares: Any, more: Any, n: Any, lanes: Any) -> Any:
    """x[i + j] -= centre, j < n; what is left, and its square, to sums[j] and squares[j], added if `more`; the largest finite one."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(x.dtype, len(lanes)))
        middle, added = emit.splat(args[2]), builder.icmp_signed("!=", args[5], INDEX(0))
        infinite = ir.Constant(emit.vector, [float("inf")] * emit.lanes)

        def step(j: Any, few: Any, total: list[Any]) -> list[Any]:
            at = builder.add(args[1], j)
            value = emit.sub(emit.take(few, x, args[0], at), middle)
            emit.leave(few, value, x, args[0], at)
            for kind, array, new in ((sums, args[3], value), (squares, args[4], emit.mul(value, value))):
                old = builder.select(added, emit.take(few, kind, array, j), emit.zero)
                emit.leave(few, emit.add(old, new), kind, array, j)
            size = emit.magnitude(value)
            larger = builder.and_(builder.fcmp_ordered("<", size, infinite), builder.fcmp_ordered(">", size, total[0]))
            if few is not None:
                larger = builder.and_(larger, emit.lane_is("<", few))
            return [builder.select(larger, size, total[0])]

        (largest,) = vectors(builder, emit.lanes, args[6], [emit.zero], step)
        found = builder.extract_element(largest, SHORT(0))
        for l in range(1, emit.lanes):
            one = builder.extract_element(largest, SHORT(l))
            found = builder.select(builder.fcmp_ordered(">", one, found), one, found)
        return found

    return types.float64(x, types.int64, types.float64, sums, squares, types.int64, types.int64, lanes), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def shifted(x: Any, centre: float, sums: Any, squares: Any, lanes: Any) -> float:
    largest, n = 0.0, len(sums)
    for c in range(len(x) // n):
        found = shift(x, c * n, centre, sums, squares, c, n, lanes)
        largest = found if found > largest else largest
    return largest


def centred(x: Any, centre: float, sums: Any, squares: Any) -> float:
    """x (C, n) flat -= centre; its sums over C (n,), and those of its squares; the largest finite sample."""
    found: float = sized(shifted, simd.block(x.itemsize).lanes)(x, centre, sums, squares)
    return found


def boxes(x: Any, spare: Any, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Sums over all boxes of x, whose last axes have these box sizes and strides.

    x and `spare`, as large, both contiguous, are written over in turn; the sums lie in one of them.
    """
    shape, lead = list(x.shape), x.ndim - len(sizes)
    here, there, lanes = x.reshape(-1), spare.reshape(-1), simd.block(x.itemsize).lanes
    for i, (k, stride) in enumerate(zip(sizes, strides, strict=True), start=lead):
        if k == stride == 1:
            continue
        outer, n, inner = prod(shape[:i]), shape[i], prod(shape[i + 1 :])
        shape[i] = (n - k) // stride + 1
        if inner == 1:
            levels = k.bit_length()
            sized(across, lanes)(here, there, np.zeros((levels + 2) * n, x.dtype), outer, n, k, levels, stride)
        else:
            wide = min(inner, WIDE)
            sized(along, lanes)(here, there, np.zeros((k + 2) * wide, x.dtype), outer, n, inner, wide, k, stride)
        here, there = there, here
    return here[: prod(shape)].reshape(shape)
