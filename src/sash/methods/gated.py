"""Weights that vary from place to place among a few planes: an indirect matrix product over lists of positions.

    x (N, C, H, W)   w (L, O, C/G, h, w)   gate (N, h, w, OH, OW)   y, z (N, O, OH, OW)
A band of rows is laid out pixel by pixel; for each tap and plane the positions that read it are listed and multiplied
with that plane's channels. The planes share out the positions, so all together cost one plain convolution.
Imports: pixels, kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import Cost
from sash.methods.pixels import Piece, buffers, enter, leave, multiply, pack, pieces, pitch, places, ready, spans, sum_up
from sash.problem import Box, Problem

NAME = "gated"
POSITIONS = 2560
"""Outputs of a band (of whole rows) with 64 channels: from 1280 to 5120 takes the same time, tiles that are narrower than
the image 5 to 25 % more.  With fewer channels a band holds more, and is fewer calls (3 to 16 channels: 25 ms, then 18)."""

MANY = 64
"""Channels that fill a band ..."""

MORE = 4
"""... and how many times as many outputs it holds at most."""

FILLED, BANDS = 128, 8
"""Channels that fill a band of derivatives, if memory is not limited, and bands at least (3 to 16 channels of 480 x 640: 35 ms in
bands of 4 rows, 5 in bands of 32)."""

LEAST = 1024
"""Outputs of a band at least: each takes 0.15 ms beside its sums (16² of 4 to 8 channels in 4 bands: 640 us, in one: 240)."""

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
    more = min(max(MANY // max(problem.inputs, problem.outputs), 1), MORE)
    rows = max(more * POSITIONS // max(problem.out[1], 1), 1)
    if more > 1:
        rows = min(rows, max(-(-problem.batch * problem.out[0] // (2 * machine.cores)), -(-LEAST // max(problem.out[1], 1))))
    while rows > 1 and _scratch(problem, rows) > limit:
        rows = -(-rows // 2)
    rows = min(rows, problem.out[0])
    each, padded = problem.inputs // problem.groups, -(-problem.outputs // problem.groups // 16) * 16 * problem.groups
    spots, taps = problem.batch * prod(problem.out), problem.axes[0].size * problem.axes[1].size
    work = {
        f"gated.{problem.dtype}": spots * taps * each * padded,
        "copy.sample": 2 * (problem.samples + len(pieces(taps, each, problem.elementwise)) * problem.results),
        "gated.block": problem.batch * -(-problem.out[0] // max(rows, 1)),
    }
    packed = problem.planes * taps * each * padded * problem.itemsize
    return Cost(work, _scratch(problem, rows), packed, (1, rows, problem.out[1]))


def _scratch(problem: Problem, rows: int) -> int:
    """Bytes of a band: of x and of y, pixel by pixel, the gate, lists and places."""
    y, x = problem.axes
    width = (x.out - 1) * x.stride + x.reach
    pixels = ((rows - 1) * y.stride + y.reach) * width
    item, positions, taps = problem.itemsize, rows * x.out, y.size * x.size
    wide = problem.inputs + 16 * problem.groups
    widest = (problem.outputs + 16 * problem.groups) * buffers(taps, problem.inputs // problem.groups, problem.elementwise)
    return (pixels * wide + positions * widest) * item + positions * (taps + 48) + problem.reads((1, rows, x.out)) * item


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


class Planes(NamedTuple):
    """The operands beside x: weights of each group as the kernels want them, and which plane is read where."""

    packed: tuple[Piece, ...]
    gate: Array

    def at(self, box: Box) -> Planes:
        """Those of a block of the output."""
        (first, last), *rest = box
        return Planes(self.packed, self.gate[(slice(first, last), slice(None), slice(None), *[slice(o, p) for o, p in rest])])


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Planes:
    assert weights.gate is not None
    return Planes(pack(_by_taps(problem, weights.dense), problem.elementwise), weights.gate)


def _by_taps(problem: Problem, w: Array) -> list[Array]:
    """(L, O, C/G, h, w) to (L, T, C/G, O/G) of each group."""
    laid, each = np.moveaxis(w.astype(problem.dtype, copy=False), (3, 4), (1, 2)), problem.outputs // problem.groups
    laid = laid.reshape(len(w), -1, *laid.shape[3:]).swapaxes(2, 3)
    return [laid[..., o : o + each] for o in range(0, problem.outputs, each)]


def run(problem: Problem, x: Array, prepared: Planes, y: Array, cval: float) -> None:
    axes, inputs, extents = problem.axes, problem.inputs, spans(problem.axes)
    t = places(axes, (extents[1] * inputs, inputs), pitch(problem))
    x, block = ready(x, problem.dtype), np.empty(prod(extents) * inputs, problem.dtype)
    for n in range(problem.batch):
        enter(x[n], [a.start for a in axes], extents, block, inputs)
        gate = np.ascontiguousarray(prepared.gate[n]).reshape(-1)
        leave(multiply(problem, block, prepared.packed, gate, t), problem.groups, t.pitch, y[n])


def _rows(problem: Problem, rows: int, width: int, roomy: bool) -> int:
    """Rows of a band of derivatives, of so many of such a width."""
    each = max(POSITIONS // max(width, 1), 1)
    more = FILLED // max(problem.inputs, problem.outputs) if roomy else 1
    return max(each, min(more * each, -(-problem.batch * rows // BANDS)))


def backward_x(problem: Problem, weights: Weights, z: Array, x: Array, bands: Any, roomy: bool) -> None:
    """Write x's side. `bands(one, rows)` calls `one` on each band of so many of x's rows; `roomy`: memory is not limited.

    A band of x takes from each row of taps the outputs whose tap lies in it: bands do not overlap, no sum is shared.
    """
    from sash.kernels.cpu.gated import forward

    assert weights.gate is not None
    down, across = problem.axes
    back = problem._replace(inputs=problem.outputs, outputs=problem.inputs)
    groups, each, made, step = back.groups, back.inputs // back.groups, back.outputs // back.groups, pitch(back)
    width, taps = across.n, across.size
    turned = [w.swapaxes(2, 3) for w in _by_taps(problem, weights.dense)]
    packed = [pack([w[:, u * taps : (u + 1) * taps] for w in turned], problem.elementwise) for u in range(down.size)]
    many = max(CHUNK[problem.elementwise] // (taps * each), 1)  # rows of taps that are summed in one go
    z, gates = ready(z, problem.dtype), weights.gate
    off, still = np.arange(taps) * (across.dilation * step), np.zeros(taps, np.int64)
    inside = list(_touched(across, 0, width))

    def one(n: int, top: int, bottom: int) -> None:
        touched = list(_touched(down, top, bottom))
        low, high = min([i for _, i, _ in touched], default=0), max([j for _, _, j in touched], default=0)
        block = np.empty((high - low) * across.out * back.inputs, z.dtype)
        enter(z[n], (low, 0), (high - low, across.out), block, back.inputs)

        def found(first: int, number: int) -> Array:
            """The sums of some rows of taps, of one piece of each."""
            sums = np.zeros((bottom - top) * width * step, z.dtype)
            for u, i, j in [t for t in touched if first <= t[0] < first + many]:
                t, last, c, channels, panels = packed[u][number]
                last += t
                count = (j - i) * across.out
                gate = np.full((taps, j - i, across.out), -1, np.int8)  # what lies beside the image takes nothing
                for v, a, b in inside:
                    gate[v, :, a:b] = gates[n, u, v, i:j, a:b]
                at = (np.arange(count) + (i - low) * across.out) * back.inputs
                rows = np.arange(i, j) * down.stride + down.start + u * down.dilation - top
                to = np.add.outer(rows * width, np.arange(across.out) * across.stride + across.start).reshape(-1) * step
                for g in range(groups):
                    forward(
                        block[g * each + c :], panels[g], sums[g * (step // groups) :], gate.reshape(-1), at, still[t:last], to,
                        off[t:last], t * count, count, problem.planes, channels, made,
                    )  # fmt: skip
            return sums

        parts = [(u, number) for u in range(0, down.size, many) for number in range(len(packed[u]))]
        leave(sum_up(starmap(found, parts), problem.elementwise), groups, step, x[n, :, top:bottom])

    bands(one, _rows(problem, down.n, width, roomy))


def _touched(axis: Axis, top: int, bottom: int) -> Iterator[tuple[int, int, int]]:
    """(tap, i, j): the outputs [i, j) whose tap lies on samples [top, bottom)."""
    for u in range(axis.size):
        first = axis.start + u * axis.dilation  # where output 0 reads
        i, j = max(-(-(top - first) // axis.stride), 0), min((bottom - 1 - first) // axis.stride + 1, axis.out)
        if i < j:
            yield u, i, j


def backward_w(problem: Problem, x: Array, z: Array, gate: Array, w: Array, bands: Any, roomy: bool) -> None:
    """Write w's side (L, O, C/G, h, w).  `bands(one, rows)` calls `one` on each band of so many rows of outputs."""
    from sash.kernels.cpu.gated import TOGETHER, unpack, weigh

    groups, each, made, step = problem.groups, problem.inputs // problem.groups, problem.outputs // problem.groups, pitch(problem)
    wide = step // groups
    down, across = problem.axes
    taps = down.size * across.size
    x, z = ready(x, problem.dtype), ready(z, problem.dtype)
    sums = np.zeros((SUMS, groups, problem.planes * taps * each * wide), x.dtype)
    totals: dict[int, Array] = {}
    added = [0] * SUMS

    def one(n: int, top: int, bottom: int, into: int) -> None:
        rows = down._replace(start=down.start + top * down.stride, stop=down.start + (bottom - 1) * down.stride + down.reach)
        extents = spans((rows, across))
        t = places((rows, across), (extents[1] * problem.inputs, problem.inputs), step)
        block, weight = np.empty(prod(extents) * problem.inputs, x.dtype), np.zeros(len(t.to) * step, x.dtype)
        enter(x[n], (rows.start, across.start), extents, block, problem.inputs)
        band = np.ascontiguousarray(gate[n, :, :, top:bottom]).reshape(-1)
        for g in range(groups):
            beside = weight[g * wide :]
            enter(z[n, g * made : (g + 1) * made], (top, 0), (bottom - top, across.out), beside, step)
            weigh(
                block[g * each :], beside, sums[into, g], band, t.at, t.off, t.to, t.still, 0, len(t.to), problem.planes, each, made,
            )  # fmt: skip
        added[into] += -(-len(t.to) // TOGETHER)
        if added[into] >= CHUNK[True]:  # no running sum is longer than two such
            totals[into] = totals.get(into, 0) + sums[into]
            sums[into], added[into] = 0, 0

    bands(one, _rows(problem, down.out, across.out, roomy and not problem.elementwise))
    for into, held in totals.items():
        sums[into] += held
    found = np.empty((problem.planes, taps, each, made), x.dtype)
    for g in range(groups):
        total = sums[0, g]
        for partial in sums[1:, g]:
            total += partial
        unpack(total, found)
        laid = found.swapaxes(2, 3).reshape(problem.planes, down.size, across.size, made, each)
        w[:, g * made : (g + 1) * made] = np.moveaxis(laid, (1, 2), (3, 4))
