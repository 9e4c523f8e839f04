"""Little problems, bound to their shapes: everything but the operands is settled once, and a call is one kernel.

    x (N, C, *S)   y (N, O, *out), both contiguous
The way to the loop takes ten times as long as the loop where arrays are little (16² by 3²: 26 us, and 2 for the kernel).
What is bound does the same sums in the same order as `direct` does.   Imports: direct, offsets, phases, machine, kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, fill, packed, readable
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods import direct
from sash.methods.offsets import Kernel, last_axis, plain, settled_rows, shares_samples, tabulated
from sash.methods.phases import offsets, phases
from sash.problem import Problem

FEW = 1 << 24
"""Terms up to which samples that stand apart are written so, with zeros between them."""

Call = Callable[[Array, Kernel, Array, Any, Array | None], None]
"""call(x, kernel, y, cval, bias) writes y."""


Enter = Callable[[Array, Any], Array]
"""enter(x, cval) gives the flat operand of the kernel."""


class Windows(NamedTuple):
    """In what `enter` gives the tables' offsets lie."""

    enter: Enter
    tables: Any


def takes(problem: Problem) -> bool:
    """Samples are few enough for a table, and those that stand apart for zeros between them."""
    apart = problem.upsampled and (problem.results * problem.taps > FEW or any([a.stride > 1 for a in problem.axes]))
    return direct.binds(problem) and not apart


def spreads(problem: Problem, limit: float) -> bool:
    """A transposed problem is made so within this memory: zeros stand between samples, and infinite weights times 0 are NaN."""
    return problem.upsampled and takes(problem) and room(problem) <= limit


def room(problem: Problem) -> int:
    """Bytes of a transposed problem's samples with zeros between them, of its tables and weights, and of joined rows (at most)."""
    rows, last = problem.batch * prod(problem.out[:-1]), problem.axes[-1]
    joined = 0 if _parts(problem) or not shares_samples(problem) else rows * problem.outputs * (last.stop - last.start)
    return (_spread(problem) + joined + 2 * problem.taps * problem.outputs) * problem.itemsize + 16 * (rows + problem.taps)


def work(problem: Problem, here: Machine) -> dict[str, float]:
    """What it takes to make a transposed problem so."""
    filled = [a._replace(n=a.stop - a.start, start=0, stop=a.stop - a.start, upsample=1) for a in problem.axes]
    *leading, row = [[axis] for axis in filled]
    ways = [[p.axis for p in a.phases()] for a in problem.axes[:-1]] if _parts(problem) else leading
    total: dict[str, float] = {"direct.bound": 1, "copy.near": _spread(problem)}
    for axes in product(*ways, row):
        met = tuple([a for a in axes if a is not None])
        if len(met) == len(axes):
            for name, amount in direct.cost(problem._replace(axes=met, straight=True), here, float("inf")).work.items():
                if name.startswith(SUMS):
                    total[name] = total.get(name, 0) + amount
    return total


SUMS = tuple([f"direct.{kind}." for kind in ("bank", "rows", "taps", "apart", "result")])
"""Rates of terms and results, not of blocks and copies."""


def _spread(problem: Problem) -> int:
    return problem.batch * problem.inputs * prod([a.stop - a.start for a in problem.axes])


def _banked(problem: Problem) -> bool:
    return shares_samples(problem) and prod(problem.out[last_axis(problem.axes) :]) >= direct.NARROW


def _parts(problem: Problem) -> bool:
    """Outputs share samples, and zeros stand between those of a row, but not between rows: see `_by_classes`."""
    last = last_axis(problem.axes)
    return _banked(problem) and last == len(problem.axes) - 1 and any([a.upsample > 1 for a in problem.axes[:last]])


@lru_cache(maxsize=16)
def windows(problem: Problem) -> Windows:
    """Where the windows of a problem lie."""
    last, out = last_axis(problem.axes), (problem.batch, problem.outputs, *problem.out)
    enter, shape, strides = _entrance(problem, last)
    return Windows(enter, tabulated(problem.axes, problem.groups, False, shape, strides, out, packed(out, 1)))


def bound(problem: Problem) -> tuple[Call, Callable[[Weights], Kernel]]:
    """How a problem that `takes` is made, and what its kernel reads of the weights."""
    if _parts(problem):
        enter, made, prepared = _by_classes(problem)
    else:  # samples that stand apart are written so: a few more terms, and one kernel instead of one for each phase
        last, out = last_axis(problem.axes), (problem.batch, problem.outputs, *problem.out)
        enter, shape, lies = _entrance(problem, last)
        made = settled_rows(problem, tuple([a._replace(upsample=1) for a in problem.axes]), shape, lies, out, packed(out, 1), last)
        prepared = partial(direct.prepare, cost=None) if _banked(problem) else plain

    def call(x: Array, kernel: Kernel, y: Array, cval: Any, bias: Array | None) -> None:
        made(enter(x, cval), kernel, y.reshape(-1))
        if bias is not None:
            y += bias

    return call, partial(prepared, problem)


