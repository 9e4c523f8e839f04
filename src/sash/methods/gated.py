"""Weights that vary from place to place among a few planes: an indirect matrix product over lists of positions.

    x (N, C, H, W)   w (L, O, C/G, h, w)   gate (N, h, w, OH, OW)   y, z (N, O, OH, OW)
A band of rows is laid out pixel by pixel; for each tap and plane the positions that read it are listed and multiplied
with that plane's channels. The planes share out the positions, so all together cost one plain convolution.
Imports: kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, flat, give, lies_well
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import Cost
from sash.problem import Box, Problem

NAME = "gated"
POSITIONS = 2560
"""Outputs of a band (of whole rows): from 1280 to 5120 takes the same time, tiles that are narrower than the image 5 to 25 % more."""

SUMS = 8
"""Partial sums of the weights' side, added in order: the same bits on any number of threads."""


def refuses(problem: Problem) -> str:
    if not problem.planes:
        return "weights are the same everywhere"
    if problem.home == "cuda":
        return "its kernels run on the CPU"
    if len(problem.axes) != 2 or any(a.boundary != "zero" or a.upsample > 1 for a in problem.axes):
        return "planes are chosen on two axes that are padded with zeros"
    if problem.dtype == "int64":
        return "planes of integers are not multiplied"
    return ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    rows = max(POSITIONS // max(problem.out[1], 1), 1)
    while rows > 1 and _scratch(problem, rows) > limit:
        rows = -(-rows // 2)
    rows = min(rows, problem.out[0])
    each, padded = problem.inputs // problem.groups, -(-problem.outputs // problem.groups // 16) * 16 * problem.groups
    places = problem.batch * prod(problem.out)
    work = {
        f"gated.{problem.dtype}": places * problem.axes[0].size * problem.axes[1].size * each * padded,
        "copy.sample": 2 * (problem.samples + problem.results),
        "gated.block": problem.batch * -(-problem.out[0] // max(rows, 1)),
    }
    packed = problem.planes * problem.axes[0].size * problem.axes[1].size * each * padded * problem.itemsize
    return Cost(work, _scratch(problem, rows), packed, (1, rows, problem.out[1]))


def _scratch(problem: Problem, rows: int) -> int:
    """Bytes of a band: of x and of y, pixel by pixel, the gate, lists and places."""
    y, x = problem.axes
    width = (x.out - 1) * x.stride + x.reach
    pixels = ((rows - 1) * y.stride + y.reach) * width
    item, positions = problem.itemsize, rows * x.out
    wide = problem.inputs + 16 * problem.groups
    widest = problem.outputs + 16 * problem.groups
    return (pixels * wide + positions * widest) * item + positions * (y.size * x.size + 48) + problem.reads((1, rows, x.out)) * item


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


class Planes(NamedTuple):
    """The operands beside x: weights of each group as the kernels want them, and which plane is read where."""

    packed: tuple[Array, ...]
    gate: Array

    def at(self, box: Box) -> Planes:
        """Those of a block of the output."""
        (first, last), *rest = box
        return Planes(self.packed, self.gate[(slice(first, last), slice(None), slice(None), *[slice(o, p) for o, p in rest])])


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Planes:
    from sash.kernels.cpu.gated import pack

    assert weights.gate is not None
    # (L, O, C/G, h, w) to (L, T, C/G, O/G) of each group
    return Planes(tuple([pack(w) for w in _by_taps(problem, weights.dense)]), weights.gate)


def _by_taps(problem: Problem, w: Array) -> list[Array]:
    each = problem.outputs // problem.groups
    laid = np.moveaxis(w.astype(problem.dtype, copy=False), (3, 4), (1, 2))
    laid = laid.reshape(laid.shape[0], -1, *laid.shape[3:]).swapaxes(2, 3)
    return [laid[..., g * each : (g + 1) * each] for g in range(problem.groups)]


def run(problem: Problem, x: Array, prepared: Planes, y: Array, cval: float) -> None:
    from sash.kernels.cpu.gated import forward, pitch
    from sash.kernels.cpu.layout import enter, leave

    groups, each, made = problem.groups, problem.inputs // problem.groups, problem.outputs // problem.groups
    step = pitch(made, problem.itemsize)
    t = _places(problem.axes, problem.inputs, groups * step)
    x = _straight(x, problem.dtype)
    target = y if y.dtype == x.dtype and lies_well(y.shape, y.strides, y.itemsize, 2) else np.empty(y.shape, x.dtype)
    block, out = np.empty(t.pixels * problem.inputs, x.dtype), np.zeros(len(t.to) * groups * step, x.dtype)
    (rows, width), (h, w) = problem.out, x.shape[2:]
    for n in range(problem.batch):
        enter(
            flat(x), n * x.strides[0] // x.itemsize, x.strides[1] // x.itemsize, block, 0, problem.inputs, problem.inputs, h, w, *t.window
        )
        gate = np.ascontiguousarray(prepared.gate[n]).reshape(-1)
        if n:
            out.fill(0)
        for g in range(groups):
            forward(
                block[g * each :], prepared.packed[g], out[g * step :], gate, t.at, t.off, t.to, t.still, 0, len(t.to),
                problem.planes, each, made,
            )  # fmt: skip
        for g in range(groups):
            place = n * target.strides[0] + g * made * target.strides[1]
            leave(
                out,
                g * step,
                groups * step,
                flat(target),
                place // x.itemsize,
                target.strides[1] // x.itemsize,
                made,
                width,
                0,
                0,
                rows,
                width,
            )
    if target is not y:
        give(target, y)


def _straight(x: Array, dtype: str) -> Array:
    """x as `dtype`, each channel's rows without gaps, and writable (the kernels are compiled for such arrays)."""
    if x.dtype != dtype or not lies_well(x.shape, x.strides, x.itemsize, 2) or not x.flags.writeable:
        return np.array(x, dtype, order="C")
    return x


class _Places(NamedTuple):
    """Where things lie in a block of pixels, in elements."""

    at: Array
    off: Array
    to: Array
    still: Array
    pixels: int
    window: tuple[int, int, int, int]
    """top, left, height and width of the pixels read, from the first sample of x."""


@lru_cache(maxsize=256)
def _places(axes: tuple[Axis, Axis], channels: int, pitch: int) -> _Places:
    y, x = axes
    height, width = (y.out - 1) * y.stride + y.reach, (x.out - 1) * x.stride + x.reach
    at = np.add.outer(np.arange(y.out) * (y.stride * width), np.arange(x.out) * x.stride).reshape(-1) * channels
    off = np.add.outer(np.arange(y.size) * (y.dilation * width), np.arange(x.size) * x.dilation).reshape(-1) * channels
    to = np.arange(y.out * x.out) * pitch
    return _Places(at, off, to, np.zeros(len(off), np.int64), height * width, (y.start, x.start, height, width))


def backward_x(problem: Problem, weights: Weights, z: Array, x: Array, bands: Any) -> None:
    """Write x's side. `bands(one, rows)` calls `one` on each band of so many of x's rows.

    A band of x takes from each row of taps the outputs whose tap lies in it: bands do not overlap, no sum is shared.
    """
    from sash.kernels.cpu.gated import forward, pack, pitch
    from sash.kernels.cpu.layout import enter, leave

    assert weights.gate is not None
    groups, made, each = problem.groups, problem.inputs // problem.groups, problem.outputs // problem.groups
    step = pitch(made, problem.itemsize)
    down, across = problem.axes
    width, taps = (across.out - 1) * across.stride + across.reach, across.size
    turned = [w.swapaxes(2, 3) for w in _by_taps(problem, weights.dense)]
    packed = [[pack(w[:, u * taps : (u + 1) * taps]) for u in range(down.size)] for w in turned]
    z, gates = _straight(z, problem.dtype), weights.gate
    off = np.arange(taps) * (across.dilation * groups * step)

    def one(n: int, top: int, bottom: int) -> None:
        found = np.zeros((bottom - top) * width * groups * step, z.dtype)
        touched = list(_touched(down, top, bottom))
        if touched:
            low, high = min(i for _, i, _ in touched), max(j for _, _, j in touched)
            block = np.empty((high - low) * across.out * problem.outputs, z.dtype)
            enter(
                flat(z), n * z.strides[0] // z.itemsize, z.strides[1] // z.itemsize, block, 0, problem.outputs, problem.outputs,
                z.shape[2], z.shape[3], low, 0, high - low, across.out,
            )  # fmt: skip
            for u, i, j in touched:
                gate = np.ascontiguousarray(gates[n, u, :, i:j]).reshape(-1)
                count = (j - i) * across.out
                at = np.arange(count) * problem.outputs + (i - low) * across.out * problem.outputs
                rows = np.arange(i, j) * down.stride + down.start + u * down.dilation - top
                to = np.add.outer(rows * width, np.arange(across.out) * across.stride).reshape(-1) * (groups * step)
                for g in range(groups):
                    forward(
                        block[g * each :], packed[g][u], found[g * step :], gate, at, np.zeros(taps, np.int64), to, off, 0, count,
                        problem.planes, each, made,
                    )  # fmt: skip
        _leave(found, groups, step, width, across, x[n, :, top:bottom], leave)

    bands(one, max(POSITIONS // max(width, 1), 1))


def _leave(found: Array, groups: int, step: int, width: int, across: Axis, x: Array, leave: Any) -> None:
    """The block's pixels that stand on samples, to a band of x; the rest of the band is zero."""
    made = x.shape[0] // groups
    left, right = max(across.start, 0), min(across.start + width, across.n)
    band = x if x.dtype == found.dtype and right - left == across.n and lies_well(x.shape, x.strides, x.itemsize, 1) else None
    target = np.zeros((x.shape[0], x.shape[1], max(right - left, 0)), found.dtype) if band is None else band
    if right > left:
        for g in range(groups):
            for r in range(x.shape[1]):
                at = (r * width + left - across.start) * groups * step + g * step
                place = (g * made * target.strides[0] + r * target.strides[1]) // target.itemsize
                leave(
                    found,
                    at,
                    groups * step,
                    flat(target),
                    place,
                    target.strides[0] // target.itemsize,
                    made,
                    right - left,
                    0,
                    0,
                    1,
                    right - left,
                )
    if band is None:
        x[...] = 0
        give(target, x[:, :, left : max(right, left)])


def _touched(axis: Axis, top: int, bottom: int) -> Iterator[tuple[int, int, int]]:
    """(tap, i, j): the outputs [i, j) whose tap lies on samples [top, bottom)."""
    for u in range(axis.size):
        first = axis.start + u * axis.dilation  # where output 0 reads
        i, j = max(-(-(top - first) // axis.stride), 0), min((bottom - 1 - first) // axis.stride + 1, axis.out)
        if i < j:
            yield u, i, j


def backward_w(problem: Problem, x: Array, z: Array, gate: Array, w: Array, bands: Any) -> None:
    """Write w's side (L, O, C/G, h, w).  `bands(one, rows)` calls `one` on each band of so many rows of outputs."""
    from sash.kernels.cpu.gated import pitch, unpack, weigh
    from sash.kernels.cpu.layout import enter

    groups, each, made = problem.groups, problem.inputs // problem.groups, problem.outputs // problem.groups
    step = pitch(made, problem.itemsize)
    down, across = problem.axes
    taps = down.size * across.size
    x, z = _straight(x, problem.dtype), _straight(z, problem.dtype)
    size = problem.planes * taps * each * step
    sums = np.zeros((SUMS, groups, size), x.dtype)

    def one(n: int, top: int, bottom: int, into: int) -> None:
        runs = down._replace(start=down.start + top * down.stride, stop=down.start + (bottom - 1) * down.stride + down.reach)
        t = _places((runs, across), problem.inputs, groups * step)
        block, weight = np.empty(t.pixels * problem.inputs, x.dtype), np.zeros(len(t.to) * groups * step, x.dtype)
        item = x.itemsize
        enter(
            flat(x),
            n * x.strides[0] // item,
            x.strides[1] // item,
            block,
            0,
            problem.inputs,
            problem.inputs,
            x.shape[2],
            x.shape[3],
            *t.window,
        )
        for g in range(groups):
            place = (n * z.strides[0] + g * made * z.strides[1]) // item
            enter(
                flat(z),
                place,
                z.strides[1] // item,
                weight,
                g * step,
                groups * step,
                made,
                z.shape[2],
                z.shape[3],
                top,
                0,
                bottom - top,
                across.out,
            )
        band = np.ascontiguousarray(gate[n, :, :, top:bottom]).reshape(-1)
        for g in range(groups):
            weigh(
                block[g * each :], weight[g * step :], sums[into, g], band, t.at, t.off, t.to, t.still, 0, len(t.to),
                problem.planes, each, made,
            )  # fmt: skip

    bands(one, max(POSITIONS // max(across.out, 1), 1))
    found = np.empty((problem.planes, taps, each, made), x.dtype)
    for g in range(groups):
        total = sums[0, g]
        for partial in sums[1:, g]:
            total += partial
        unpack(total, found)
        laid = found.swapaxes(2, 3).reshape(problem.planes, down.size, across.size, made, each)
        w[:, g * made : (g + 1) * made] = np.moveaxis(laid, (1, 2), (3, 4))
