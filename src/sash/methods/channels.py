"""Depthwise: channels that do not see each other take turns in one room with a border, which caches hold.

x (N, C, *S)   w (C, taps)   y (N, C, *out)        Imports: arrays, kernels, borders, offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, flat, lies_well, packed, steps, storable
from sash.axis import Axis
from sash.methods import borders
from sash.methods.offsets import Tables, tables
from sash.methods.phases import offsets
from sash.problem import Problem


def apart(problem: Problem) -> bool:
    """One input and one output in each of several groups, whose sums are not made of pieces."""
    alone = 1 < problem.groups == problem.inputs == problem.outputs and problem.taps <= CHUNK[problem.elementwise]
    return alone and problem.reduce == "product"


def takes(problem: Problem, x: Array, y: Array) -> bool:
    """They are `apart`, and kernels reach the arrays as they lie."""
    return (
        apart(problem)
        and borders.takes(x, problem.axes, problem.dtype)
        and (y.dtype == problem.dtype or storable(problem.dtype, y.dtype, problem.bits > 0))
        and lies_well(y.shape, y.strides, y.itemsize, y.ndim - 1)
    )


def slide(problem: Problem, x: Array, w: Array, y: Array, cval: float) -> None:
    """Write y."""
    settled(problem, steps(x), 0, steps(y), 0)(flat(x), w, flat(y), cval)


def settled(problem: Problem, steps: tuple[int, ...], first: int, goals: tuple[int, ...], goal: int) -> Callable[..., None]:
    """`slide` with everything settled but its operands: slide(x, w, y, cval), x and y flat.

    Samples lie `steps` apart in x, from `first` on, and results `goals` apart in y.
    """
    from sash.kernels.cpu.channels import channels

    item, images = np.dtype(problem.dtype).itemsize, (problem.batch, problem.inputs)
    t = _turns(problem.axes, item, images, steps, goals)
    where, frame = (t.at + first, t.goal + goal), t.frame.told
    size, stride = prod(t.frame.laid), problem.axes[-1].stride

    def slide(x: Array, w: Array, y: Array, cval: Any) -> None:
        channels(x, np.empty(size, problem.dtype), w, y, *where, frame, cval, stride, t.tables)

    return slide


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
