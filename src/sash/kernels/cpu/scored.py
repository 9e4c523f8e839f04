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
from .simd import INDEX, Emit, Vec, repeat, sized, vectors

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
            found = _bounded(emit, found, one)
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


@intrinsic
def differ(typing: Any, product: Any, squares: Any, power: Any, whole: Any, y: Any, lanes: Any) -> Any:
    """All of `differed`."""
    real = types.float64

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, thin = Emit(context, builder, Vec(real, len(lanes))), Emit(context, builder, Vec(y.dtype, len(lanes)))
        power, whole, one, two = (*[emit.splat(args[i]) for i in (2, 3)], *[ir.Constant(emit.vector, [v] * emit.lanes) for v in (1.0, 2.0)])

        def step(j: Any, few: Any, nothing: list[Any]) -> list[Any]:
            twice = emit.mul(two, emit.take(few, product, args[0], j))
            found = emit.add(emit.sub(emit.take(few, squares, args[1], j), twice), power)
            found = builder.select(builder.fcmp_ordered("<", found, emit.zero), emit.zero, found)
            found = emit.sub(one, builder.fdiv(found, whole))
            thin.leave(few, builder.fptrunc(found, thin.vector) if thin.bytes < emit.bytes else found, y, args[4], j)
            return nothing

        vectors(builder, emit.lanes, emit.length(y, args[4]), [], step)
        return context.get_dummy_value()

    return types.void(product, squares, real, real, y, lanes), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def differences(product: Any, squares: Any, power: float, whole: float, y: Any, lanes: Any) -> None:
    differ(product, squares, power, whole, y, lanes)


def differed(product: Any, squares: Any, power: float, whole: float, y: Any) -> None:
    """y = 1 - (squares - 2 product + power) / whole: what a sum of squared differences is of the greatest there can be."""
    rows = [a.reshape(-1) for a in (product, squares)]
    sized(differences, simd.block(8).lanes)(*rows, power, whole, y.reshape(-1))


@intrinsic
def match(
    typing: Any, dots: Any, sums: Any, squares: Any, shift: Any, total: Any, side: Any, n: Any, centred: Any, y: Any, lanes: Any
) -> Any:  # fmt: skip
    """All of `matches`, of one template."""
    real = types.float64

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, thin = Emit(context, builder, Vec(real, len(lanes))), Emit(context, builder, Vec(y.dtype, len(lanes)))
        shift, total, side, n, one = [*[emit.splat(args[i]) for i in (3, 4, 5, 6)], ir.Constant(emit.vector, [1.0] * emit.lanes)]
        centred = builder.icmp_signed("!=", args[7], INDEX(0))

        def step(j: Any, few: Any, nothing: list[Any]) -> list[Any]:
            dot, once, square = [emit.take(few, kind, a, j) for kind, a in ((dots, args[0]), (sums, args[1]), (squares, args[2]))]
            product = emit.fma(shift, once, dot)
            variance = builder.select(centred, emit.sub(emit.mul(n, square), emit.mul(once, once)), square)
            shared = builder.select(centred, emit.sub(emit.mul(n, product), emit.mul(total, once)), product)
            spread = emit.mul(emit.call("sqrt", variance), side)
            found = _bounded(emit, builder.fdiv(shared, spread), one)
            found = builder.select(builder.fcmp_ordered("==", spread, emit.zero), emit.zero, found)
            thin.leave(few, builder.fptrunc(found, thin.vector), y, args[8], j)
            return nothing

        vectors(builder, emit.lanes, emit.length(y, args[8]), [], step)
        return context.get_dummy_value()

    return types.void(dots, sums, squares, real, real, real, real, types.int64, y, lanes), code


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def matches(
    dots: Any, sums: Any, squares: Any, shift: float, total: float, side: float, n: float, centred: int, y: Any, lanes: Any
) -> None:  # fmt: skip
    match(dots, sums, squares, shift, total, side, n, centred, y, lanes)


def matched(dots: Any, sums: Any, squares: Any, shift: int, total: int, power: int, n: int, centred: bool, y: Any) -> None:
    """y (float32) of sums that are whole numbers, all below 2^53, so that only the root and the quotient round.

    product = dots + shift sums   y = (n product - total sums) / sqrt((n squares - sums²) power) where `centred`,
    else product / sqrt(squares power); 0 where that is 0.   power: of the template, the same of its squares and total
    """
    size = simd.block(8).lanes
    sized(matches, size)(dots, sums, squares, float(shift), float(total), float(np.sqrt(float(power))), float(n), int(centred), y)


