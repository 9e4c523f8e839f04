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
from sash.machine import Machine, machine
from sash.methods import borders, channels
from sash.methods.offsets import joins, shares_samples
from sash.methods.phases import SHUFFLED, offsets
from sash.problem import Problem

HELD = 1 << 18
"""Elements that are held while a problem is made class by class: results until they are woven, and samples of one class with
their border.  Caches hold them."""

WIDE = 64
"""Bytes of a vector, at most."""

WAYS, ACROSS, TABLE = 2, 9, 1 << 15
"""Classes of a row, taps across and rows of terms, at most, of channels whose rows are read where they lie."""

PIECES, LONG = 2, 1 << 25
"""Blocks of channels for every core, from so many terms on: the last to finish has less to do.  Of fewer terms one."""


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
        pieces = cores * (PIECES if problem.results * problem.taps >= LONG else 1)
        return Together((-(-images // pieces),), found.held, True)
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
    terms: int = 0
    """Rows of terms of all rows of results where rows are read as they lie; 0 where they are not."""

    @property
    def held(self) -> int:
        """Elements of one channel with its border, of one row of results, and of the tables."""
        if self.terms:
            return 8 * self.terms + 4 * len(self.source) + 2 * (self.slack + max(self.counts))
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
    terms = prod([a.out * -(-a.size // a.phases()[0].every) for a in problem.axes[:-1]]) if frameless(problem) else 0
    return Crossed(frame, laid, source, kind, np.array(begin), np.concatenate(off), np.concatenate(tap), prod(sizes), counts, terms)


def cross(problem: Problem, first: int, last: int) -> Callable[[Array, Array, Array], None]:
    """Images and channels `first` to `last`, counted together, of a problem that `crosses`: make(x, w, y), all flat and contiguous."""
    from sash.kernels.cpu import simd
    from sash.kernels.cpu.border import lanes
    from sash.kernels.cpu.weave import crossed

    c = crosses(problem)
    assert c is not None
    if frameless(problem) and simd.vector_bytes() >= channels.MASKED:  # whatever the machine is said to have
        return _frameless(problem, first, last)
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


@lru_cache(maxsize=256)
def frameless(problem: Problem) -> bool:
    """Rows are read where they lie, both classes side by side: their ends hold what there is of a border."""
    lanes = channels.MASKED // problem.itemsize
    if machine().vector < channels.MASKED or problem.dtype != problem.source or problem.dtype != problem.result:
        return False
    ways = [p.axis for p in problem.axes[-1].phases()]
    if len(ways) != WAYS or problem.axes[-1].size > ACROSS or any([a is None or a.dilation > 1 or a.stride > 1 for a in ways]):
        return False
    near, (lead, tail) = _near(problem.axes[-1])
    entries = prod([a.out * a.size for a in problem.axes[:-1]])
    return max(lead, tail) <= lanes <= problem.out[-1] // WAYS and abs(near[1] - near[0]) < WAYS and entries <= TABLE


def _near(axis: Axis) -> tuple[list[int], tuple[int, int]]:
    """Where the first taps of both classes lie from sample j on, and how many samples before a row's first and behind its last they read."""
    ways = [p.axis for p in axis.phases() if p.axis]
    begin, count = [a.start for a in ways], -(-axis.out // WAYS)
    past = max([a.start + a.size for a in ways]) + count - 1 - axis.n
    return begin, (max(-min(begin), 0), max(past, 0))


@lru_cache(maxsize=256)
def _terms(axes: tuple[Axis, ...], steps: tuple[int, ...], taps: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Where the terms of each row of results begin; which rows of samples they read, -1 being outside; and their first weight."""
    count = tuple([a.out for a in axes])
    lists = list[tuple[Array, Array, Array]]()
    for found in product(*[a.phases() for a in axes]):
        at, read, weight = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros(1, np.int64)
        for a, p, step, tap, goal in zip(axes, found, steps, taps, packed(count, 1), strict=True):
            here = np.arange(p.first, a.out, p.step)
            each = p.axis or a._replace(size=0)
            of = (each.start + np.arange(len(here)) * each.stride)[:, None] + np.arange(each.size) * each.dilation
            of = np.where((of >= 0) & (of < a.n), of * step, channels.OUTSIDE)
            at = np.add.outer(at, here * goal).reshape(-1)
            read = np.add(read[:, None, :, None], of[None, :, None, :]).reshape(len(read) * len(of), -1)
            weight = np.add.outer(weight, (p.tap + np.arange(each.size) * p.every) * tap).reshape(-1)
        lists.append((at, read, weight))
    length = np.zeros(prod(count), np.int64)
    for at, read, _ in lists:
        length[at] = read.shape[1]
    begin = np.concatenate([[0], np.cumsum(length)])
    row, number = np.empty(begin[-1], np.int64), np.empty(begin[-1], np.int64)
    for at, read, weight in lists:
        spots = begin[at][:, None] + np.arange(read.shape[1])
        row[spots], number[spots] = np.maximum(read, -1), weight
    return begin, row, number


def _frameless(problem: Problem, first: int, last: int) -> Callable[[Array, Array, Array], None]:
    """`cross` of a problem that is `frameless`."""
    from sash.kernels.cpu import simd
    from sash.kernels.cpu.selvages import lanes_of, selvages

    axes, axis, item = problem.axes, problem.axes[-1], problem.itemsize
    steps, goals = packed(tuple([a.n for a in axes]), 1), packed(tuple(problem.out), 1)
    even, odd = axis.phases()
    assert even.axis is not None and odd.axis is not None
    near, (lead, tail) = _near(axis)
    ahead, images = max(min(near), 0), np.arange(first, last)
    lanes, cols = lanes_of(item, -(-axis.out // WAYS))
    sizes = even.axis.size + 1, odd.axis.size + 1, near[1] - near[0] + 2, lead + 1, tail + 1, 1 + WAYS * even.tap + odd.tap
    kernel = simd.sized(selvages, lanes, cols, (0,) * WAYS, *[(0,) * size for size in sizes])
    begin, row, tap = _terms(axes[:-1], steps[:-1], packed(tuple([a.size for a in axes]), 1)[:-1])
    told = (
        *(images * prod([a.n for a in axes]) + ahead, images * prod(problem.out), first),
        *(offsets(list(zip(problem.out[:-1], goals, strict=False))), begin, row, tap),
        *(np.zeros(len(lanes) * len(cols) + axis.size, problem.dtype), prod([a.size for a in axes]), axis.n - ahead, axis.out),
    )
    return lambda x, w, y: kernel(x, w, y, *told)


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
        "copy.sample": float(images * (prod(problem.out) + (0 if c.terms else prod(c.laid)))),
        "direct.block": -(-images // way.tile[0]),
    }
