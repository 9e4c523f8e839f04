"""Normalised correlations from sums over windows, in one pass: NumPy's dozen would each read and write all of them.

product (O, P) of m t x   squares, sums (Q, P) of m x² and m x, Q = O or 1   power, n (O,)   y (O, P)
Imports: simd.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import simd
from .simd import INDEX, Emit, Vec, sized, vectors

EXACT = 8 * float(np.finfo(np.float64).eps)
"""A deviation below this share of the mean is the mean's rounding."""


@intrinsic
def score(
    typing: Any, product: Any, p: Any, squares: Any, sums: Any, q: Any, side: Any, n: Any, centred: Any, noise: Any, least: Any, y: Any,
    count: Any, lanes: Any,
) -> Any:  # fmt: skip
    """y[p + j] for j < count, of one template, whose power has the root `side`."""
    real, index = types.float64, types.int64

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, thin = Emit(context, builder, Vec(real, len(lanes))), Emit(context, builder, Vec(y.dtype, len(lanes)))
        side, n, noise, least = [emit.splat(args[i]) for i in (5, 6, 8, 9)]
        zero, centred = emit.zero, builder.icmp_signed("!=", args[7], INDEX(0))
        one = ir.Constant(emit.vector, [1.0] * emit.lanes)

        def step(j: Any, few: Any, nothing: list[Any]) -> list[Any]:
            to, at = builder.add(args[1], j), builder.add(args[4], j)
            square, total = emit.take(few, squares, args[2], at), emit.take(few, sums, args[3], at)
            variance = emit.sub(square, builder.fdiv(emit.mul(total, total), n))
            variance = builder.select(centred, variance, square)
            none = [builder.fcmp_ordered("<=", variance, bound) for bound in (emit.mul(noise, square), least)]
            spread = emit.mul(emit.call("sqrt", builder.select(builder.or_(*none), zero, variance)), side)
            found = builder.fdiv(emit.take(few, product, args[0], to), spread)
            found = builder.select(builder.fcmp_ordered(">", found, one), one, found)
            low = builder.fsub(zero, one)
            found = builder.select(builder.fcmp_ordered("<", found, low), low, found)
            found = builder.select(builder.fcmp_ordered("==", spread, zero), zero, found)
            thin.leave(few, builder.fptrunc(found, thin.vector) if thin.bytes < emit.bytes else found, y, args[10], to)
            return nothing

        vectors(builder, emit.lanes, args[11], [], step)
        return context.get_dummy_value()

    return types.void(product, index, squares, sums, index, real, real, index, real, real, y, index, lanes), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def scores(
    product: Any, squares: Any, sums: Any, side: Any, n: Any, Q: int, centred: int, noise: float, least: float, y: Any, lanes: Any
) -> None:
    P = len(squares) // Q
    for o in range(len(side)):
        score(product, o * P, squares, sums, o % Q * P, side[o], n[o], centred, noise, least, y, P, lanes)


def scored(
    product: Any, squares: Any, sums: Any, many: int, power: Any, n: Any, centred: bool, noise: float, least: float, y: Any
) -> None:  # fmt: skip
    """y = product / sqrt(variance power), between -1 and 1; 0 where that is of no variance.   `many`: Q

    variance = squares - sums² / n, none where it is at most `noise` of squares, or `least`; all of squares unless `centred`.
    """
    side = np.sqrt(power)  # a root of each: their product may leave the range of floats
    rows = [a.reshape(-1) for a in (product, squares, sums)]
    sized(scores, simd.block(8).lanes)(*rows, side, n, many, int(centred), noise, least, y.reshape(-1))


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy")
def windowed(x: Any, t: Any, m: Any, at: Any, to: Any, step: Any, off: Any, width: int, centred: bool, y: Any) -> None:
    """The same of little images, window by window: means are taken away before anything is squared.

    x flat   t (O, T)   m (Q, T)   at, to (R,) rows of x and y   step (O,)   off (T,)
    """
    T = len(off)
    w, mean, variance, product = np.empty(T), np.empty(width), np.empty(width), np.empty(width)
    for o in range(len(t)):
        mask, n, middle, power = m[o % len(m)], 0.0, 0.0, 0.0
        for l in range(T):
            n += mask[l]
            middle += mask[l] * t[o, l]
        middle = middle / n if centred else 0.0
        for l in range(T):
            w[l] = mask[l] * (t[o, l] - middle)
            power += w[l] * (t[o, l] - middle)
        side = 0.0 if power <= n * (EXACT * middle) ** 2 else np.sqrt(power)
        for r in range(len(at)):
            mean[:] = 0.0
            if centred:
                for l in range(T):
                    a, weight = at[r] + off[l], mask[l]
                    for j in range(width):
                        mean[j] += weight * x[a + j]
                for j in range(width):
                    mean[j] /= n
            variance[:], product[:] = 0.0, 0.0
            for l in range(T):
                a, weight, tap = at[r] + off[l], mask[l], w[l]
                for j in range(width):
                    gap = x[a + j] - mean[j]
                    variance[j] += weight * gap * gap
                    product[j] += tap * gap
            b = to[r] + step[o]
            for j in range(width):
                least = n * (EXACT * mean[j]) ** 2
                spread = 0.0 if variance[j] <= least else np.sqrt(variance[j]) * side
                score = product[j] / spread
                score = 1.0 if score > 1.0 else score
                score = -1.0 if score < -1.0 else score
                y[b + j] = 0.0 if spread == 0.0 else score
