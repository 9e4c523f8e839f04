"""Windows times a matrix: the windows of a bounded block are laid out as rows, and BLAS does the rest.

    x (N, C, *S)   windows (N*out, C/G*K)   w (G, C/G*K, O/G)   y (N, O, *out)
Pays where there are many channels, since one row of windows then serves all outputs.  Never holds more than a block.
Imports: arrays.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, add_exactly, fill, give
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods.method import GATED, Cost
from sash.problem import Box, Problem

NAME = "gemm"


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if problem.reduce != "product":
        return f"{problem.reduce} differences are no matrix product"
    return ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    wide = problem.taps + problem.outputs // problem.groups * 2
    room = min(4 * machine.cache, limit / 2)
    tile = _block(problem, max(int(room / (item * wide)), 1))
    tiles = problem.count(tile)
    work = {
        f"gemm.{problem.dtype}": problem.results * problem.taps,
        "gemm.window": problem.batch * prod(problem.out) * problem.taps * problem.groups,
        "copy.sample": problem.samples,
        "block": tiles * problem.groups,
    }
    scratch = (problem.reads(tile) + prod(tile) * (wide + problem.outputs)) * item
    return Cost(work, scratch, problem.taps * problem.outputs * item, tile)


def _block(problem: Problem, positions: int) -> tuple[int, ...]:
    """A block of the output of at most about this many positions."""
    block = [problem.batch, *problem.out]
    while prod(block) > positions and max(block) > 1:
        i = next(i for i, n in enumerate(block) if n > 1)
        block[i] = -(-block[i] // 2)
    return tuple(block)


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Array:
    w = np.ascontiguousarray(weights.dense, problem.dtype)
    return w.reshape(problem.groups, problem.outputs // problem.groups, -1).transpose(0, 2, 1)


def run(problem: Problem, x: Array, prepared: Array, y: Array, cval: float) -> None:
    tile = fill(x, problem.axes, problem.dtype, cval)
    out, each = problem.out, problem.outputs // problem.groups
    for g in range(problem.groups):
        product = _product(rows(problem, tile, g), prepared[g], CHUNK[problem.elementwise])
        give(np.moveaxis(product.reshape(problem.batch, *out, each), -1, 1), y[:, g * each : (g + 1) * each])


def rows(problem: Problem, tile: Array, g: int) -> Array:
    """The windows of group g of a tile that holds the extension of x: (N*out, C/G*K), copied."""
    wide, steps = problem.inputs // problem.groups, tile.strides
    shape = (problem.batch, *problem.out, wide, *[a.size for a in problem.axes])
    strides = (
        steps[0],
        *(s * a.stride for s, a in zip(steps[2:], problem.axes, strict=True)),
        steps[1],
        *(s * a.dilation for s, a in zip(steps[2:], problem.axes, strict=True)),
    )
    return as_strided(tile[:, g * wide :], shape, strides).reshape(problem.batch * prod(problem.out), -1)


def _product(windows: Array, w: Array, chunk: int) -> Array:
    """windows @ w, no running sum being longer than `chunk` terms."""
    total: Array = windows[:, :chunk] @ w[:chunk]
    if len(w) <= chunk:
        return total
    rest = np.zeros_like(total)
    for k in range(chunk, len(w), chunk):
        add_exactly(total, windows[:, k : k + chunk] @ w[k : k + chunk], rest)
    return np.add(total, rest, out=total)
