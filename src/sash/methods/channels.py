"""Depthwise: channels that do not see each other take turns in one room with a border, which caches hold, or need none.

x (N, C, *S)   w (C, taps)   y (N, C, *out)        Imports: arrays, kernels, borders, offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, flat, index, lies_well, packed, steps, storable
from sash.axis import Axis
from sash.machine import machine
from sash.methods import borders
from sash.methods.offsets import Tables, tables
from sash.methods.phases import offsets
from sash.problem import Problem

NEAR = -2, 3
"""The first and last sample, from the one on that belongs to it, that a result may read where rows are dealt out in registers."""

VECTORS, SHORT = 4, 5
"""Vectors of a row, and taps across, at most where one is read with stride 1 and serves no other row: each tap loads it anew; and
taps across at most of a single channel, of which more are as fast with what was copied."""

ACROSS = 7
"""Taps across at most where rows of stride 1 serve several rows of results."""

ALONE = 4
"""Taps of a row at most where there is one channel: with five, rows of outputs that share what was copied are as fast."""

MASKED = 32
"""Bytes of a vector on processors that load some of its lanes."""

OUTSIDE = -(1 << 60)
"""A row that lies in the border; other axes do not bring it back."""


def apart(problem: Problem) -> bool:
    """One input and one output in each of several groups, or in one whose rows need not be copied."""
    return _alone(problem) and (problem.groups > 1 or frameless(problem))


def _alone(problem: Problem) -> bool:
    """One input and one output in each group, and sums that are not made of pieces."""
    alone = problem.groups == problem.inputs == problem.outputs and problem.taps <= CHUNK[problem.elementwise]
    return alone and problem.reduce == "product"


def takes(problem: Problem, x: Array, y: Array) -> bool:
    """They are `apart`, and kernels reach the arrays as they lie."""
    return (
        apart(_as_stored(problem, x, y))
        and borders.takes(x, problem.axes, problem.dtype)
        and (y.dtype == problem.dtype or storable(problem.dtype, y.dtype, problem.bits > 0))
        and lies_well(y.shape, y.strides, y.itemsize, y.ndim - 1)
    )


def slide(problem: Problem, x: Array, w: Array, y: Array, cval: float) -> None:
    """Write y."""
    settled(_as_stored(problem, x, y), steps(x), 0, steps(y), 0)(flat(x), w, flat(y), cval)


def _as_stored(problem: Problem, x: Array, y: Array) -> Problem:
    """The problem with the arrays' own types: classes of a transposed one are told those that it is computed in."""
    alike = x.dtype == problem.source and y.dtype == problem.result
    return problem if alike else problem._replace(source=x.dtype.name, result=y.dtype.name)


def settled(problem: Problem, steps: tuple[int, ...], first: int, goals: tuple[int, ...], goal: int) -> Callable[..., None]:
    """`slide` with everything settled but its operands: slide(x, w, y, cval), x and y flat.

    Samples lie `steps` apart in x, from `first` on, and results `goals` apart in y.
    """
    from sash.kernels.cpu.channels import channels
    from sash.kernels.cpu.simd import vector_bytes

    if frameless(problem) and vector_bytes() >= MASKED:  # whatever the machine is said to have
        return _frameless(problem, steps, first, goals, goal)

    item, images = np.dtype(problem.dtype).itemsize, (problem.batch, problem.inputs)
    t = _turns(problem.axes, item, images, steps, goals)
    where, frame = (t.at + first, t.goal + goal), t.frame.told
    size, stride = prod(t.frame.laid), problem.axes[-1].stride

    def slide(x: Array, w: Array, y: Array, cval: Any) -> None:
        channels(x, np.empty(size, problem.dtype), w, y, *where, frame, cval, stride, t.tables)

    return slide


def frameless(problem: Problem) -> bool:
    """Rows are read where they lie: taps are near, and with stride 1 rows serve several, or a vector or four make all of one."""
    axis = problem.axes[-1]
    if axis.stride == 2:
        near = NEAR[0] <= _near(axis) and _near(axis) + axis.size - 1 <= NEAR[1] and (problem.groups > 1 or axis.size <= ALONE)
    elif _fringed(problem.axes, problem.itemsize):
        near = problem.groups > 1 or (axis.size <= SHORT and len(problem.axes) > 1 and problem.axes[-2].size > 1)
    else:
        row = VECTORS * machine().vector // problem.itemsize
        near = axis.stride == 1 and problem.groups > 1 and axis.out <= row and axis.size <= SHORT and _near(axis) >= NEAR[0] - 1
    framed = axis.boundary in ("zero", "constant") or axis.plain
    plain = problem.source == problem.dtype == problem.result != "int64" and machine().vector >= MASKED
    return near and axis.dilation == 1 and framed and plain and _alone(problem)


def _fringed(axes: tuple[Axis, ...], itemsize: int) -> bool:
    """Rows of stride 1 serve several rows of results, each a vector at least, and its two ends hold what there is of a border."""
    axis, lanes = axes[-1], MASKED // itemsize
    lead, tail = _beside(axis)
    fits = axis.out >= lanes >= max(lead, tail) and axis.size <= ACROSS
    return fits and axis.stride == axis.dilation == 1 and (len(axes) < 2 or axes[-2].stride == axes[-2].dilation == 1)


