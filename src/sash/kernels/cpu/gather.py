"""SIMD values that go to and from places in a list: rows of a block that lie anywhere in memory.

acc is a tuple of rows * cols vectors, row by row, as in simd; `spots` are as many offsets as it has rows.
All of a block is read before any of it is written, so a place that stands twice in `spots` is written the same twice.
Imports: simd, terms.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INDEX, SHORT, Emit, Vec, repeat
from .terms import Totals

HALF = 16
"""Bytes within which shuffles are cheap on every CPU."""


@intrinsic
def note(typing: Any, gate: Any, g: Any, l: Any, p: Any, who: Any, n: Any) -> Any:
    """p to who[n]; n + 1 if gate[g] is l, else n, and the next one is written over this."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sign = builder.load(_place(context, builder, gate, args[0], args[1]))
        spot = _place(context, builder, who, args[4], args[5])
        builder.store(builder.trunc(args[3], spot.type.pointee), spot)
        return builder.add(args[5], builder.zext(builder.icmp_signed("==", builder.sext(sign, INDEX), args[2]), INDEX))

    return types.int64(gate, types.int64, types.int64, types.int64, who, types.int64), code


@intrinsic
def pick(typing: Any, at: Any, who: Any, r: Any, rows: Any) -> Any:
    """at[who[r]], at[who[r + 1]], ...: as many as rows is long."""
    made = types.UniTuple(types.int64, len(rows))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = []
        for i in range(made.count):
            p = builder.load(_place(context, builder, who, args[1], builder.add(args[2], INDEX(i))))
            found.append(builder.load(_place(context, builder, at, args[0], builder.sext(p, INDEX))))
        return context.make_tuple(builder, made, found)

    return made(at, who, types.int64, rows), code


@intrinsic
def lift(typing: Any, y: Any, spots: Any, shift: Any, lanes: Any, cols: Any) -> Any:
    """The accumulators of a block: row r from y[spots[r] + shift:]."""
    made = types.UniTuple(Vec(y.dtype, len(lanes)), len(cols) * len(spots))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, made.dtype)
        found = []
        for spot in cgutils.unpack_tuple(builder, args[1]):
            start = builder.add(spot, args[2])
            found += [emit.load(y, args[0], builder.add(start, INDEX(c * emit.lanes))) for c in range(len(cols))]
        return context.make_tuple(builder, made, found)

    return made(y, spots, types.int64, lanes, cols), code


@intrinsic
def drop(typing: Any, y: Any, spots: Any, shift: Any, acc: Any) -> Any:
    """Row r of the block to y[spots[r] + shift:]."""
    cols = acc.count // len(spots)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        values = cgutils.unpack_tuple(builder, args[3])
        for r, spot in enumerate(cgutils.unpack_tuple(builder, args[1])):
            start = builder.add(spot, args[2])
            for c in range(cols):
                emit.store(values[r * cols + c], y, args[0], builder.add(start, INDEX(c * emit.lanes)))
        return context.get_dummy_value()

    return types.void(y, spots, types.int64, acc), code


@intrinsic
def mix(typing: Any, acc: Any, x: Any, spots: Any, shift: Any, w: Any, i: Any, count: Any) -> Any:
    """x[spots[r] + shift + c] times the vectors at w[i + c W:], W elements, added to row r of acc, for c < count."""
    cols = acc.count // len(spots)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        spots = cgutils.unpack_tuple(builder, args[2])

        def step(l: Any, total: Totals) -> Totals:
            start = builder.add(args[5], builder.mul(l, INDEX(cols * emit.lanes)))
            line = [emit.load(w, args[4], builder.add(start, INDEX(c * emit.lanes))) for c in range(cols)]
            shift, made = builder.add(args[3], l), []
            for r, spot in enumerate(spots):
                # The spot first: what does not change stays in a register of its own, and one counter serves all rows.
                factor = emit.splat(builder.load(builder.gep(emit.address(x, args[1], spot), [shift])))
                made += [emit.fma(factor, line[c], total[r * cols + c]) for c in range(cols)]
            return made

        total = repeat(builder, args[6], cgutils.unpack_tuple(builder, args[0]), step)
        return context.make_tuple(builder, acc, total)

    return acc(acc, x, spots, types.int64, w, types.int64, types.int64), code


@intrinsic
def cross(typing: Any, acc: Any, x: Any, i: Any, at: Any, z: Any, j: Any, to: Any, who: Any, first: Any, count: Any, rows: Any) -> Any:
    """x[i + at[p] + r] times the vectors at z[j + to[p]:], added to row r of acc, for p = who[first] and so on, `count` of them."""
    cols = acc.count // len(rows)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)

        def step(l: Any, total: Totals) -> Totals:
            p = builder.sext(emit.element(who, args[7], builder.add(args[8], l)), INDEX)
            start = emit.address(z, args[4], builder.add(emit.element(to, args[6], p), args[5]))
            line = [_load(emit, builder.gep(start, [INDEX(c * emit.lanes)])) for c in range(cols)]
            origin, made = emit.address(x, args[1], builder.add(emit.element(at, args[3], p), args[2])), []
            for r in range(len(rows)):
                factor = emit.splat(builder.load(builder.gep(origin, [INDEX(r)])))
                made += [emit.fma(factor, line[c], total[r * cols + c]) for c in range(cols)]
            return made

        total = repeat(builder, args[9], cgutils.unpack_tuple(builder, args[0]), step)
        return context.make_tuple(builder, acc, total)

    return acc(acc, x, types.int64, at, z, types.int64, to, who, types.int64, types.int64, rows), code


