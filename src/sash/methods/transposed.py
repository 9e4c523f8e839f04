"""Transposed problems by direct sums: how their classes are made together, and what that takes.

    x (N, C, *S)   w (O, C/G, *K)   y (N, O, *out)
Classes of a row lie side by side until they are woven.  Where channels do not see each other, each channel is given one
border for all of its classes, and rows are woven while the first-level cache holds them: `crossed`; elsewhere blocks of rows
are: `woven`.   Imports: arrays, kernels, borders, channels, offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, packed
from sash.axis import Axis
from sash.machine import Machine
from sash.methods import borders, channels
from sash.methods.offsets import joins, shares_samples
from sash.methods.phases import SHUFFLED, offsets
from sash.problem import Problem

HELD = 1 << 18
"""Elements that are held while a problem is made class by class: results until they are woven, and samples of one class with
their border.  Caches hold them."""

WIDE = 64
"""Bytes of a vector, at most."""

PIECES = 2
"""Blocks of channels for every core: the last to finish has less to do."""


class Together(NamedTuple):
    """How much each thread makes before it is woven."""

    tile: tuple[int, ...]
    """Images, and positions of the leading axes, of one class each; or channels, all images' counted together."""
    held: int
    """Elements that a thread holds for that, what it reads included."""
    crossed: bool
    """Channel by channel."""


