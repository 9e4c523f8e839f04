"""Many outputs of the same samples: what is loaded of x serves several of them, whatever the rank, stride or dilation.

x (X,) and y (Y,) flat   w (B, T, R): R outputs of each of B blocks   at, to (P,) rows of x and y   base, goal (B,)   off (T,)
y[to[p] + goal[b] + r pitch + j] = sum_t w[b,t,r] x[at[p] + base[b] + off[t] + j]   for 0 <= j < n, NARROW at least
cuts (2, K + 1): rows cuts[0, k] to cuts[0, k + 1] are made of the taps cuts[1, k] to cuts[1, k + 1]; flat
A register block is R outputs of C vectors, which need not lie in one row: no lane is idle but at a row's end.  One
accumulator per output and taps in ascending order: the same bits as taps.  `turned` lays the weights out, and `drawn` takes rows
out of joined ones.   Imports: moves, simd, terms, weave.
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
from .moves import carry
from .simd import INDEX, SHORT, Emit, least, repeat, sized, stay_whole, zeros
from .terms import Totals
from .weave import knit

COLUMNS = {4: {8: 3, 6: 4, 4: 6, 3: 7, 2: 8}, 3: {6: 2, 4: 2, 3: 3, 2: 4}}
"""C for each R: as many accumulators as leave room for C vectors and a factor, for either side of `simd.block`."""

NARROW = 4
"""Outputs of a row at least: shorter rows are left to taps, a vector with idle lanes each."""


PACKED, MANY = 8, 1 << 13
"""Taps that are laid out at a time, of so many weights at least (64 x 576: 27 us by NumPy, 14 by shuffles)."""


class Form(NamedTuple):
    """How the outputs of a group are made: R at a time, beginning with `first`."""

    first: tuple[int, ...]
    rows: tuple[int, ...]
    cols: tuple[int, ...]


def form(outputs: int, itemsize: int) -> Form:
    """The blocks that make the fewest outputs twice; of those the largest."""
    return _form(outputs, len(simd.block(itemsize).rows))


@cache
def _form(outputs: int, side: int) -> Form:
    sizes = COLUMNS[side]
    R = min((r for r in sizes if r <= outputs), key=lambda r: (-(-outputs // r) * r, -r))
    first = tuple([min(o, outputs - R) for o in range(0, outputs, R)])
    return Form(first, (0,) * R, (0,) * sizes[R])


@cache
def heads(outputs: int, groups: int, itemsize: int) -> Any:
    """The first output of each block, of all outputs."""
    each = outputs // groups
    return np.add.outer(np.arange(groups) * each, form(each, itemsize).first).reshape(-1)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def turned(w: Any, first: Any, T: int, y: Any, lanes: Any, rows: Any) -> None:
    """Block b of y (B, T, R): the R rows of T weights at w[first[b]:], tap by tap."""
    stay_whole()
    L, R = len(lanes), len(rows)
    for b in range(len(first)):
        for t in range(0, T, L):
            j = least(t, T - L)
            knit(w, first[b] + j, T, y, (b * T + j) * R, lanes, rows)


def pack(w: Any, groups: int) -> Any:
    """(O, T) to (B, T, R): the weights of each block's outputs side by side, tap by tap."""
    shape, first = form(len(w) // groups, w.itemsize), heads(len(w), groups, w.itemsize)
    rows, lanes = len(shape.rows), (0,) * PACKED
    if w.size >= MANY and w.shape[1] >= PACKED:
        found = np.empty((len(first), w.shape[1], rows), w.dtype)
        sized(turned, lanes, shape.rows)(w.reshape(-1), first * w.shape[1], w.shape[1], found.reshape(-1))
        return found
    if len(first) * rows == len(w):
        return np.ascontiguousarray(w.reshape(len(first), rows, -1).swapaxes(1, 2))
    return np.ascontiguousarray(w[np.add.outer(first, np.arange(rows))].swapaxes(1, 2))


def lanes(n: int, itemsize: int) -> tuple[int, ...]:
    """Lanes of the widest vector that a row of n outputs fills: 0 if they are fewer than NARROW."""
    widest = len(simd.block(itemsize).lanes)
    return (0,) * min(widest, 1 << n.bit_length() - 1) if n >= NARROW else ()


@intrinsic
def vectors(typing: Any, at: Any, f: Any, end: Any, V: Any, last: Any, lanes: Any, cols: Any) -> Any:
    """Where vectors f, f + 1, ... begin, of rows of V vectors each, the last of them at `last`; from `end` on the one before it."""
    made = types.UniTuple(types.int64, len(cols))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = context.make_array(at)(context, builder, args[0])
        most, found = builder.sub(args[2], INDEX(1)), []
        for c in range(len(cols)):
            n = builder.add(args[1], INDEX(c))
            n = builder.select(builder.icmp_signed("<", n, most), n, most)
            row = builder.udiv(n, args[3])
            j = builder.mul(builder.sub(n, builder.mul(row, args[3])), INDEX(len(lanes)))
            j = builder.select(builder.icmp_signed("<", j, args[4]), j, args[4])
            found.append(builder.add(builder.load(builder.gep(rows.data, [row])), j))
        return context.make_tuple(builder, made, found)

    return made(at, types.int64, types.int64, types.int64, types.int64, lanes, cols), code


@intrinsic
def fan(typing: Any, acc: Any, x: Any, spots: Any, shift: Any, off: Any, a: Any, b: Any, w: Any, k: Any) -> Any:
    """The vectors at x[spots[c] + shift + off[t]:], each times w[k + t R + r] to row r of acc's R, for a <= t < b."""
    cols = len(spots)
    rows = acc.count // cols

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        inside, spots = emit.inside(x), cgutils.unpack_tuple(builder, args[2])
        first = emit.address(w, args[7], args[8])

        def step(n: Any, total: Totals) -> Totals:
            t = builder.add(args[5], n)
            at, line, made = builder.add(args[3], emit.element(off, args[4], t)), [], []
            for spot in spots:
                # The spot first: what does not change stays in a register of its own, and one counter serves all columns.
                pointer = builder.bitcast(builder.gep(emit.address(x, args[1], spot), [at]), inside.as_pointer())
                line.append(emit.widened(x.dtype, builder.load(pointer, align=x.dtype.bitwidth // 8)))
            start = builder.gep(first, [builder.mul(t, INDEX(rows))])
            for r in range(rows):
                factor = emit.splat(builder.load(builder.gep(start, [INDEX(r)])))
                made += [emit.fma(factor, line[c], total[r * cols + c]) for c in range(cols)]
            return made

        total = repeat(builder, builder.sub(args[6], args[5]), cgutils.unpack_tuple(builder, args[0]), step)
        return context.make_tuple(builder, acc, total)

    index = types.int64
    return acc(acc, x, spots, index, off, index, index, w, index), code


@intrinsic
def ask(typing: Any, y: Any, spots: Any, shift: Any, pitch: Any, rows: Any) -> Any:
    """Asks for the cache lines of y that put_apart will write (8 images of 3 -> 16 channels, 224²: 7.6 ms, then 5.8)."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [byte, SHORT, SHORT, SHORT])
        function = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0i8")
        data = context.make_array(y)(context, builder, args[0]).data
        for place in cgutils.unpack_tuple(builder, args[1]):
            for r in range(len(rows)):
                at = builder.add(builder.add(args[2], builder.mul(args[3], INDEX(r))), place)
                pointer = builder.bitcast(builder.gep(data, [at]), byte)
                builder.call(function, [pointer, SHORT(1), SHORT(3), SHORT(1)])
        return context.get_dummy_value()

    return types.void(y, spots, types.int64, types.int64, rows), code


@intrinsic
def put_apart(typing: Any, y: Any, spots: Any, shift: Any, pitch: Any, acc: Any) -> Any:
    """Row r of acc to y[spots[c] + shift + r pitch:]."""
    cols = len(spots)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        places = cgutils.unpack_tuple(builder, args[1])
        for n, value in enumerate(cgutils.unpack_tuple(builder, args[4])):
            r, c = divmod(n, cols)
            row = builder.add(args[2], builder.mul(args[3], INDEX(r)))
            emit.store(value, y, args[0], builder.add(places[c], row))
        return context.get_dummy_value()

    return types.void(y, spots, types.int64, types.int64, acc), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def blocks(
    x: Any, w: Any, y: Any, at: Any, to: Any, base: Any, goal: Any, off: Any, cuts: Any, pitch: int, n: int,
    lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """Blocks of vectors, all outputs of each."""
    stay_whole()
    L, C, R, T, K = len(lanes), len(cols), len(rows), len(off), len(cuts) // 2 - 1
    V = (n + L - 1) // L
    for k in range(K):
        end = cuts[k + 1] * V
        for f in range(cuts[k] * V, end, C):
            source = vectors(at, f, end, V, n - L, lanes, cols)
            target = vectors(to, f, end, V, n - L, lanes, cols)
            for b in range(len(base)):
                ask(y, target, goal[b], pitch, rows)
                acc = fan(zeros(w, lanes, cols, rows), x, source, base[b], off, cuts[K + 1 + k], cuts[K + 2 + k], w, b * T * R)
                put_apart(y, target, goal[b], pitch, acc)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def drawn(t: Any, pitch: int, y: Any, to: Any, step: Any, n: int, lanes: Any) -> None:
    """Rows of n elements, `pitch` apart in t, to y[step[o] + to[r]:], those of output 0 first."""
    stay_whole()
    L, P = len(lanes), len(to)
    for o in range(len(step)):
        for r in range(P):
            for j in range(0, n, L):
                i = least(j, n - L)
                carry(t, (o * P + r) * pitch + i, y, step[o] + to[r] + i, 0, 0, lanes)


def settled(itemsize: int, outputs: int, tables: tuple[Any, ...], pitch: int, n: int, cuts: Any = None) -> Callable[[Any, Any, Any], None]:
    """(x, w, y), x and y flat, in blocks as `form` has them for `outputs` of a group; tables: at to off."""
    _, rows, cols = form(outputs, itemsize)
    kernel = sized(blocks, lanes(n, itemsize), cols, rows)
    cuts = np.array([0, len(tables[0]), 0, len(tables[-1])]) if cuts is None else cuts
    return lambda x, w, y: kernel(x, w.reshape(-1), y, *tables, cuts, pitch, n)