def _by_classes(problem: Problem) -> tuple[Enter, Callable[[Array, Kernel, Array], None], Callable[[Problem, Weights], Kernel]]:
    """Transposed, outputs sharing samples; zeros stand between the samples of a row, but not between rows.

    Each row of results is made of the taps that meet samples (by 3² with stride 2, half of the terms).
    """
    from sash.kernels.cpu import bank

    *leading, row = problem.axes
    ways = [a.phases() for a in leading]
    axes = []
    for a, way in zip(leading, ways, strict=True):
        met = [p.axis for p in way if p.axis]
        axes.append(a._replace(upsample=1, start=min([m.start for m in met], default=0), stop=max([m.stop for m in met], default=0)))
    enter, _, lies = _entrance(problem._replace(axes=(*axes, row)), len(leading))
    each, goals = problem.inputs // problem.groups, packed((problem.batch, problem.outputs, *problem.out), 1)
    numbers = np.arange(problem.taps).reshape(each, *[a.size for a in problem.axes])
    at, to, off, taps = [], [], [], []
    for found in product(*ways):
        where, read, goal = [(problem.batch, lies[0], goals[0])], [(each, lies[1])], 0
        start, meet = 0, all([p.axis for p in found])
        for a, tile, p, step, put in zip(leading, axes, found, lies[2:], goals[2:], strict=False):
            m = p.axis or tile
            where.append((-(-(a.out - p.first) // p.step), m.stride * step, p.step * put))
            read.append((m.size, m.dilation * step))
            start, goal = start + (m.start - tile.start) * step, goal + p.first * put
        read.append((row.size, row.dilation * lies[-1]))
        at.append((offsets([(n, step) for n, step, _ in where]) + start) * meet)
        to.append(offsets([(n, step) for n, _, step in where]) + goal)
        off.append(offsets(read) if meet else np.zeros(0, np.int64))
        taps.append(numbers[(slice(None), *[slice(p.tap, None, p.every) for p in found])].reshape(-1)[: len(off[-1])])
    cuts = np.array([np.cumsum([0, *map(len, lists)]) for lists in (at, off)]).reshape(-1)
    heads = bank.heads(problem.outputs, problem.groups, np.dtype(problem.dtype).itemsize)
    base, step = heads // (problem.outputs // problem.groups) * (each * lies[1]), heads * goals[1]
    tables = (*map(np.concatenate, (at, to)), base, step, np.concatenate(off))
    order = np.concatenate(taps)
    made = bank.settled(np.dtype(problem.dtype).itemsize, problem.outputs // problem.groups, tables, goals[1], row.out, cuts)

    def prepared(problem: Problem, weights: Weights) -> Kernel:
        w = plain(problem, weights).w
        return Kernel(w, None, (bank.pack(w[:, order], problem.groups),))

    return enter, lambda x, kernel, y: made(x, kernel.banks[0], y), prepared


def _entrance(problem: Problem, last: int) -> tuple[Enter, tuple[int, ...], tuple[int, ...]]:
    """How x is entered: a function that gives the kernel's flat operand, and the shape and strides that lie in it."""
    axes, shape = problem.axes, (problem.batch, problem.inputs, *[a.n for a in problem.axes])
    kind = np.dtype(problem.dtype)
    stepped = axes[last].stride > 1
    behind = all([a.start == 0 and a.stop == a.n for a in axes[last + 1 :]])
    extents = (*shape[:2], *[a.stop - a.start for a in axes])
    if (
        not stepped
        and not problem.upsampled
        and behind
        and all([a.plain for a in axes])
        and readable(np.dtype(problem.source), problem.dtype)
    ):
        strides = packed(shape, 1)
        offset = sum([a.start * step for a, step in zip(axes, strides[2:], strict=True)])
        return (lambda x, cval: x.reshape(-1)[offset:] if offset else x.reshape(-1)), extents, strides
    if not stepped and all([a.boundary in ("zero", "constant") for a in axes]):
        to, source = zip(*[_samples(a) for a in axes], strict=True)
        every = slice(None), slice(None)
        to, source = (*every, *to), (*every, *source)
        whole = source[2:] == tuple([slice(0, n) for n in shape[2:]])

        def beside(x: Array, cval: Any) -> Array:
            tile = np.zeros(extents, kind)
            if cval:
                with np.errstate(all="ignore"):  # 1e300 is infinite in float32, and no method warns of it
                    tile.fill(cval)
            tile[to] = x.reshape(shape) if whole else x.reshape(shape)[source]
            return tile.reshape(-1)

        return beside, extents, packed(extents, 1)
    at, past, extents = _looked_up(problem, last)

    def found(x: Array, cval: Any) -> Array:
        tile = x.reshape(-1).take(at).astype(kind, copy=False)
        if past.size:
            with np.errstate(all="ignore"):
                tile[past] = cval
        return tile

    return found, extents, packed(extents, 1)


def _samples(axis: Axis) -> tuple[slice, slice]:
    """Where in the extension on [start, stop) samples stand, and which."""
    u = axis.upsample
    first, last = max(-(-axis.start // u), 0), min(-(-axis.stop // u), axis.n)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    return slice(first * u - axis.start, (last - 1) * u - axis.start + 1, u), slice(first, last)


def _looked_up(problem: Problem, last: int) -> tuple[Array, Array, tuple[int, ...]]:
    """Which sample each place of the tile reads, which places read cval, and the tile's shape: dealt out by phases with a stride."""
    shape = (problem.batch, problem.inputs, *[a.n for a in problem.axes])
    numbers = fill(np.arange(prod(shape)).reshape(shape), problem.axes, "int64", -1)
    if problem.axes[last].stride > 1:
        numbers = phases(numbers, problem.axes, last, np.dtype(np.int64))
    flat = np.ascontiguousarray(numbers).reshape(-1)
    flat[(flat < -1) | (flat >= prod(shape))] = 0  # what no tap reads was left as it was
    return np.maximum(flat, 0), np.flatnonzero(flat < 0), numbers.shape
