"""Sums over windows of bytes: 32 to 64 neighbouring positions a vector, 16-bit sums that go to 32 bits before they are full.

x (X,) uint8 flat   w (O, E, H, W) flat   y (Y,) uint32, zero   at, to (R,) blocks of M rows in x and y   off (E,) rows of taps
y[to[r] + o step + i yp + j] += sum_eut f(w[o, e, u, t], x[at[r] + off[e] + (i + u) xp + j + size t])   j < N, i < M
Words (w uint32, AVX-512BW): f is the sum of |x - k| over the 4 bytes of a word, `size` 4, by vdbpsadbw.  Taps (w uint8,
anywhere): f is min(x, k), since |x - k| = x + k - 2 min(x, k): one instruction where |x - k| takes three; `totals` has sum x.
N and M are rounded up to whole blocks: x and y have room behind for what these read and write.   Imports: simd.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, Vec, repeat, sized, stay_whole

BYTE, PAIR, WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)
WINDOWS = [0, 1, 1, 2, 2, 3, 3, 4]
"""Which 8 bytes of 64 stand in each half of a 128-bit lane, so that the lane holds the bytes of 8 positions."""

STARTS = (0x94, 0xE9)
"""Positions 0 to 7 of a lane start at its bytes 0 to 7, for the word after at 4 to 11."""

FULL = {4: 64, 1: 257}
"""Terms of 4 * 255, or of 255, that 16 bits hold."""

COLS = (0, 0)
"""Vectors of a block."""


@cache
def word() -> int:
    """Bytes that one term takes: 4 where there is an instruction for it, else 1."""
    return 4 if simd.vector_bytes() == 64 and "+avx512bw" in simd.target()[2].split(",") else 1


@cache
def _lanes() -> tuple[int, ...]:
    return (0,) * (32 if word() == 4 else simd.vector_bytes())


def span() -> int:
    """Positions of a block: rows are made in multiples of it."""
    return len(_lanes()) * len(COLS)


def _rows(m: int, h: int) -> tuple[int, ...]:
    """Rows of a block: what is loaded serves all of them."""
    return (0,) * (4 if m > 2 and h > 3 and word() == 4 else min(m, 2))


def _parts(w: Any) -> int:
    """Accumulators of one vector of positions: of bytes, one for all and one for the odd."""
    return 1 if w.dtype.bitwidth == 32 else 2


@intrinsic
def fresh(typing: Any, w: Any, lanes: Any, cols: Any, rows: Any) -> Any:
    """Accumulators of a block, all zero."""
    parts = _parts(w)
    made = types.UniTuple(Vec(types.uint16, len(lanes) // parts), parts * len(cols) * len(rows))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(context.get_value_type(made.dtype), None)
        return context.make_tuple(builder, made, [zero] * made.count)

    return made(w, lanes, cols, rows), code


@intrinsic(prefer_literal=True)
def meet(
    typing: Any, acc: Any, x: Any, i: Any, places: Any, w: Any, t: Any, words: Any, begin: Any, end: Any, pitch: Any,
    lanes: Any, cols: Any, lo: Any, hi: Any, terms: Any,
) -> Any:  # fmt: skip
    """The terms of w[t + words[c]] and those behind at x[i + places[c]:], added to rows lo..hi, for begin <= c < end.

    Row r takes those from w[t + words[c] - r*pitch].
    """
    L, C, parts = len(lanes), len(cols), _parts(w)
    many = terms.literal_value if parts == 1 else 1
    last = min(hi.literal_value, acc.count // (C * parts) - 1)
    step = _by_words if parts == 1 else _by_bytes

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(types.uint8, L))

        def met(l: Any, total: list[Any]) -> list[Any]:
            c, total, factors = builder.add(args[7], l), list(total), {}
            place = builder.add(args[2], emit.element(places, args[3], c))
            word = builder.add(args[5], emit.element(words, args[6], c))
            for row in range(lo.literal_value, last + 1):
                at = builder.sub(word, builder.mul(args[9], INDEX(row)))
                factors[row] = [emit.element(w, args[4], builder.add(at, INDEX(n))) for n in range(many)]
            for col in range(C):
                step(emit, total, emit.address(x, args[1], builder.add(place, INDEX(col * L))), factors, col, C)
            return total

        total = repeat(builder, builder.sub(args[8], args[7]), cgutils.unpack_tuple(builder, args[0]), met)
        return context.make_tuple(builder, acc, total)

    index = types.int64
    return acc(acc, x, index, places, w, index, words, index, index, index, lanes, cols, lo, hi, terms), code


def _by_words(emit: Emit, total: list[Any], place: Any, factors: dict[int, list[Any]], c: int, C: int) -> None:
    """32 sums of 4 differences; two words share a shuffle, for which the unit that adds differences must wait.

    Sums never saturate (FULL), but additions that would have a unit of their own on Intel; others take turns on that of the
    differences (Emerald Rapids: 0.41 ns for both, 0.60 with plain ones).
    """
    builder, whole, made = emit.builder, ir.VectorType(BYTE, 64), ir.VectorType(PAIR, 32)
    line = builder.load(builder.bitcast(place, ir.VectorType(INDEX, 8).as_pointer()), align=1)
    line = builder.bitcast(builder.shuffle_vector(line, line, ir.Constant(ir.VectorType(SHORT, 8), WINDOWS)), whole)
    shape = ir.FunctionType(made, [whole, whole, SHORT])
    sums = cgutils.get_or_insert_function(builder.module, shape, "llvm.x86.avx512.dbpsadbw.512")
    plus = cgutils.get_or_insert_function(builder.module, ir.FunctionType(made, [made, made]), "llvm.uadd.sat.v32i16")
    none = ir.Constant(ir.VectorType(SHORT, 16), None)
    for row, words in factors.items():
        for word, starts in zip(words, STARTS, strict=False):
            quad = builder.insert_element(ir.Constant(ir.VectorType(WORD, 16), ir.Undefined), word, SHORT(0))
            quad = builder.bitcast(builder.shuffle_vector(quad, quad, none), whole)
            term = builder.call(sums, [quad, line, SHORT(starts)])
            total[row * C + c] = builder.call(plus, [total[row * C + c], term])


def _by_bytes(emit: Emit, total: list[Any], place: Any, factors: dict[int, list[Any]], c: int, C: int) -> None:
    """The first accumulator adds pairs of positions as they lie, modulo 2^16, the second the odd ones alone."""
    builder, half = emit.builder, ir.VectorType(PAIR, emit.lanes // 2)
    eight = ir.Constant(half, [8] * (emit.lanes // 2))
    line = builder.load(builder.bitcast(place, emit.vector.as_pointer()), align=1)
    for row, (tap,) in factors.items():
        tap = emit.splat(tap)
        least = builder.select(builder.icmp_unsigned("<", line, tap), line, tap)
        pair, at = builder.bitcast(least, half), 2 * (row * C + c)
        total[at] = builder.add(total[at], pair)
        total[at + 1] = builder.add(total[at + 1], builder.lshr(pair, eight))


@intrinsic
def add_up(typing: Any, y: Any, i: Any, pitch: Any, w: Any, acc: Any, cols: Any) -> Any:
    """Row r of the block, in 32 bits, added to y[i + r*pitch:]; of words as they lie, for `settle` to put in order."""
    parts, C = _parts(w), len(cols)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[4])
        L = acc.dtype.lanes
        emit = Emit(context, builder, Vec(types.uint32, L * parts if parts == 2 else L // 2))

        def more(value: Any, at: Any) -> None:
            emit.store(builder.add(emit.load(y, args[0], at), value), y, args[0], at)

        for n in range(acc.count // parts):
            value = values[n * parts]
            row, col = divmod(n, C)
            at = builder.add(builder.add(args[1], builder.mul(args[2], INDEX(row))), INDEX(col * L * parts))
            if parts == 1:
                value = builder.bitcast(value, emit.vector)
                more(value, at)
                more(builder.lshr(value, ir.Constant(emit.vector, [16] * emit.lanes)), builder.add(at, INDEX(emit.lanes)))
                continue
            odd = values[n * parts + 1]
            even = builder.sub(value, builder.shl(odd, ir.Constant(odd.type, [8] * L)))
            order = [k // 2 + k % 2 * L for k in range(2 * L)]
            value = builder.shuffle_vector(even, odd, ir.Constant(ir.VectorType(SHORT, 2 * L), order))
            more(builder.zext(value, emit.vector), at)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, w, acc, cols), code


@intrinsic
def settle(typing: Any, y: Any, i: Any, pitch: Any, w: Any, lanes: Any, cols: Any, rows: Any) -> Any:
    """Takes the odd sums of words from the pairs and puts both in order; what bytes added up is in order already."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = len(lanes) // 2
        emit = Emit(context, builder, Vec(types.uint32, half))
        bits = ir.Constant(emit.vector, [16] * half)
        for n in range(len(rows) * len(cols) if _parts(w) == 1 else 0):
            row, col = divmod(n, len(cols))
            at = builder.add(builder.add(args[1], builder.mul(args[2], INDEX(row))), INDEX(col * 2 * half))
            behind = builder.add(at, INDEX(half))
            odd = emit.load(y, args[0], behind)
            even = builder.sub(emit.load(y, args[0], at), builder.shl(odd, bits))
            for place, first in ((at, 0), (behind, half)):
                order = [k // 2 + k % 2 * half for k in range(first, first + half)]
                mask = ir.Constant(ir.VectorType(SHORT, half), order)
                emit.store(builder.shuffle_vector(even, odd, mask), y, args[0], place)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, w, lanes, cols, rows), code


