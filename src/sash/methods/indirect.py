"""Many channels at once: a matrix product over pixels that reads each window where it lies, without laying it out.

    x (N, C, *S)   block (pixels, C)   w (O, C/G, *K)   y (N, O, *out)
A band of x is turned pixel by pixel, so that the channels of a row of taps are neighbours; every output position is a
row of a matrix that is only pointed at.  Source: Dukhan 2019, The Indirect Convolution Algorithm, arXiv:1907.02129.
Imports: pixels, arrays.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from sash.arrays.numpy_ import Array, fill, flat
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods.method import GATED, ON_CPU, Cost
from sash.methods.pixels import Piece, buffers, enter, leave, multiply, pack, pieces, pitch, places, ready, spans
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
    return ""


ALONE = 1.7
"""How much longer a term takes where the outputs fill one vector only: nothing that is loaded serves a second one."""


PLANE = 0.3
"""Blocks that take as long as turning one plane more of a volume, in or out."""


def lanes(problem: Problem) -> int:
    """Outputs of a vector register, at most."""
    return 64 // problem.itemsize


def padded(problem: Problem) -> int:
    """Outputs that are computed: those of each group fill vector registers."""
    wide = lanes(problem)
    return problem.groups * -(-problem.outputs // problem.groups // wide) * wide


TURNED = {False: 5, True: 10}
"""Copies of a sample that turning a weight takes as long as, by whether they all leave the second-level cache (512 -> 512
channels by 3²: 6.3 ms)."""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    positions = POSITIONS
    tile = _block(problem, positions)
    while positions > 1 and _scratch(problem, tile) > limit:
        positions //= 2
        tile = _block(problem, positions)
    each, wide = problem.inputs // problem.groups, padded(problem)
    places = problem.batch * prod(problem.out)
    count, many = problem.count(tile), len(pieces(*_strips(problem), problem.elementwise))
    work = {
        f"indirect.{problem.dtype}": places * prod([a.size for a in problem.axes]) * each * wide * (ALONE if wide == lanes(problem) else 1),
        f"indirect.lift.{problem.dtype}": places * _strips(problem)[0] * wide,
        "indirect.turn": problem.samples + many * problem.results,
        "indirect.block": count * (problem.groups + PLANE * _planes(problem, tile)),
    }
    weights = problem.taps * wide * problem.itemsize
    far = weights > machine.cache
    work["copy.sample"] = problem.taps * problem.outputs * TURNED[far]
    if far:
        work["far.sample"] = count * weights / 4
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


def _planes(problem: Problem, tile: tuple[int, ...]) -> int:
    """Planes of a block of a volume beside the first that are turned one by one (8 -> 16 channels of 19 x 15 x 20 by 5³, stride 2:
    3.4 ms, 0.76 planned without)."""
    lead = tile[1:-2]
    read = prod([(n - 1) * a.stride + a.reach for n, a in zip(lead, problem.axes, strict=False)])
    return read - 1 + problem.groups * (prod(lead) - 1)


def _scratch(problem: Problem, tile: tuple[int, ...]) -> int:
    reads, made = problem.reads(tile), prod(tile)
    wide = buffers(*_strips(problem), problem.elementwise) * padded(problem) + problem.outputs * (1 + problem.woven)
    return (2 * reads + made * wide) * problem.itemsize + made * 40


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def _strips(problem: Problem) -> tuple[int, int]:
    """(T, C'): taps whose pixels are gone to one by one, and channels that lie behind each of them."""
    last = problem.axes[-1]
    count = prod([a.size for a in problem.axes])
    if problem.groups == 1 and (last.dilation == 1 or last.size == 1):
        return count // last.size, last.size * problem.inputs
    return count, problem.inputs // problem.groups


def prepare(problem: Problem, weights: Weights, cost: Cost) -> tuple[Piece, ...]:
    (taps, wide), each = _strips(problem), problem.outputs // problem.groups
    w = np.moveaxis(weights.dense.astype(problem.dtype, copy=False), (0, 1), (-1, -2))  # (*K, C/G, O)
    w = np.ascontiguousarray(w).reshape(1, taps, wide, problem.outputs)
    return pack([w[..., o : o + each] for o in range(0, problem.outputs, each)], problem.elementwise)


def run(problem: Problem, x: Array, prepared: tuple[Piece, ...], y: Array, cval: float) -> None:
    axes, inputs = problem.axes, problem.inputs
    taps, _ = _strips(problem)
    merged = taps < prod([a.size for a in axes])
    # The window's axes over samples that lie in place already, or over a block that holds the extension.
    plain = x.dtype == problem.dtype and x.strides[1] == x.itemsize and all([a.plain for a in axes]) and _steps_well(x)
    inside = plain and (not merged or x.strides[-1] == inputs * x.itemsize)
    extents = spans(axes)
    if inside:
        steps = tuple([s // x.itemsize for s in x.strides[2:]])
        start, source = sum([a.start * s for a, s in zip(axes, steps, strict=True)]), flat(x)
    else:
        steps = tuple([prod(extents[i + 1 :]) * inputs for i in range(len(axes))])
        block, x = np.empty(prod(extents) * inputs, problem.dtype), ready(x, problem.dtype)
    t = places(axes, steps, pitch(problem), merged)
    gate = _open(taps * len(t.to))
    for n in range(problem.batch):
        if inside:
            block = source[n * x.strides[0] // x.itemsize + start :]
        elif all([a.boundary == "zero" or a.plain for a in axes]):
            enter(x[n], [a.start for a in axes], extents, block, inputs)
        else:
            moved = tuple([a.moved(a.n, a.start, a.start + s) for a, s in zip(axes, extents, strict=True)])
            enter(np.ascontiguousarray(fill(x[n : n + 1], moved, problem.dtype, cval)[0]), [0] * len(axes), extents, block, inputs)
        leave(multiply(problem, block, prepared, gate, t), problem.groups, t.pitch, y[n])


def _steps_well(x: Array) -> bool:
    return x.flags.aligned and x.flags.writeable and all([s > 0 and s % x.itemsize == 0 for s in x.strides])


@lru_cache(maxsize=16)
def _open(count: int) -> Array:
    """A gate that is open everywhere."""
    return np.zeros(count, np.int8)