def _beside(axis: Axis) -> tuple[int, int]:
    """What a row of stride 1 is read beyond, before its first sample and behind its last."""
    return -_near(axis), max(axis.start + axis.out + axis.size - 1 - axis.n, 0)


def tables_of(problem: Problem, counts: tuple[int, ...]) -> int:
    """Bytes of the tables for so many images and results along each axis, where rows are read in place, while they are made."""
    *planes, rows = [(1, 1), *zip(counts[1:-1], [a.size for a in problem.axes[:-1]], strict=True)]
    entries = prod([n * size for n, size in planes]) + prod(rows) + sum([n * size for n, size in planes]) + counts[0] * problem.inputs
    return 32 * entries + (1 << 10)


def _near(axis: Axis) -> int:
    """Where the first tap of the first result lies, from the sample on that rows are read from, as many steps ahead as it may."""
    return axis.start % axis.stride if axis.start > 0 else axis.start


NONE = np.zeros((1, 1), np.int64), np.zeros(1, np.int64)
"""The rows of an axis that is not there: one, of one tap."""


def _rows(a: Axis, step: int, ahead: int) -> tuple[Array, Array]:
    """What each result along an axis reads by each tap, and where it goes."""
    here = index(a)[np.add.outer(np.arange(a.out) * a.stride, np.arange(a.size) * a.dilation)]
    return np.where(here < 0, OUTSIDE, here * step), np.arange(a.out) * ahead


def _frameless(problem: Problem, steps: tuple[int, ...], first: int, goals: tuple[int, ...], goal: int) -> Callable[..., None]:
    from sash.kernels.cpu.frameless import form
    from sash.kernels.cpu.frameless import frameless as kernel_of
    from sash.kernels.cpu.simd import sized

    axis, kind = problem.axes[-1], np.dtype(problem.dtype)
    begin, images = axis.start - _near(axis), (problem.batch, problem.inputs)
    at, goes = (offsets(list(zip(images, apart, strict=False))) for apart in (steps, goals))
    if _fringed(problem.axes, kind.itemsize):
        return _fringes(problem.axes, kind, (at + (first + begin), goes + goal), _lines(problem.axes, steps, goals))
    kernel = sized(kernel_of, *form(kind.itemsize, axis.out, axis.size, _near(axis), axis.stride))
    where, shape = (at + (first + begin), goes + goal, *_lines(problem.axes, steps, goals)), (axis.n - begin, axis.out)

    def slide(x: Array, w: Array, y: Array, cval: Any) -> None:
        kernel(x, w.reshape(-1), y, *where, *shape, kind.type(cval))

    return slide


def _fringes(axes: tuple[Axis, ...], kind: np.dtype[Any], images: tuple[Array, Array], lines: tuple[Array, ...]) -> Callable[..., None]:
    from sash.kernels.cpu.fringes import form, fringes
    from sash.kernels.cpu.simd import sized

    (far_to, far, near_to, near), axis = lines, axes[-1]
    near, n = near.reshape(len(near_to), -1), axis.n - max(axis.start, 0)
    h, line = near.shape[1], np.concatenate([near[:, 0], near[-1, 1:]])
    sizes = form(kind.itemsize, len(near_to), axis.out, h, axis.size, *_beside(axis))
    pitch, room = int(near_to[-1]) // max(len(near_to) - 1, 1), len(sizes[0]) * len(sizes[1]) + axis.size
    kernel, told = sized(fringes, *sizes), (*images, far_to, far, line, pitch)

    def slide(x: Array, w: Array, y: Array, cval: Any) -> None:
        blank = np.empty(room, kind)
        blank.fill(cval)
        kernel(x, w.reshape(-1), y, *told, blank, n, axis.out, h, kind.type(cval))

    return slide


@lru_cache(maxsize=256)
def _lines(axes: tuple[Axis, ...], steps: tuple[int, ...], goals: tuple[int, ...]) -> tuple[Array, ...]:
    """Where planes go and what they read, and rows."""
    from sash.kernels.cpu.frameless import BLANK

    *planes, rows = [NONE] + [_rows(a, step, ahead) for a, step, ahead in zip(axes[:-1], steps[2:-1], goals[2:-1], strict=True)]
    far, far_to = NONE
    for line, to in planes:
        far = np.add(far[:, None, :, None], line[None, :, None, :]).reshape(len(far) * len(line), -1)
        far_to = np.add.outer(far_to, to).reshape(-1)
    near, near_to = rows
    return far_to, np.maximum(far, BLANK).reshape(-1), near_to, np.maximum(near, BLANK).reshape(-1)


class _Turns(NamedTuple):
    """Where images begin, and the frame and the tables of one."""

    at: Array
    goal: Array
    frame: borders.Frame
    tables: Tables


@lru_cache(maxsize=256)
def _turns(axes: tuple[Axis, ...], item: int, images: tuple[int, ...], steps: tuple[int, ...], goals: tuple[int, ...]) -> _Turns:
    f = borders.frame(axes, (1, 1), steps)
    shape = (1, 1, *f.laid[1 : f.channels], *f.laid[f.channels + 1 :])
    t = tables(axes, 1, True, True, item, shape, packed(shape, item), (1, 1, *[a.out for a in axes]), goals, 1)
    at, goal = (offsets(list(zip(images, apart, strict=False))) for apart in (steps, goals))
    return _Turns(at + f.at[0], goal, f, t)
