"""2.5-D convolution position by position, for little arrays: one kernel from depth to sums.

x (N, C, A), y (N, O, P), depth (N, A), flat   read (T, S): samples, -1 outside, those of the centre in its middle; S: P and more
y[n, o, p] = sum over t, c of w[plane(n, t, p), t, c, o] x[n, c, read[t, p]]
w lies in blocks of W outputs, of one group each: (B, L, T, C / G, W).  One sum per output, t and then c ascending, as in
`gated`, whose bits these are.   Imports: simd, terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, Vec, least, put, repeat, seats, sized, stay_whole, zeros
from .terms import Totals

ROWS = 4
"""Positions at a time: as many chains of sums as two units for multiply-adds keep busy, and addresses for 16 registers."""

SEATS = 8
"""Positions whose planes are found at a time."""

WIDE = 2
"""Vectors of outputs at a time, at most."""


@intrinsic
def pour(typing: Any, acc: Any, x: Any, start: Any, spots: Any, pitch: Any, w: Any, base: Any, places: Any, count: Any) -> Any:
    """x[start + spots[r] + c pitch] times the vectors at w[base + places[r] + c W:] to row r of acc, where places[r] >= 0."""
    cols = acc.count // len(spots)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        places = cgutils.unpack_tuple(builder, args[7])
        reads = [builder.icmp_signed(">=", place, INDEX(0)) for place in places]
        spots = [builder.select(some, spot, INDEX(0)) for some, spot in zip(reads, cgutils.unpack_tuple(builder, args[3]), strict=True)]
        places = [builder.select(some, place, INDEX(0)) for some, place in zip(reads, places, strict=True)]
        sources = [emit.address(x, args[1], builder.add(args[2], spot)) for spot in spots]
        panels = [emit.address(w, args[5], builder.add(args[6], place)) for place in places]

        def step(l: Any, total: Totals) -> Totals:
            at, to, made = builder.mul(l, args[4]), builder.mul(l, INDEX(cols * emit.lanes)), []
            for r, (source, panel, some) in enumerate(zip(sources, panels, reads, strict=True)):
                factor = emit.splat(builder.load(builder.gep(source, [at])))
                for c in range(cols):
                    spot = builder.gep(panel, [builder.add(to, INDEX(c * emit.lanes))])
                    line = builder.load(builder.bitcast(spot, emit.vector.as_pointer()), align=emit.bytes)
                    old = total[r * cols + c]
                    made.append(builder.select(some, emit.fma(factor, line, old), old))
            return made

        total = repeat(builder, args[8], cgutils.unpack_tuple(builder, args[0]), step)
        return context.make_tuple(builder, acc, total)

    index = types.int64
    return acc(acc, x, index, spots, index, w, index, places, index), code


@intrinsic
def edged(typing: Any, depth: Any, d0: Any, centre: Any, p: Any, L: Any, ratio: Any, edge: Any, seat: Any) -> Any:
    """edge (L + 2, seats) of the positions whose centres are the samples centre[p:]: the edges of their bins, and their depth.

    Both are NaN where the centre has no depth.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = len(seat)
        deep, whole = Emit(context, builder, Vec(types.float64, lanes)), Emit(context, builder, Vec(types.int32, lanes))
        z = depths(deep, whole, depth, args[0], args[1], whole.load(centre, args[2], args[3]))
        infinite, nan = [ir.Constant(deep.vector, [value] * lanes) for value in (float("inf"), float("nan"))]
        real = builder.and_(builder.fcmp_ordered(">", z, deep.zero), builder.fcmp_ordered("<", z, infinite))
        z, (one, half) = builder.select(real, z, nan), [ir.Constant(ir.DoubleType(), value) for value in (1.0, 0.5)]
        middle = builder.fmul(builder.sitofp(args[4], ir.DoubleType()), half)

        def step(m: Any, nothing: Totals) -> Totals:
            way = builder.fmul(builder.fsub(builder.sitofp(m, ir.DoubleType()), middle), args[5])
            deep.store(builder.fmul(z, deep.splat(builder.fadd(one, way))), edge, args[6], builder.mul(m, INDEX(lanes)))
            return nothing

        last = builder.add(args[4], INDEX(1))
        repeat(builder, last, [], step)
        deep.store(z, edge, args[6], builder.mul(last, INDEX(lanes)))
        return context.get_dummy_value()

    index = types.int64
    return types.void(depth, index, centre, index, index, types.float64, edge, seat), code


