"""Channels without a frame: rows are read where they lie, those of stride 2 dealt out in registers; a border is in no memory.

x, y flat   at, goal (I,) where image i begins in x and y   w (G, P, H, k), image i takes row i % G
Row (r, q) of m results lies at far_to[r] + near_to[q], and reads rows of n samples at far (R, P) + near (Q, H): the planes of all
axes but the last two, and the rows.  BLANK in either: a border that is `past` all along.
Result j of a row reads samples s j + first + l, s being 1 or 2; what lies outside a row is `past`.  The sums are in the order of taps.
Imports: simd.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, least, most, repeat, stay_whole, zeros

BLANK = -1
REACH = range(-3, 4)
"""Where, from sample s j on, the taps of result j may lie: with stride 2 in the vector that holds it and its neighbours."""


@intrinsic
def gain_frameless(
    typing: Any, acc: Any, x: Any, a: Any, j: Any, n: Any, far: Any, r: Any, P: Any, near: Any, q: Any, H: Any, w: Any, t: Any, past: Any,
    count: Any, lead: Any, ways: Any,
) -> Any:  # fmt: skip
    """The terms of results j, j + 1, ... of a row; as many taps as count is long, the first where `lead` says in REACH."""
    index, first, stride = types.int64, REACH.start + len(lead) - 1, len(ways)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        _, rows, a, j, n, planes, r, P, lines, q, H, weights, t, past, *_ = args
        L, k, sums = emit.lanes, count.count, cgutils.unpack_tuple(builder, args[0])
        C, beyond, here = len(sums), emit.splat(past), builder.mul(j, INDEX(stride))
        left = builder.sub(n, here)
        inside = [emit.lane_is("<", builder.sub(left, INDEX(v * L))) for v in range(2 * C)]

        def within(ahead: int) -> Any:
            """Lanes of the vector `ahead` that lie in the row."""
            begun = emit.lane_is(">=", builder.neg(builder.add(here, INDEX(ahead))))
            return builder.and_(begun, emit.lane_is("<", builder.sub(left, INDEX(ahead))))

        valid = [[within(first + l + c * L) for c in range(C)] for l in range(k)] if stride == 1 else []

        def chosen(*lanes: int) -> Any:
            return ir.Constant(ir.VectorType(SHORT, L), list(lanes))

        def plane(p: Any, held: list[Any]) -> list[Any]:
            layer, tap = emit.element(far, planes, builder.add(r, p)), builder.add(t, builder.mul(builder.mul(p, H), INDEX(k)))
            return repeat(builder, H, held, lambda h, total: step(h, total, layer, tap))

        def step(h: Any, held: list[Any], layer: Any, tap: Any) -> list[Any]:
            row, tap = emit.element(near, lines, builder.add(q, h)), builder.add(tap, builder.mul(h, INDEX(k)))
            real = builder.and_(builder.icmp_signed(">=", row, INDEX(0)), builder.icmp_signed(">=", layer, INDEX(0)))
            start, there = builder.add(builder.add(a, builder.add(layer, row)), here), emit.splat(real)

            def one(ahead: Any) -> Any:
                """One sample, everywhere."""
                exists = builder.and_(real, builder.icmp_signed(">=", builder.add(here, ahead), INDEX(0)))
                exists = builder.and_(exists, builder.icmp_signed("<", ahead, left))
                found = emit.element(x, rows, builder.select(exists, builder.add(start, ahead), INDEX(0)))
                return emit.splat(builder.select(exists, found, past))

            total = list(held)
            if stride == 1:
                for l in range(k):
                    weight = emit.splat(emit.element(w, weights, builder.add(tap, INDEX(l))))
                    for c in range(C):
                        spot = builder.add(start, INDEX(first + l + c * L))
                        found = emit.load_where(builder.and_(valid[l][c], there), x, rows, spot, beyond)
                        total[c] = emit.fma(weight, found, total[c])
                return total
            read = [
                emit.load_where(builder.and_(inside[v], there), x, rows, builder.add(start, INDEX(v * L)), beyond) for v in range(2 * C)
            ]
            parts = [
                [builder.shuffle_vector(read[2 * c], read[2 * c + 1], chosen(*range(phase, 2 * L, 2))) for c in range(C)]
                for phase in range(2)
            ]
            for l in range(k):
                ahead, phase = divmod(first + l, 2)
                part = parts[phase]
                if ahead < 0:
                    before = [one(INDEX(phase - 2)), *part]
                    part = [builder.shuffle_vector(before[c], part[c], chosen(*range(L - 1, 2 * L - 1))) for c in range(C)]
                elif ahead > 0:
                    behind = [*part[1:], one(INDEX(2 * C * L + phase))]
                    part = [builder.shuffle_vector(part[c], behind[c], chosen(*range(1, L + 1))) for c in range(C)]
                weight = emit.splat(emit.element(w, weights, builder.add(tap, INDEX(l))))
                total = [emit.fma(weight, part[c], total[c]) for c in range(C)]
            return total

        return context.make_tuple(builder, acc, repeat(builder, P, sums, plane))

    return acc(acc, x, index, index, index, far, index, index, near, index, index, w, index, w.dtype, count, lead, ways), code


@intrinsic
def put_first(typing: Any, y: Any, b: Any, acc: Any, m: Any) -> Any:
    """The first m lanes of all vectors, or all, to y[b:]."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        for c, value in enumerate(cgutils.unpack_tuple(builder, args[2])):
            done = INDEX(c * emit.lanes)
            emit.store_first(builder.sub(args[3], done), value, y, args[0], builder.add(args[1], done))
        return context.get_dummy_value()

    return types.void(y, types.int64, acc, types.int64), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def frameless(
    x: Any, w: Any, y: Any, at: Any, goal: Any, far_to: Any, far: Any, near_to: Any, near: Any, n: int, m: int, past: Any,
    lanes: Any, cols: Any, count: Any, lead: Any, ways: Any,
) -> None:  # fmt: skip
    """One channel after the other; x, w and y are of one type.

    64 channels of 112² by 3² with stride 2: 283 us with a frame, 120 without; 576 of 14² with stride 1: 254, then 82.
    """
    stay_whole()
    W, P, H = len(lanes) * len(cols), len(far) // len(far_to), len(near) // len(near_to)
    T = P * H * len(count)
    G = len(w) // T
    for i in range(len(at)):
        t = i % G * T
        for r in range(len(far_to)):
            for q in range(len(near_to)):
                b = goal[i] + far_to[r] + near_to[q]
                for j0 in range(0, m, W):
                    j = most(least(j0, m - W), 0)
                    acc = zeros(w, lanes, cols, (0,))
                    acc = gain_frameless(acc, x, at[i], j, n, far, r * P, P, near, q * H, H, w, t, past, count, lead, ways)
                    put_first(y, b + j, acc, least(m - j, W))


def form(itemsize: int, m: int, k: int, first: int, stride: int) -> tuple[tuple[int, ...], ...]:
    """The sizes that it is compiled for: m results a row of k taps, the first at `first`."""
    lanes = min(len(simd.block(itemsize).lanes), max(2, 1 << (m - 1).bit_length()))
    cols = next(c for c in (1, 2, 4) if c == 4 or c * lanes >= m)
    return (0,) * lanes, (0,) * cols, (0,) * k, (0,) * (1 + first - REACH.start), (0,) * stride