@lru_cache(maxsize=256)
def together(problem: Problem, limit: float, cores: int) -> Together:
    """The way for this memory, on a machine with so many cores."""
    found = crosses(problem)
    if found is not None and found.held * cores * problem.itemsize <= limit:
        images = problem.batch * problem.outputs
        return Together((-(-images // (PIECES * cores)),), found.held, True)
    parts = [part for _, part in problem.phases() if part is not None]
    most = HELD if limit == float("inf") else min(HELD, int(limit) // (4 * cores * problem.itemsize))
    lead = [max([-(-(a.out - p.first) // p.step) for p in a.phases()], default=0) for a in problem.axes[:-1]]
    row = problem.out[-1] + len(problem.axes[-1].phases())

    def held(tile: list[int]) -> int:
        reads = [part.reads((*tile, part.out[-1])) // (part.groups if channels.apart(part) else 1) for part in parts]
        joined = max([_joined(part, tile) for part in parts], default=0)
        return prod(tile) * problem.outputs * (row + joined) + max(reads, default=0)

    tile = [problem.batch, *lead]
    while held(tile) > most and max(tile) > 1:
        i = tile.index(max(tile))
        tile[i] = -(-tile[i] // 2)
    return Together(tuple(tile), held(tile), False)


def _joined(part: Problem, tile: list[int]) -> int:
    """Elements of a row of a class that is joined with others, until it is drawn out (see `joins`)."""
    pitch = part.out[-1] - 1 + part.axes[-1].reach
    return pitch if len(tile) > 1 and shares_samples(part) and joins(part, tile[-1], part.out[-1], pitch, WIDE // part.itemsize) else 0


class Crossed(NamedTuple):
    """How a channel with its border holds all classes (see kernels/cpu/weave.py for the letters)."""

    axes: tuple[Axis, ...]
    """What is read of each axis."""
    laid: tuple[int, ...]
    source: Array
    kind: Array
    begin: Array
    off: Array
    tap: Array
    taps: int
    """Of a channel, in use or not."""
    counts: tuple[int, ...]

    @property
    def held(self) -> int:
        """Elements of one channel with its border, of one row of results, and of the tables."""
        return prod(self.laid) + (len(self.counts) + 2) * (max(self.counts) + self.slack) + 8 * len(self.source) + 16 * self.taps

    @property
    def slack(self) -> int:
        """Elements behind what is read, which blocks of vectors reach over."""
        return 4 * 16


@lru_cache(maxsize=256)
def crosses(problem: Problem) -> Crossed | None:
    """How channels that do not see each other are made; None where they do, or caches do not hold one."""
    phases = [a.phases() for a in problem.axes]
    if not channels.apart(problem) or problem.dtype == "int64" or not 1 < len(phases[-1]) <= max(SHUFFLED):
        return None
    classes = [[p.axis for p in of] for of in phases]
    if any([not of for of in classes]) or any([a is None or a.stride > 1 for a in classes[-1]]):
        return None
    met = [[a for a in of if a is not None] for of in classes]
    if not all(met) or not all([a.plain or a.boundary in ("zero", "constant") for of in met for a in of]):
        return None
    frame = tuple(
        [of[0]._replace(size=1, stride=1, dilation=1, start=min([a.start for a in of]), stop=max([a.stop for a in of])) for of in met]
    )
    laid = tuple([a.stop - a.start for a in frame])
    if prod(laid) > HELD or not prod(laid):
        return None
    steps = packed(laid, 1)
    # Rows of results, whatever their kind: which row of the frame their first tap reads.
    source, kind = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for axis, of, f, step in zip(problem.axes[:-1], phases, frame, steps, strict=False):
        at = np.arange(axis.out)
        which = at % of[0].step
        strides = np.array([1 if p.axis is None else p.axis.stride for p in of])
        starts = np.array([0 if p.axis is None else p.axis.start - f.start for p in of])
        source = np.add.outer(source, (starts[which] + at // of[0].step * strides[which]) * step).reshape(-1)
        kind = np.add.outer(kind * len(of), which).reshape(-1)
    begin, off, tap = [0], list[Array](), list[Array]()
    sizes = [a.size for a in problem.axes]
    for found in product(*phases):
        if all([p.axis is not None for p in found]):
            axes = [p.axis for p in found if p.axis is not None]
            off.append(
                offsets([(a.size, a.dilation * step) for a, step in zip(axes, steps, strict=True)]) + (axes[-1].start - frame[-1].start)
            )
            every = zip(axes, found, packed(tuple(sizes), 1), strict=True)
            taps = [(p.tap * step, a.size, p.every * step) for a, p, step in every]
            tap.append(offsets([(count, step) for _, count, step in taps]) + sum([first for first, _, _ in taps]))
            begin.append(begin[-1] + len(tap[-1]))
        else:  # no tap meets a sample
            begin.append(begin[-1])
    counts = tuple([-(-(problem.out[-1] - p.first) // p.step) for p in phases[-1]])
    return Crossed(frame, laid, source, kind, np.array(begin), np.concatenate(off), np.concatenate(tap), prod(sizes), counts)


def cross(problem: Problem, first: int, last: int) -> Callable[[Array, Array, Array], None]:
    """Images and channels `first` to `last`, counted together, of a problem that `crosses`: make(x, w, y), all flat and contiguous."""
    from sash.kernels.cpu import simd
    from sash.kernels.cpu.border import lanes
    from sash.kernels.cpu.weave import crossed

    c = crosses(problem)
    assert c is not None
    item, axes = np.dtype(problem.dtype).itemsize, problem.axes
    steps, goals = packed(tuple([a.n for a in axes]), 1), packed(tuple(problem.out), 1)
    f = borders.frame(c.axes, (1, 1), (0, 0, *steps))
    images = np.arange(first, last)
    at, goal = images * prod([a.n for a in axes]) + f.at[0], images * prod(problem.out)
    target = offsets(list(zip(problem.out[:-1], goals, strict=False)))
    size, wide = simd.block(item), max(c.counts)
    cols = (0,) * (1 if wide <= len(size.lanes) else len(size.cols))
    pitch, room = wide + c.slack, prod(c.laid) + c.slack
    told = (
        *(at, goal, first, f.told, np.zeros(1, np.int64), c.source, target),
        *(c.kind, c.begin, c.off, c.tap, c.taps, np.array(c.counts), pitch),
    )
    kernel = simd.sized(crossed, size.lanes, cols, lanes(item, f.lead, f.n, 1), (0,), (0,) * len(c.counts))

    def make(x: Array, w: Array, y: Array) -> None:
        kernel(x, np.empty(room, problem.dtype), np.empty(len(c.counts) * pitch, problem.dtype), w, y, *told)

    return make


def crossing(problem: Problem, way: Together, machine: Machine) -> dict[str, float]:
    """The work of a problem whose channels are made one by one."""
    c, lanes = crosses(problem), machine.vector // problem.itemsize
    assert c is not None
    filled = np.array([-(-n // lanes) * lanes for n in c.counts])
    terms = np.diff(c.begin).reshape(-1, len(filled)) @ filled  # of a row of each kind
    images = problem.batch * problem.outputs
    return {
        f"direct.apart.product.{problem.dtype}": images * float(terms[c.kind].sum()),
        f"result.{problem.dtype}": float(images * len(c.source) * filled.sum()),
        "copy.sample": float(images * (prod(c.laid) + prod(problem.out))),
        "direct.block": -(-images // way.tile[0]),
    }