def depths(deep: Emit, whole: Emit, depth: Any, array: Any, start: Any, spots: Any) -> Any:
    """depth[start + spots], as `deep` has it; NaN where a spot is negative.

    Spots that are neighbours are read as such: gathering eight takes a Zen 4 ten times as long.
    """
    builder, near = deep.builder, Emit(deep.context, deep.builder, Vec(depth.dtype, deep.lanes))
    first, count = builder.extract_element(spots, SHORT(0)), deep.lanes
    ramp = builder.add(whole.splat(first), ir.Constant(whole.vector, list(range(count))))
    aside = builder.bitcast(builder.icmp_signed("!=", spots, ramp), ir.IntType(count))
    begins = builder.icmp_signed(">=", first, SHORT(0))
    together = builder.and_(begins, builder.icmp_unsigned("==", aside, ir.IntType(count)(0)))
    with builder.if_else(together) as (neighbours, apart):
        with neighbours:
            line = near.load(depth, array, builder.add(start, builder.sext(first, INDEX)))
            after_line = builder.block
        with apart:
            inside = builder.icmp_signed(">=", spots, whole.zero)
            found = near.gather(depth, array, start, builder.select(inside, spots, whole.zero))
            found = builder.select(inside, found, ir.Constant(near.vector, [float("nan")] * count))
            after_found = builder.block
    read = builder.phi(near.vector)
    read.add_incoming(line, after_line)
    read.add_incoming(found, after_found)
    return read if depth.dtype == deep.kind else builder.fpext(read, deep.vector)


