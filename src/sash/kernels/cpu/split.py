"""Rows with a stride: sample t goes to phase t % s, place t // s, so that samples one tap reads become neighbours.

x (X,) flat, of floats or small integers   at (R,) rows of n samples   y flat, of floats: to (R,) rows of (s, length)
Imports: simd.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, SHORT, Emit, Vec, least, sized, stay_whole


@intrinsic
def deal(typing: Any, x: Any, i: Any, y: Any, j: Any, pitch: Any, lanes: Any, ways: Any) -> Any:
    """lanes * ways samples from x[i:]: of each phase one vector, to y[j + phase * pitch:]."""
    L, s = len(lanes), len(ways)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide, emit = Emit(context, builder, Vec(y.dtype, L * s)), Emit(context, builder, Vec(y.dtype, L))
        line = builder.load(wide.place(x, args[0], args[1]), align=x.dtype.bitwidth // 8)
        for p in range(s):
            mask = ir.Constant(ir.VectorType(SHORT, L), [l * s + p for l in range(L)])
            phase = emit.widened(x.dtype, builder.shuffle_vector(line, line, mask))
            emit.store(phase, y, args[2], builder.add(args[3], builder.mul(args[4], INDEX(p))))
        return context.get_dummy_value()

    return types.void(x, types.int64, y, types.int64, types.int64, lanes, ways), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def dealt(x: Any, y: Any, at: Any, to: Any, n: int, length: int, lanes: Any, ways: Any) -> None:
    """Whole vectors by `deal`, the rest one by one; `ways` has as many entries as the stride."""
    stay_whole()
    L, s = len(lanes), len(ways)
    for r in range(len(at)):
        a, b = at[r], to[r]
        done = n // s // L * L
        for j in range(0, done, L):
            deal(x, a + j * s, y, b + j, length, lanes, ways)
        for p in range(least(s, n)):
            for j in range(done, (n - p + s - 1) // s):
                y[b + p * length + j] = x[a + j * s + p]


def split(x: Any, y: Any, at: Any, to: Any, n: int, s: int, length: int) -> None:
    """y[to[r] + t % s length + t // s] = x[at[r] + t] for t < n; y's other places are left as they are."""
    sized(dealt, simd.block(y.itemsize).lanes, (0,) * s)(x, y, at, to, n, length)
