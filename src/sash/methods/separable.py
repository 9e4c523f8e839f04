"""Separable kernels: a sum of outer products of 1-D kernels, made as passes along the axes.

    x (N, 1, *S)   terms: per product, one 1-D kernel per axis   y (N, 1, *out)
Without stride, the last three axes go through one fused kernel that keeps a few planes in cache and resolves the
boundary by index maps; everything else goes axis by axis over blocks that fit the cache.   Imports: arrays, kernels.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, fill, flat, give, index, lies_well, sound, steps
from sash.arrays.weights import Terms, Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.direct import slide
from sash.methods.method import Cost
from sash.problem import Box, Problem

NAME = "separable"
ROW = 1 << 13
"""Longest row of a fused block, so that the rows in flight stay in cache."""


def refuses(problem: Problem) -> str:
    if problem.reduce != "product":
        return f"{problem.reduce} differences do not factor"
    if problem.inputs * problem.outputs > 1:
        return f"one kernel per channel pair ({problem.outputs} x {problem.inputs // problem.groups}), not a product of 1-D kernels"
    if all(a.size == 1 for a in problem.axes):
        return "the kernel has one tap: there is nothing to separate"
    if not problem.rank:
        return "the kernel is not known to be a sum of few outer products (separable=True measures it)"
    return ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    if _fuses(problem):
        tile = _bands(problem)
        while _fused_scratch(problem, tile) * item > limit and max(tile) > 1:
            i = max(range(len(tile)), key=tile.__getitem__)
            tile = (*tile[:i], -(-tile[i] // 2), *tile[i + 1 :])
        taps = sum(a.size for a in problem.axes if a.size > 1)
        work = {
            f"separable.{problem.dtype}": problem.rank * problem.results * taps,
            f"separable.pass.{problem.dtype}": problem.rank * problem.results * sum(a.size > 1 for a in problem.axes),
            f"result.{problem.dtype}": problem.results,
            "copy.sample": 0 if problem.straight else problem.samples,
            "block": problem.count(tile) * problem.rank,
        }
        scratch = _fused_scratch(problem, tile) * item
        return Cost(work, scratch, problem.taps * item, tile, "fused")
    tile = problem.tile(max(int(min(machine.cache / 2, limit / 6) / item), 1))
    tiles, reads = problem.count(tile), problem.reads(tile)
    terms = made = 0.0
    grown = float(reads)
    for i in _order(problem.axes):
        axis = problem.axes[i]
        grown *= tile[i + 1] / ((tile[i + 1] - 1) * axis.stride + axis.reach)
        terms += grown * axis.size
        made += grown
    kind = "taps.product" if problem.dtype == "int64" else "rows.product"
    work = {
        f"direct.{kind}.{problem.dtype}": tiles * problem.rank * terms,
        f"result.{problem.dtype}": tiles * problem.rank * made,
        "copy.sample": problem.samples,
        "split.sample": tiles * reads * problem.rank if any(a.stride > 1 for a in problem.axes) else 0,
        "block": tiles * problem.rank * len(problem.active),
    }
    return Cost(work, 5 * reads * item + 16 * prod(tile), problem.taps * item, tile, "axis by axis")


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Terms:
    assert weights.terms is not None
    return tuple(tuple(np.ascontiguousarray(k, problem.dtype) for k in term) for term in weights.terms)


def run(problem: Problem, x: Array, prepared: Terms, y: Array, cval: float) -> None:
    if _fuses(problem):
        _fused(problem, x, prepared, y, cval)
        return
    tile = fill(x, problem.axes, problem.dtype, cval)
    total: Array | None = None
    for term in prepared:
        done, axes = tile, list(problem.axes)
        passed = _order(problem.axes)
        for i in passed:
            single = tuple(a if j == i else _idle(n) for j, (a, n) in enumerate(zip(axes, done.shape[2:], strict=True)))
            step = Problem(single, problem.batch, dtype=problem.dtype, elementwise=problem.elementwise)
            shape = list(done.shape)
            shape[i + 2] = axes[i].out
            result = np.empty(shape, problem.dtype)
            slide(step, done, term[i].reshape(1, -1), term[i].reshape(1, -1), result)
            done = result
        total = done if total is None else np.add(total, done, out=total)
    assert total is not None
    give(total, y)


def _idle(n: int) -> Axis:
    return Axis(n, 1, 1, 1, 0, n, "zero")


def _order(axes: tuple[Axis, ...]) -> list[int]:
    """Axes that a pass is made along: those that shrink the block most come first."""
    active = [i for i, a in enumerate(axes) if a.size > 1 or a.stride > 1]
    active = active or [len(axes) - 1]
    return sorted(active, key=lambda i: -axes[i].stride)


class _Slots(NamedTuple):
    """Which axes the fused kernel takes as planes, rows and samples; -1: an axis of one sample."""

    z: int
    y: int
    x: int


def _slots(axes: tuple[Axis, ...]) -> _Slots:
    """The last axis that is slid over, and the two before it; rows are long where the axes behind are long."""
    active = [i for i, a in enumerate(axes) if not a.idle]
    last = active[-1] if active else len(axes) - 1
    behind = prod(a.n for a in axes[last + 1 :])
    x = last + 1 if last + 1 < len(axes) and behind >= 16 else last
    return _Slots(x - 2 if x > 1 else -1, x - 1 if x > 0 else -1, x)


@lru_cache(maxsize=1024)
def _fuses(problem: Problem) -> bool:
    """No stride, floating point, at most three axes in reach of the fused kernel, and few enough taps to promise."""
    slots = _slots(problem.axes)
    return (
        problem.dtype != "int64"
        and all(a.stride == 1 for a in problem.axes)
        and all(a.idle for a in problem.axes[: max(slots.z, 0)])
        and all(a.size <= CHUNK[problem.elementwise] for a in problem.axes)
    )


def _bands(problem: Problem) -> tuple[int, ...]:
    """Blocks for the fused kernel: whole in z, bands of rows, rows of at most ROW values."""
    from sash.kernels.cpu.blur import BAND

    tile = [1, *([1] * len(problem.axes))]
    slots, out = _slots(problem.axes), problem.out
    inner = prod(out[slots.x + 1 :])
    for i in range(slots.x + 1, len(out)):
        tile[i + 1] = out[i]
    tile[slots.x + 1] = out[slots.x] if out[slots.x] * inner <= 2 * ROW else max(ROW // inner, 1)
    if slots.y >= 0:
        tile[slots.y + 1] = min(out[slots.y], max(BAND, -(-out[slots.y] // 64)))
    if slots.z >= 0:
        tile[slots.z + 1] = out[slots.z]
        if problem.axes[slots.z].size == 1:  # planes are independent: a batch, cut into a few blocks
            rows = -(-out[slots.y] // tile[slots.y + 1])
            tile[slots.z + 1] = max(1, -(-out[slots.z] * rows // 64))
    return tuple(tile)


def _fused_scratch(problem: Problem, tile: tuple[int, ...]) -> int:
    """Elements of scratch for one block of the fused kernel, a copy of the block included where one may be made."""
    from sash.kernels.cpu.blur import blur_scratch

    slots = _slots(problem.axes)
    z, y, x = (problem.axes[i] if i >= 0 else _idle(1) for i in slots)
    ny, nx = (tile[i + 1] if i >= 0 else 1 for i in slots[1:])
    inner = prod(tile[slots.x + 2 :])
    copies = problem.reads(tile) + (prod(tile) if problem.result != problem.dtype else 0)
    return copies + blur_scratch(z.size, y.size, x.size, z.dilation, y.dilation, x.dilation, nx, inner, ny)


def _fused(problem: Problem, x: Array, terms: Terms, y: Array, cval: float) -> None:
    from sash.kernels.cpu.blur import blur, blur_scratch

    slots = _slots(problem.axes)
    if x.dtype != problem.dtype or not sound(x) or not lies_well(x.shape, x.strides, x.itemsize, slots.x + 2):
        x = np.ascontiguousarray(x, problem.dtype)
    target = y if y.dtype == x.dtype and sound(y) and lies_well(y.shape, y.strides, y.itemsize, slots.x + 2) else np.empty(y.shape, x.dtype)
    za, ya, xa = (problem.axes[i] if i >= 0 else _idle(1) for i in slots)
    inner = prod(x.shape[slots.x + 3 :])
    zmap, ymap, (xmap, low, high, source) = index(za), index(ya), _samples(xa)
    xs, ys = steps(x), steps(target)
    xz, xy = (xs[slots.z + 2] if slots.z >= 0 else 0), (xs[slots.y + 2] if slots.y >= 0 else 0)
    yz, yy = (ys[slots.z + 2] if slots.z >= 0 else 0), (ys[slots.y + 2] if slots.y >= 0 else 0)
    sizes = (za.size, ya.size, xa.size, za.dilation, ya.dilation, xa.dilation, xa.out, inner, ya.out)
    scratch = np.empty(blur_scratch(*sizes), x.dtype)
    lead = target.shape[: max(slots.z, 0) + 2] if slots.z >= 0 else target.shape[:2]
    one = np.ones(1, x.dtype)
    for at in np.ndindex(*lead):
        x0 = sum(i * s for i, s in zip(at, xs, strict=False))
        y0 = sum(i * s for i, s in zip(at, ys, strict=False))
        for number, term in enumerate(terms):
            kz, ky, kx = (term[i] if i >= 0 else one for i in slots)
            blur(
                flat(x), flat(target), kz, ky, kx, zmap, ymap, xmap, x0, xz, xy, y0, yz, yy, 0, ya.out, inner,
                za.dilation, ya.dilation, xa.dilation, low, high, source, cval, int(number > 0), scratch,
            )  # fmt: skip
    if target is not y:
        give(target, y)


@lru_cache(maxsize=256)
def _samples(axis: Axis) -> tuple[Array, int, int, int]:
    """The map of an axis, and its longest plain stretch: positions [low, high) read samples source, source + 1, ..."""
    at, best = 0, (0, 0, 0)
    for run in axis.runs(axis.start, axis.stop):
        if run.step == 1 and run.length > best[1] - best[0]:
            best = (at, at + run.length, run.first)
        at += run.length
    return (index(axis), *best)