@intrinsic
def binned(
    typing: Any, depth: Any, d0: Any, read: Any, i: Any, edge: Any, L: Any, missing: Any, t: Any, T: Any, each: Any, place: Any, seat: Any
) -> Any:  # fmt: skip
    """place[i:] = each times (plane, tap t) of the positions that read the samples read[i:]; -1 where nothing is read.

    edge (L + 2, seats): the edges of their bins, and the centre's depth, NaN where it has none.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = len(seat)
        deep, whole = Emit(context, builder, Vec(types.float64, lanes)), Emit(context, builder, Vec(types.int32, lanes))

        def short(value: Any) -> Any:
            return whole.splat(builder.trunc(value, SHORT))

        spots = whole.load(read, args[2], args[3])
        inside = builder.icmp_signed(">=", spots, whole.zero)
        near = depths(deep, whole, depth, args[0], args[1], spots)

        def step(m: Any, total: Totals) -> Totals:
            line = deep.load(edge, args[4], builder.mul(m, INDEX(lanes)))
            return [builder.add(total[0], builder.zext(builder.fcmp_ordered("<=", line, near), whole.vector))]

        (count,) = repeat(builder, builder.add(args[5], INDEX(1)), [whole.zero], step)
        centre = deep.load(edge, args[4], builder.mul(builder.add(args[5], INDEX(1)), INDEX(lanes)))
        infinite = ir.Constant(deep.vector, [float("inf")] * lanes)
        real = builder.and_(builder.fcmp_ordered(">", near, deep.zero), builder.fcmp_ordered("<", near, infinite))
        real = builder.and_(real, builder.fcmp_ordered("ord", centre, centre))
        beyond = builder.icmp_signed(">", count, short(args[5]))
        count = builder.sub(builder.select(beyond, whole.zero, count), short(INDEX(1)))
        count = builder.select(real, count, short(args[6]))
        goal = builder.mul(builder.add(builder.mul(count, short(args[8])), short(args[7])), short(args[9]))
        some = builder.and_(inside, builder.icmp_signed(">=", count, whole.zero))
        whole.store(builder.select(some, goal, short(INDEX(-1))), place, args[10], args[3])
        return context.get_dummy_value()

    index = types.int64
    return types.void(depth, index, read, index, edge, index, index, index, index, index, place, seat), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def planes(
    depth: Any, d0: int, read: Any, ratio: float, S: int, T: int, L: int, missing: int, each: int, place: Any, edge: Any, seat: Any
) -> None:  # fmt: skip
    """place (T, S) = each times (plane, tap), -1 where nothing is read."""
    for p in range(0, S, len(seat)):
        edged(depth, d0, read, T // 2 * S + p, L, ratio, edge, seat)
        for t in range(T):
            binned(depth, d0, read, t * S + p, edge, L, missing, t, T, each, place, seat)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def summed(
    x: Any, w: Any, y: Any, depth: Any, read: Any, blocks: Any, ratios: Any, place: Any, edge: Any, cell: Any,
    N: int, A: int, P: int, C: int, L: int, missing: int, lanes: Any, cols: Any, rows: Any, seat: Any,
) -> None:  # fmt: skip
    """Blocks of outputs: blocks (3, B) tells where their samples begin, where they go, and how many outputs there are.

    place (T, S), edge (L + 2, SEATS), cell (M, W): room.  Without depth (of no samples), place tells the planes.
    """
    stay_whole()
    M, W, S, B = len(rows), len(lanes) * len(cols), (P + len(seat) - 1) // len(seat) * len(seat), len(blocks) // 3
    T = len(read) // S
    for n in range(N):
        if len(depth):
            planes(depth, n * A, read, ratios[n], S, T, L, missing, C * W, place, edge, seat)
        for b in range(B):
            x0, w0, y0 = n * (len(x) // N) + blocks[b], b * (L * T * C * W), n * (len(y) // N) + blocks[B + b]
            for p in range(0, P, M):
                count = least(M, P - p)
                acc = zeros(w, lanes, cols, rows)
                for t in range(T):
                    i = t * S + p
                    acc = pour(acc, x, x0, seats(read, i, count, rows), A, w, w0, seats(place, i, count, rows), C)
                put(cell, 0, W, acc, cols)
                for r in range(count):
                    for o in range(blocks[2 * B + b]):
                        y[y0 + o * P + p + r] = cell[r * W + o]


def width(O: int, itemsize: int) -> tuple[int, int]:
    """(lanes, vectors) of a block of outputs, of O in each group."""
    lanes = len(simd.block(itemsize).lanes)
    return min(lanes, 1 << (O - 1).bit_length()), min(-(-O // lanes), WIDE)


def mapped(gate: Any, read: Any, each: int, place: Any) -> None:
    """place (T, S) of a plane map (T, P)."""
    place[...] = -1
    found = place[:, : gate.shape[1]]
    found[...] = gate
    found *= len(gate)
    found += np.arange(len(gate), dtype=place.dtype)[:, None]
    found *= each
    found[(gate < 0) | (read[:, : gate.shape[1]] < 0)] = -1


def settled(O: int, dtype: Any, tables: Any, counts: tuple[int, ...]) -> Callable[..., None]:
    """(x, w, y, depth, ratios, gate) for O outputs in each group; tables: read and blocks, counts: N to missing, as in `summed`.

    gate (N, T, P): a plane map, where depth is empty.
    """
    lanes, cols = width(O, dtype.itemsize)
    kernel = sized(summed, (0,) * lanes, (0,) * cols, (0,) * ROWS, (0,) * SEATS)
    read, block, (N, _, _, C, L, _) = tables[0], ROWS * lanes * cols, counts
    told = (read.reshape(-1), tables[1].reshape(-1))

    def call(x: Any, w: Any, y: Any, depth: Any, ratios: Any, gate: Any) -> None:
        place, edge, cell = np.empty(read.shape, np.int32), np.empty((L + 2) * SEATS), np.empty(block, dtype)
        room = (place.reshape(-1), edge, cell)
        if gate is None:
            kernel(x, w, y, depth, *told, ratios, *room, *counts)
            return
        for one, source, goal in zip(gate, x.reshape(N, -1), y.reshape(N, -1), strict=True):
            mapped(one, read, C * lanes * cols, place)
            kernel(source, w, goal, depth, *told, ratios, *room, 1, *counts[1:])

    return call
