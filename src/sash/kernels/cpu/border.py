"""Images with a border, copied row by row; with a stride, samples are dealt out to its phases on the way.

x (X,) flat, of floats or small integers   at (I,) images   row (R,) rows of n samples, -1 = all border, -2 = left as it is
ring (B,) what each place of the border reads, from the first of these samples on: PAST is one number, `past`
y flat, of floats: row r of image i is (s, length) at to[i] + down[r]
Place q of a row, of which q = lead is its first sample, goes to phase q % s, place q // s.
One pass where a copy with a border and a second one by phases took three times as long.   Imports: moves, simd, split.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.extending import intrinsic

from . import simd
from .moves import carry, fetch
from .simd import INDEX, Emit, Vec, least, repeat, stay_whole
from .split import deal

PAST = -(1 << 62)


@intrinsic
def rim(
    typing: Any, x: Any, a: Any, y: Any, b: Any, ring: Any, lead: Any, n: Any, length: Any, past: Any, ways: Any
) -> Any:  # fmt: skip
    """The border of one row, whose first sample is x[a]: the places before `lead`, and those from lead + n on."""
    s, index = len(ways), types.int64

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(y.dtype, 1))
        beyond = builder.fptrunc(args[8], emit.vector.element) if emit.bytes < 8 else args[8]

        def step(e: Any, nothing: list[Any]) -> list[Any]:
            spot = emit.element(ring, args[4], e)
            some = builder.icmp_signed("!=", spot, INDEX(PAST))
            found = emit.element(x, args[0], builder.add(args[1], builder.select(some, spot, INDEX(0))))
            if x.dtype != y.dtype:
                found = (builder.sitofp if x.dtype.signed else builder.uitofp)(found, emit.vector.element)
            q = builder.add(e, builder.select(builder.icmp_signed("<", e, args[5]), INDEX(0), args[6]))
            place = q
            if s > 1:
                phase = builder.urem(q, INDEX(s))
                place = builder.add(builder.mul(phase, args[7]), builder.udiv(q, INDEX(s)))
            builder.store(builder.select(some, found, beyond), emit.address(y, args[2], builder.add(args[3], place)))
            return nothing

        repeat(builder, emit.length(ring, args[4]), [], step)
        return context.get_dummy_value()

    return types.void(x, index, y, index, ring, index, index, index, types.float64, ways), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def bordered(
    x: Any, y: Any, at: Any, row: Any, to: Any, down: Any, ring: Any, lead: int, n: int, length: int, past: float, lanes: Any, ways: Any,
) -> None:  # fmt: skip
    """Whole vectors by `carry` or `deal`, the rest one by one; `ways` has as many entries as the stride.

    The row below is asked for meanwhile: it lies on another page (3 channels of 224² by phases, 8 images: 1.05 ms, then 0.66).
    """
    stay_whole()
    L, s = len(lanes), len(ways)
    room = s * length
    first = -lead % s  # the first sample of phase 0
    for i in range(len(at)):
        for r in range(len(row)):
            b = to[i] + down[r]
            if row[r] < 0:
                if row[r] == -1:
                    y[b : b + room] = past
                continue
            a, ahead = at[i] + row[r], to[i] + down[least(r + 1, len(row) - 1)]
            for j in range(0, room, L):
                fetch(y, ahead + j, lanes, (0,), (0,))
            rim(x, a, y, b, ring, lead, n, length, past, ways)
            count = (n - first) // s if n > first else 0  # whole groups of s samples from the first of phase 0 on
            if count < L:
                for t in range(n):
                    y[b + (lead + t) % s * length + (lead + t) // s] = x[a + t]
                continue
            for t in range(first):
                y[b + (lead + t) % s * length + (lead + t) // s] = x[a + t]
            for j0 in range(0, count, L):
                j = least(j0, count - L)  # the last vectors overlap those before them
                if s == 1:
                    carry(x, a + j, y, b + lead + j, 0, 0, lanes)
                else:
                    deal(x, a + first + j * s, y, b + (lead + first) // s + j, length, lanes, ways)
            for t in range(first + count * s, n):
                y[b + (lead + t) % s * length + (lead + t) // s] = x[a + t]


def lanes(itemsize: int, lead: int, n: int, s: int) -> tuple[int, ...]:
    """Lanes of the widest vector that the samples of one phase fill (64 channels of 16 x 32², stride 2: 1.5 ms, then 1.0)."""
    count = (n - -lead % s) // s
    return (0,) * min(len(simd.block(itemsize).lanes), 1 << max(count, 1).bit_length() - 1)
