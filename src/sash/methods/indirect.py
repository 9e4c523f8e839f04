"""Many channels at once: a matrix product over pixels that reads each window where it lies, without laying it out.

    x (N, C, *S)   block (pixels, C)   w (O, C/G, *K)   y (N, O, *out)
A band of x is turned pixel by pixel, so that the channels of a row of taps are neighbours; every output position is a
row of a matrix that is only pointed at.  Source: Dukhan 2019, The Indirect Convolution Algorithm, arXiv:1907.02129.
Imports: kernels, arrays.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, fill, flat, give, lies_well
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import GATED, ON_CPU, Cost
from sash.problem import Box, Problem

NAME = "indirect"
POSITIONS = 2560
"""Outputs of a block (whole rows, where there are rows): from 1280 to 5120 takes the same time, narrower tiles 5 to 25 % more."""


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if problem.home == "cuda":
        return ON_CPU
    if problem.reduce != "product":
        return f"{problem.reduce} differences are no matrix product"
    if problem.dtype == "int64":
        return "its kernels multiply floats"
    if problem.inputs == problem.outputs == problem.groups:
        return "one channel at a time: there is no matrix to multiply with"
    if problem.elementwise and problem.taps > CHUNK[True]:
        return f"it sums {problem.taps} terms in one go: no elementwise bound"
    return ""


def lanes(problem: Problem) -> int:
    """Outputs of a vector register, at most."""
    return 64 // problem.itemsize


def padded(problem: Problem) -> int:
    """Outputs that are computed: those of each group fill vector registers."""
    wide = lanes(problem)
    return problem.groups * -(-problem.outputs // problem.groups // wide) * wide


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    positions = POSITIONS
    tile = _block(problem, positions)
    while positions > 1 and _scratch(problem, tile) > limit:
        positions //= 2
        tile = _block(problem, positions)
    each, wide = problem.inputs // problem.groups, padded(problem)
    places = problem.batch * prod(problem.out)
    count = problem.count(tile)
    work = {
        f"indirect.{problem.dtype}": places * prod([a.size for a in problem.axes]) * each * wide,
        f"indirect.lift.{problem.dtype}": places * _strips(problem)[0] * wide,
        "indirect.turn": problem.samples + problem.results,
        "indirect.block": count * problem.groups,
    }
    weights = problem.taps * wide * problem.itemsize
    return Cost(work, _scratch(problem, tile), 2 * weights, tile)


def _block(problem: Problem, positions: int) -> tuple[int, ...]:
    """About this many outputs of one image: whole rows, unless there is one row."""
    block = list(problem.out)
    if len(block) == 1 or block[-1] > 8 * POSITIONS:
        block[-1] = max(min(block[-1], positions), 1)
    behind = block[-1]
    for i in range(len(block) - 2, -1, -1):
        block[i] = max(min(block[i], positions // max(behind, 1)), 1)
        behind *= block[i]
    return (1, *block)


def _scratch(problem: Problem, tile: tuple[int, ...]) -> int:
    reads, made = problem.reads(tile), prod(tile)
    return (2 * reads + made * (padded(problem) + problem.outputs)) * problem.itemsize + made * 40


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def _strips(problem: Problem) -> tuple[int, int]:
    """(T, C'): taps whose pixels are gone to one by one, and channels that lie behind each of them."""
    last = problem.axes[-1]
    count = prod([a.size for a in problem.axes])
    if problem.groups == 1 and (last.dilation == 1 or last.size == 1):
        return count // last.size, last.size * problem.inputs
    return count, problem.inputs // problem.groups


class Packed(NamedTuple):
    """The weights of each group, in pieces of at most CHUNK terms, as the kernels want them."""

    pieces: tuple[tuple[tuple[int, int, int, int, Array], ...], ...]
    """Per group: (first tap, taps, first channel, channels, panels)."""


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Packed:
    from sash.kernels.cpu.gated import pack

    taps, wide = _strips(problem)
    each = problem.outputs // problem.groups
    w = np.moveaxis(weights.dense.astype(problem.dtype, copy=False), (0, 1), (-1, -2))  # (*K, C/G, O)
    w = np.ascontiguousarray(w).reshape(1, taps, wide, problem.outputs)
    step, deep = max(CHUNK[False] // wide, 1), min(CHUNK[False], wide)
    places = [(t, min(step, taps - t), c, min(deep, wide - c)) for t in range(0, taps, step) for c in range(0, wide, deep)]

    def packed(g: int, t: int, count: int, c: int, channels: int) -> Array:
        panels: Array = pack(w[:, t : t + count, c : c + channels, g * each : (g + 1) * each])
        return panels

    return Packed(tuple([tuple([(*place, packed(g, *place)) for place in places]) for g in range(problem.groups)]))


def run(problem: Problem, x: Array, prepared: Packed, y: Array, cval: float) -> None:
    from sash.kernels.cpu.gated import forward, pitch

    groups, each, made = problem.groups, problem.inputs // problem.groups, problem.outputs // problem.groups
    step = pitch(made, problem.itemsize)
    shares = _strips(problem)
    # The window's axes over samples that lie in place already, or over a block that holds the extension.
    inside = x.dtype == problem.dtype and x.strides[1] == x.itemsize and all([a.plain for a in problem.axes]) and _steps_well(x)
    source: Array | None = None
    axes, start = problem.axes, 0
    steps: tuple[int, ...] = ()
    if inside and (shares[1] == each or x.strides[-1] == problem.inputs * x.itemsize):
        source = flat(x)
        steps = tuple([s // x.itemsize for s in x.strides[2:]])
        start = sum([a.start * s for a, s in zip(axes, steps, strict=True)])
    else:
        pixels = [(a.out - 1) * a.stride + a.reach for a in axes]
        block = np.empty(prod(pixels) * problem.inputs, problem.dtype)
        steps = tuple([prod(pixels[i + 1 :]) * problem.inputs for i in range(len(axes))])
        x = _ready(problem, x)
    t = _places(axes, steps, groups * step, shares)
    gate = _open(shares[0] * len(t.to))
    for n in range(problem.batch):
        if source is None:
            _enter(problem, x[n], block, cval)
            here, offset = block, 0
        else:
            here, offset = source[n * x.strides[0] // x.itemsize + start :], 0
        total: Array | None = None
        for number in range(len(prepared.pieces[0])):
            out = np.zeros(len(t.to) * groups * step, problem.dtype)
            for g in range(groups):
                first, count, c, channels, panels = prepared.pieces[g][number]
                forward(
                    here[offset + g * each + c :], panels, out[g * step :], gate, t.at, t.off[first : first + count], t.to, t.still[:count],
                    0, len(t.to), 1, channels, made,
                )  # fmt: skip
            total = out if total is None else np.add(total, out, out=total)
        assert total is not None
        _leave(total, groups, step, y[n])


def _steps_well(x: Array) -> bool:
    return x.flags.aligned and x.flags.writeable and all([s > 0 and s % x.itemsize == 0 for s in x.strides])


def _ready(problem: Problem, x: Array) -> Array:
    """x as the kernels read it: of the type computed in, each row and plane without gaps, writable."""
    if x.dtype == problem.dtype and x.flags.writeable and lies_well(x.shape, x.strides, x.itemsize, max(x.ndim - 2, 2)):
        return x
    return np.array(x, problem.dtype, order="C")


def _enter(problem: Problem, x: Array, block: Array, cval: float) -> None:
    """The extension of x (C, *S) on what the block's windows read, pixel by pixel."""
    from sash.kernels.cpu.layout import enter

    c, axes = problem.inputs, problem.axes
    if any([a.boundary != "zero" and not a.plain for a in axes]):
        moved = tuple([a.moved(a.n, a.start, a.start + (a.out - 1) * a.stride + a.reach) for a in axes])
        x = np.ascontiguousarray(fill(x[None], moved, problem.dtype, cval)[0])
        axes = tuple([a.moved(n, 0, n) for a, n in zip(moved, x.shape[1:], strict=True)])
    flatter = axes if len(axes) > 1 else (Axis(1, 1, 1, 1, 0, 1, "zero"), *axes)
    shape = x.shape if len(axes) > 1 else (x.shape[0], 1, x.shape[1])
    strides = [s // x.itemsize for s in x.strides]
    spans = [(a.out - 1) * a.stride + a.reach for a in flatter]
    size, source = spans[-2] * spans[-1] * c, flat(x)
    for number, place in enumerate(np.ndindex(*spans[:-2])):
        at = [p + a.start for p, a in zip(place, flatter, strict=False)]
        to = number * size
        if not all([0 <= p < a.n for p, a in zip(at, flatter, strict=False)]):
            block[to : to + size] = 0
            continue
        i = sum([p * s for p, s in zip(at, strides[1:], strict=False)])
        enter(source, i, strides[0], block, to, c, c, shape[-2], shape[-1], flatter[-2].start, flatter[-1].start, spans[-2], spans[-1])


def _leave(out: Array, groups: int, step: int, y: Array) -> None:
    """Pixels to y (O, *out)."""
    from sash.kernels.cpu.layout import leave

    target = y if y.dtype == out.dtype and lies_well(y.shape, y.strides, y.itemsize, y.ndim - 1) else np.empty(y.shape, out.dtype)
    made, height, width = y.shape[0] // groups, (y.shape[-2] if y.ndim > 2 else 1), y.shape[-1]
    goal, strides = flat(target), [s // target.itemsize for s in target.strides]
    for number, place in enumerate(np.ndindex(*y.shape[1:-2])):
        at = sum([p * s for p, s in zip(place, strides[1:], strict=False)])
        for g in range(groups):
            leave(
                out, number * height * width * groups * step + g * step, groups * step, goal, at + g * made * strides[0], strides[0], made,
                strides[-2] if y.ndim > 2 else width, 0, 0, height, width,
            )  # fmt: skip
    if target is not y:
        give(target, y)


class _Places(NamedTuple):
    """Where positions read and write, and where taps lie, in elements."""

    at: Array
    off: Array
    to: Array
    still: Array


@lru_cache(maxsize=256)
def _places(axes: tuple[Axis, ...], steps: tuple[int, ...], pitch: int, strips: tuple[int, int]) -> _Places:
    at, off = np.zeros(1, np.int64), np.zeros(1, np.int64)
    merged = strips[0] < prod([a.size for a in axes])
    for i, (a, step) in enumerate(zip(axes, steps, strict=True)):
        at = np.add.outer(at, np.arange(a.out) * (a.stride * step)).reshape(-1)
        if i + 1 < len(axes) or not merged:
            off = np.add.outer(off, np.arange(a.size) * (a.dilation * step)).reshape(-1)
    return _Places(at, off, np.arange(len(at)) * pitch, np.zeros(len(off), np.int64))


@lru_cache(maxsize=16)
def _open(count: int) -> Array:
    """A gate that is open everywhere."""
    return np.zeros(count, np.int8)