@intrinsic
def grade(
    typing: Any, z: Any, i: Any, edge: Any, q: Any, n: Any, bins: Any, missing: Any, gate: Any, g: Any, few: Any, lanes: Any
) -> Any:  # fmt: skip
    """gate[g:] from depths z[i:]: the bin between the edges edge[q + m n:] that holds each, -1 outside all, `missing` without depth.

    After the edges comes a row of NaN where that is missing in the centre.  Compared in float64, whatever z is.  Of `few`
    lanes, unless that is None.
    """
    L, low, narrow = len(bins), ir.IntType(8), isinstance(few, types.Integer)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, deep, thin = (Emit(context, builder, Vec(a.dtype, len(lanes))) for a in (z, edge, gate))

        def load(side: Emit, *place: Any) -> Any:
            return side.load_first(args[9], *place) if narrow else side.load(*place)

        near = load(emit, z, args[0], args[1])
        if emit.bytes < deep.bytes:
            near = builder.fpext(near, deep.vector)
        lines = [load(deep, edge, args[2], builder.add(args[3], builder.mul(args[4], INDEX(m)))) for m in range(L + 2)]
        count = thin.zero
        for line in lines[: L + 1]:
            count = builder.add(count, builder.zext(builder.fcmp_ordered("<=", line, near), thin.vector))
        beyond = builder.icmp_signed("==", count, thin.splat(low(L + 1)))
        count = builder.sub(builder.select(beyond, thin.zero, count), thin.splat(low(1)))
        real = builder.and_(
            builder.fcmp_ordered(">", near, deep.zero),
            builder.fcmp_ordered("<", near, ir.Constant(deep.vector, [float("inf")] * len(lanes))),
        )
        real = builder.and_(real, builder.fcmp_ordered("ord", lines[-1], lines[-1]))
        found = builder.select(real, count, thin.splat(builder.trunc(args[6], low)))
        if narrow:
            thin.store_first(args[9], found, gate, args[7], args[8])
        else:
            thin.store(found, gate, args[7], args[8])
        return context.get_dummy_value()

    index = types.int64
    return types.void(z, index, edge, index, index, bins, index, gate, index, index if narrow else few, lanes), code


@intrinsic
def flip(typing: Any, x: Any, i: Any, xp: Any, y: Any, j: Any, yp: Any, lanes: Any) -> Any:
    """A square of lanes * lanes elements, transposed: y[j + b yp + a] = x[i + a xp + b]."""
    L = len(lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(x.dtype, L))
        lines = [emit.load(x, args[0], builder.add(args[1], builder.mul(args[2], INDEX(a)))) for a in range(L)]
        for b, line in enumerate(_transposed(emit, lines)):
            emit.store(line, y, args[3], builder.add(args[4], builder.mul(args[5], INDEX(b))))
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, y, types.int64, types.int64, lanes), code


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _load(emit: Emit, pointer: Any) -> Any:
    return emit.builder.load(emit.builder.bitcast(pointer, emit.vector.as_pointer()), align=emit.bytes)


def _transposed(emit: Emit, lines: list[Any]) -> list[Any]:
    """log2(lanes) rounds of shuffles of two vectors, each an unpack or an exchange of 16-byte pieces on x86.

    `names` says where each lane came from; what the rounds leave out of order is put in order by name.
    """
    L = emit.lanes
    names = [[(a, b) for b in range(L)] for a in range(L)]
    piece = min(max(HALF // emit.bytes, 1), L)  # lanes of 16 bytes
    gap = 1
    while gap < L:
        low, high = _masks(L, piece, gap)
        mask = [ir.Constant(ir.VectorType(SHORT, L), m) for m in (low, high)]
        for a in range(L):
            if not a & gap:
                pair, both = (lines[a], lines[a | gap]), names[a] + names[a | gap]
                lines[a], lines[a | gap] = (emit.builder.shuffle_vector(*pair, m) for m in mask)
                names[a], names[a | gap] = ([both[n] for n in m] for m in (low, high))
        gap *= 2
    order = {name[0][1]: a for a, name in enumerate(names)}
    found = [lines[order[b]] for b in range(L)]
    assert all(names[order[b]] == [(a, b) for a in range(L)] for b in range(L)), "the rounds do not transpose"
    return found


def _masks(L: int, piece: int, gap: int) -> tuple[list[int], list[int]]:
    """Which lanes of two vectors one round takes, for its low and its high result."""
    if gap < piece:  # groups of `gap` lanes, alternately from either vector, within 16 bytes
        groups = [[p + g * gap + k for k in range(gap)] for p in range(0, L, piece) for g in range(piece // gap)]
        half = piece // gap // 2
        low = [g for n, g in enumerate(groups) if n % (2 * half) < half]
        high = [g for n, g in enumerate(groups) if n % (2 * half) >= half]
        return tuple([k for g in side for v in (0, L) for k in [v + e for e in g]] for side in (low, high))  # type: ignore[return-value]
    pieces = [[p + k for k in range(piece)] for p in range(0, 2 * L, piece)]
    return tuple([k for p in pieces[s::2] for k in p] for s in (0, 1))  # type: ignore[return-value]
