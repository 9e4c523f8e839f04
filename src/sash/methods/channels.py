"""Depthwise: channels that do not see each other take turns in one room with a border, which caches hold.

x (N, C, *S)   w (C, taps)   y (N, C, *out)        Imports: arrays, kernels, borders, offsets.
"""

from __future__ import annotations

from math import prod

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, flat, lies_well, packed, storable
from sash.methods import borders
from sash.methods.offsets import tables
from sash.methods.phases import offsets
from sash.problem import Problem


def takes(problem: Problem, x: Array, y: Array) -> bool:
    """One input and one output in each of several groups, and arrays that kernels reach as they lie."""
    return (
        1 < problem.groups == problem.inputs == problem.outputs
        and problem.reduce == "product"
        and problem.taps <= CHUNK[problem.elementwise]
        and borders.takes(x, problem.axes, problem.dtype)
        and (y.dtype == problem.dtype or storable(problem.dtype, y.dtype, problem.bits > 0))
        and lies_well(y.shape, y.strides, y.itemsize, y.ndim - 1)
    )


def slide(problem: Problem, x: Array, w: Array, y: Array, cval: float) -> None:
    """Write y."""
    from sash.kernels.cpu.channels import channels

    axes, steps, goals = problem.axes, [s // x.itemsize for s in x.strides], [s // y.itemsize for s in y.strides]
    f = borders.frame(axes, (1, 1), tuple(steps))
    room = np.empty(prod(f.laid), problem.dtype)
    shape, item = tuple([f.laid[0], f.laid[f.channels], *f.laid[1 : f.channels], *f.laid[f.channels + 1 :]]), room.itemsize
    t = tables(axes, 1, True, True, item, shape, packed(shape, item), (1, 1, *y.shape[2:]), y.strides, y.itemsize)
    at, goal = (offsets(list(zip(x.shape[:2], s, strict=False))) for s in (steps, goals))
    channels(flat(x), room, w, flat(y), at + f.at[0], goal, (f.row, f.down, f.lead, f.n, f.laid[-1]), cval, axes[-1].stride, t)