class Course(NamedTuple):
    """The terms of a block in one list, and the parts of it that are done in one loop each.

    Loops of the few words of a row took half of the time (24 x 24 x 3: 6 words).
    """

    places: Any
    """(T,) where a term is in x: the first of two in parts of kind R - 1, for R rows a block."""
    words: Any
    """(T,) where it is in w."""
    kinds: Any
    """(S,) what a part serves: before R - 1 the first kind + 1 rows of the block, R - 1 (two words a time) and R all of
    them, behind those all but the first kind - R."""
    starts: Any
    """(S + 1,) its terms."""
    empties: Any
    """(S,) whether the sums could overflow in it, and go to 32 bits before."""
    rows: tuple[int, ...]


def course(off: Any, m: int, h: int, k: int, xp: int) -> Course:
    """For templates of h rows of k terms at each of off, and m rows of outputs."""
    size, rows = word(), _rows(m, h)
    R, full, odd = len(rows), FULL[size], k % 2 if size > 1 else k
    groups, kinds, starts, empties, held = [], [], [0], [], 0
    for kind in range(2 * R):
        u = np.arange(R - 1, h) if R - 1 <= kind <= R else np.array([kind if kind < R - 1 else h + kind - R - 1])
        step = 2 if kind == R - 1 else 1
        c = np.arange(0, k - odd, 2) if kind == R - 1 else np.arange(k - odd if kind == R else 0, k)
        place = np.add.outer(np.add.outer(off, u * xp), c * size)
        groups.append((place.ravel(), np.add.outer(np.add.outer(np.arange(len(off)) * h, u) * k, c).ravel()))
        done = 0
        while done < place.size:
            empties.append(held + step > full)
            held = 0 if empties[-1] else held
            part = min((full - held) // step, place.size - done)
            done, held = done + part, held + part * step
            kinds.append(kind)
            starts.append(starts[-1] + part)
    places, words = (np.concatenate(group) for group in zip(*groups, strict=True))
    return Course(places, words, np.array(kinds), np.array(starts), np.array(empties), rows)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def spread(
    x: Any, w: Any, y: Any, at: Any, to: Any, n: int, m: int, k: int, xp: int, yp: int, first: int, count: int, step: int, taps: int,
    places: Any, words: Any, kinds: Any, starts: Any, empties: Any, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """Blocks of rows * cols vectors, one after the other; outputs first to first + count, of `taps` terms each."""
    stay_whole()
    R, C = len(rows), len(lanes) * len(cols)
    for o in range(count):
        t = (first + o) * taps
        for r in range(len(at)):
            for i in range(0, m, R):
                for j in range(0, n, C):
                    a, b = at[r] + i * xp + j, to[r] + o * step + i * yp + j
                    acc = fresh(w, lanes, cols, rows)
                    for s in range(len(kinds)):
                        if empties[s]:
                            add_up(y, b, yp, w, acc, cols)
                            acc = fresh(w, lanes, cols, rows)
                        kind, begin, end = kinds[s], starts[s], starts[s + 1]
                        if kind == R - 1:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 0, 3, 2)
                        elif kind == R:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 0, 3, 1)
                        elif kind == 0:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 0, 0, 1)
                        elif kind == 1:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 0, 1, 1)
                        elif kind == 2:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 0, 2, 1)
                        elif kind == R + 1:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 1, 3, 1)
                        elif kind == R + 2:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 2, 3, 1)
                        else:
                            acc = meet(acc, x, a, places, w, t, words, begin, end, k, lanes, cols, 3, 3, 1)
                    add_up(y, b, yp, w, acc, cols)
                    settle(y, b, yp, w, lanes, cols, rows)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def totals(x: Any, y: Any, at: Any, to: Any, off: Any, n: int, m: int, h: int, k: int, xp: int, yp: int) -> None:
    """y[to[r] + i yp + j] = sum over e, u < h and t < k of x[at[r] + off[e] + (i + u) xp + j + t], in 32 bits.

    Sums of columns gain one row of x and lose one from row to row of y.
    """
    stay_whole()
    wide = n + k - 1
    column = np.empty(wide, np.uint32)
    for r in range(len(at)):
        column[:] = 0
        for e in range(len(off)):
            for u in range(h):
                part = x[at[r] + off[e] + u * xp :]
                for j in range(wide):
                    column[j] += part[j]
        for i in range(m):
            if i:
                for e in range(len(off)):
                    old, new = x[at[r] + off[e] + (i - 1) * xp :], x[at[r] + off[e] + (i - 1 + h) * xp :]
                    for j in range(wide):
                        column[j] += np.uint32(new[j]) - np.uint32(old[j])
            line = y[to[r] + i * yp :]
            run = np.uint32(0)
            for j in range(k - 1):
                run += column[j]
            for j in range(n):
                run += column[j + k - 1]
                line[j] = run
                run -= column[j]


def sums(
    x: Any,
    w: Any,
    y: Any,
    at: Any,
    to: Any,
    way: Course,
    n: int,
    m: int,
    k: int,
    xp: int,
    yp: int,
    first: int,
    count: int,
    step: int,
    taps: int,
) -> None:
    """Outputs first to first + count of the sums at the head, of `taps` terms each, onto y."""
    sized(spread, _lanes(), COLS, way.rows)(x, w, y, at, to, n, m, k, xp, yp, first, count, step, taps, *way[:-1])
