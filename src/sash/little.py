"""Little problems, bound to their shapes: everything but the operands is settled once, and a call is one kernel.

    x (N, C, *S)   y (N, O, *out), both contiguous
The way to the loop takes ten times as long as the loop where arrays are little (16² by 3²: 26 us, and 2 for the kernel).
What is bound does the same sums in the same order as `direct` does.   Imports: methods, kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, fill, packed, readable
from sash.axis import Axis
from sash.methods import direct
from sash.methods.offsets import STRIP, Kernel, last_axis, settled_sum, shares_rows, shares_samples, tabulated
from sash.methods.phases import phases
from sash.problem import Problem

FEW = 1 << 20
"""Terms up to which samples that stand apart are written so, with zeros between them."""

BANKED = 1 << 17
"""Terms from which on outputs that share samples are made together, whose weights must be laid out for it."""


Call = Callable[[Array, Kernel, Array, Any, Array | None], None]
"""call(x, kernel, y, cval, bias) writes y."""


class Windows(NamedTuple):
    """`enter(x, cval)` gives the flat operand in which the tables' offsets lie."""

    enter: Callable[[Array, Any], Array]
    tables: Any


def takes(problem: Problem) -> bool:
    """Samples are few enough for a table, and those that stand apart for zeros between them."""
    apart = problem.upsampled and (problem.results * problem.taps > FEW or any([a.stride > 1 for a in problem.axes]))
    return direct.binds(problem) and not apart


def windows(problem: Problem, share: bool) -> Windows:
    """Where the windows of a problem that `takes` lie."""
    # Samples that stand apart are written so: a few more terms, and one kernel instead of one for each phase.
    last, out = last_axis(problem.axes), (problem.batch, problem.outputs, *problem.out)
    enter, shape, strides = _entrance(problem, last)
    axes = tuple([a._replace(upsample=1) for a in problem.axes])
    return Windows(enter, tabulated(axes, problem.groups, share, shape, strides, out, packed(out, 1)))


def bound(problem: Problem) -> tuple[Call, bool]:
    """How a problem that `takes` is made, and whether that wants `kernel.banks`."""
    from sash.kernels.cpu import bank

    last = problem.axes[last_axis(problem.axes)]
    banked = shares_samples(problem) and problem.results * problem.taps >= BANKED and last.out >= bank.NARROW
    share = problem.dtype != "int64" and shares_rows(problem.axes) and last.out >= STRIP and not banked
    enter, t = windows(problem, share)
    made = settled_sum(problem, t, banked)

    def call(x: Array, kernel: Kernel, y: Array, cval: Any, bias: Array | None) -> None:
        made(enter(x, cval), kernel, y.reshape(-1))
        if bias is not None:
            y += bias

    return call, banked


def _entrance(problem: Problem, last: int) -> tuple[Callable[[Array, Any], Array], tuple[int, ...], tuple[int, ...]]:
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
        to, source = (..., *to), (..., *source)

        def beside(x: Array, cval: Any) -> Array:
            tile = np.zeros(extents, kind)
            if cval:
                with np.errstate(all="ignore"):  # 1e300 is infinite in float32, and no method warns of it
                    tile.fill(cval)
            tile[to] = x.reshape(shape)[source]
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