@intrinsic
def weigh(
    typing: Any, x: Any, a: Any, off: Any, t: Any, w: Any, mask: Any, m: Any, n: Any, side: Any, centred: Any, y: Any, b: Any, count: Any,
    lanes: Any, cols: Any,
) -> Any:  # fmt: skip
    """y[b + j], j < count, of the windows at x[a + j + off[t]:], by the weights w[t:] and mask[m:]; count: a block's at most."""
    real, index = types.float64, types.int64

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit, thin = Emit(context, builder, Vec(real, len(lanes))), Emit(context, builder, Vec(y.dtype, len(lanes)))
        _, a, _, t, _, _, m, n, side, centred, _, b, count, *_ = args
        L, C, T = emit.lanes, len(cols), emit.length(off, args[2])
        n, side, one = emit.splat(n), emit.splat(side), ir.Constant(emit.vector, [1.0] * emit.lanes)
        inside = [emit.lane_is("<", builder.sub(count, INDEX(c * L))) for c in range(C)]

        def line(l: Any) -> list[Any]:
            at = builder.add(a, emit.element(off, args[2], l))
            return [emit.load_where(inside[c], x, args[0], builder.add(at, INDEX(c * L))) for c in range(C)]

        def level(l: Any, total: list[Any]) -> list[Any]:
            weight = emit.splat(emit.element(mask, args[5], builder.add(m, l)))
            return [emit.fma(weight, value, held) for value, held in zip(line(l), total, strict=True)]

        taps = builder.select(builder.icmp_signed("!=", centred, INDEX(0)), T, INDEX(0))
        mean = [builder.fdiv(total, n) for total in repeat(builder, taps, [emit.zero] * C, level)]

        def further(l: Any, total: list[Any]) -> list[Any]:
            weight = emit.splat(emit.element(mask, args[5], builder.add(m, l)))
            tap = emit.splat(emit.element(w, args[4], builder.add(t, l)))
            gaps = [emit.sub(value, middle) for value, middle in zip(line(l), mean, strict=True)]
            variance = [emit.fma(emit.mul(weight, gap), gap, held) for gap, held in zip(gaps, total[:C], strict=True)]
            return [*variance, *[emit.fma(tap, gap, held) for gap, held in zip(gaps, total[C:], strict=True)]]

        total = repeat(builder, T, [emit.zero] * (2 * C), further)
        for c in range(C):
            edge = emit.mul(ir.Constant(emit.vector, [EXACT] * L), mean[c])
            none = builder.fcmp_ordered("<=", total[c], emit.mul(n, emit.mul(edge, edge)))
            spread = builder.select(none, emit.zero, emit.mul(emit.call("sqrt", total[c]), side))
            found = _bounded(emit, builder.fdiv(total[C + c], spread), one)
            found = builder.select(builder.fcmp_ordered("==", spread, emit.zero), emit.zero, found)
            found = builder.fptrunc(found, thin.vector) if thin.bytes < emit.bytes else found
            thin.store_first(builder.sub(count, INDEX(c * L)), found, y, args[10], builder.add(b, INDEX(c * L)))
        return context.get_dummy_value()

    told = (x, index, off, index, w, mask, index, real, real, index, y, index, index, lanes, cols)
    return types.void(*told), code


def _bounded(emit: Emit, found: Any, one: Any) -> Any:
    """Between -1 and 1; NaN stays."""
    builder, low = emit.builder, emit.builder.fsub(emit.zero, one)
    found = builder.select(builder.fcmp_ordered(">", found, one), one, found)
    return builder.select(builder.fcmp_ordered("<", found, low), low, found)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy")
def windowed(
    x: Any, t: Any, m: Any, at: Any, to: Any, step: Any, off: Any, width: int, centred: int, y: Any, lanes: Any, cols: Any
) -> None:  # fmt: skip
    """The same of little images, window by window: means are taken away before anything is squared.

    x flat, float64   t (O, T)   m (Q, T)   at, to (R,) rows of `width` windows in x and y   step (O,)   off (T,)
    """
    T, W = len(off), len(lanes) * len(cols)
    w, flat = np.empty(T), m.reshape(-1)
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
            for j in range(0, width, W):
                b = to[r] + step[o] + j
                weigh(x, at[r] + j, off, 0, w, flat, o % len(m) * T, n, side, centred, y, b, width - j, lanes, cols)


def by_windows(x: Any, t: Any, m: Any, tables: Any, centred: bool, y: Any) -> None:
    """`windowed` by the widest block that a row fills; tables: those of `tabulated`."""
    size, n = simd.block(8), tables.n
    cols = next((c for c in (1, 2) if c * len(size.lanes) >= n), len(size.cols))
    kernel = sized(windowed, size.lanes, (0,) * cols)
    kernel(x, t, m, tables.at, tables.to, tables.step, tables.off, n, int(centred), y)
