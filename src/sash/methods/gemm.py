"""Windows times a matrix: the windows of a bounded block are laid out, and BLAS does the rest.

    x (N, C, *S)   windows (N*out, C/G*K), or of one image (C/G*K, out)   w (G, C/G*K, O/G)   y (N, O, *out)
They are laid out as rows or as columns, whichever is copied in longer runs; a product of columns lies as y does.  Pays where
there are many channels, since one window then serves all outputs.  Never holds more than a block.   Imports: arrays.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.accuracy import CHUNK
from sash.arrays import family
from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import GATED, Cost
from sash.problem import Box, Problem

NAME = "gemm"


PAGE = 1 << 12
"""Bytes of a window from which on writing and reading it waits for memory (33x33x10 taps: 0.73 ns a tap; 501 in a row: 0.37)."""


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if problem.reduce != "product":
        return f"{problem.reduce} differences are no matrix product"
    if problem.home == "cuda" and problem.bits:
        return "GPUs multiply no matrices of integers"
    return ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    wide = problem.taps + problem.outputs // problem.groups * 2
    room = min(4 * machine.cache, limit / 2)
    tile = _block(problem, max(int(room / (item * wide)), 1))
    tiles = problem.count(tile)
    single = problem.home == "numpy" and problem.outputs == problem.groups and problem.dtype != "int64"  # not by BLAS: see _times
    laid = problem.batch * prod(problem.out) * problem.taps * problem.groups
    work: dict[str, float] = {
        f"gemm.{'column.' if single else ''}{problem.dtype}": problem.results * problem.taps,
        "gemm.window": laid,
        "gemm.run": laid // max(_run(problem.axes), problem.out[-1] if _upright(problem) else 1),
        "copy.sample": problem.samples,
        "gemm.block": tiles * problem.groups,
    }
    if not all([a.plain for a in problem.axes]) and problem.samples * item > 2 * machine.cache:  # the copy waits for memory
        work["far.sample"] = problem.samples * item / 4
    if single and problem.taps * item > PAGE:
        work["far.sample"] = work.get("far.sample", 0) + laid * item / 4
    scratch = (problem.reads(tile) + prod(tile) * (wide + problem.outputs)) * item
    return Cost(work, scratch, problem.taps * problem.outputs * item, tile, alone=_blas(problem))


def _blas(problem: Problem) -> bool:
    """BLAS does it, with threads of its own: two calls at once wait for each other (3 ms, then 13 and more)."""
    return problem.home != "cuda" and problem.dtype != "int64" and problem.outputs > problem.groups


def _upright(problem: Problem) -> bool:
    """Windows are columns."""
    return _blas(problem) and problem.out[-1] > _run(problem.axes)


def _run(axes: tuple[Axis, ...]) -> int:
    """Taps that are copied in one go: those of an axis that a window covers go on with those of the axis before it."""
    length = 1
    for a in reversed(axes):
        length *= a.size
        if a.size > 1 and not a.size == a.stop - a.start == a.reach:
            break
    return length


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
    w: Array = family(weights.dense).cast(weights.dense, problem.dtype)
    return w.reshape(problem.groups, problem.outputs // problem.groups, -1).swapaxes(1, 2)


def run(problem: Problem, x: Array, prepared: Array, y: Array, cval: float) -> None:
    f = family(x)
    tile = f.fill(x, problem.axes, problem.dtype, cval)
    out, each = problem.out, problem.outputs // problem.groups
    if _upright(problem) and isinstance(tile, np.ndarray):
        for n, g in np.ndindex(problem.batch, problem.groups):
            _columns(problem, tile[n], prepared[g].T, g, y[n, g * each : (g + 1) * each])
        return
    for g in range(problem.groups):
        product = _product(rows(problem, tile, g), prepared[g], CHUNK[problem.elementwise])
        f.give(f.lib.moveaxis(product.reshape(problem.batch, *out, each), -1, 1), y[:, g * each : (g + 1) * each])


def _columns(problem: Problem, tile: Array, w: Array, g: int, y: Array) -> None:
    """One image and group by w (O/G, C/G*K)."""
    wide, steps = problem.inputs // problem.groups, tile.strides
    shape = (wide, *[a.size for a in problem.axes], *problem.out)
    strides = (
        steps[0],
        *(s * a.dilation for s, a in zip(steps[1:], problem.axes, strict=True)),
        *(s * a.stride for s, a in zip(steps[1:], problem.axes, strict=True)),
    )
    laid = as_strided(tile[g * wide :], shape, strides).reshape(w.shape[1], -1)
    chunk = CHUNK[problem.elementwise]
    if len(laid) <= chunk and y.flags.c_contiguous and y.dtype == laid.dtype:
        np.matmul(w, laid, out=y.reshape(len(w), -1))
        return
    family(tile).give(_product(w, laid, chunk).reshape(len(w), *problem.out), y)


def rows(problem: Problem, tile: Array, g: int) -> Array:
    """The windows of group g of a tile that holds the extension of x: (N*out, C/G*K), copied."""
    f = family(tile)
    wide, steps = problem.inputs // problem.groups, f.steps(tile)
    shape = (problem.batch, *problem.out, wide, *[a.size for a in problem.axes])
    strides = (
        steps[0],
        *(s * a.stride for s, a in zip(steps[2:], problem.axes, strict=True)),
        steps[1],
        *(s * a.dilation for s, a in zip(steps[2:], problem.axes, strict=True)),
    )
    laid: Array = f.windows(tile[:, g * wide :], shape, strides).reshape(problem.batch * prod(problem.out), -1)
    return laid


def _product(a: Array, b: Array, chunk: int) -> Array:
    """a @ b, no running sum being longer than `chunk` terms."""
    f = family(a)
    total = _times(a[:, :chunk], b[:chunk])
    if len(b) <= chunk:
        return total
    rest = f.lib.zeros_like(total)
    for k in range(chunk, len(b), chunk):
        f.add_exactly(total, _times(a[:, k : k + chunk], b[k : k + chunk]), rest)
    total += rest
    return total


def _times(windows: Array, w: Array) -> Array:
    """windows @ w; one column without BLAS, whose threads get in the way of ours (25 times slower was seen)."""
    if w.shape[1] == 1 and isinstance(w, np.ndarray):
        found: Array = np.einsum("pt,t->p", windows, np.ascontiguousarray(w[:, 0]))[:, None]
        return found
    product: Array = windows @ w
    return product
