"""Where kernels find what an output reads: rank, channels, strides and dilations as offsets from one place in memory.

x (N, C, *S)   w (O, C/G, *K)   y (N, O, *out)      Imports: arrays, axis.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array
from sash.axis import Axis


def row_axis(axes: tuple[Axis, ...]) -> int:
    """The axis whose positions make up a row: the last one that the window slides over."""
    active = [i for i, a in enumerate(axes) if a.size > 1 or a.stride > 1]
    return active[-1] if active else len(axes) - 1


class Tables(NamedTuple):
    """Offsets for the kernels, in elements (see kernels/cpu/taps.py and rows.py for the letters)."""

    at: Array
    to: Array
    base: Array
    step: Array
    off: Array
    outer: Array
    n: int
    m: int
    h: int
    k: int
    d: int
    xp: int
    yp: int


def tables(
    axes: tuple[Axis, ...],
    groups: int,
    share: bool,
    shape: tuple[int, ...],
    xs: tuple[int, ...],
    out: tuple[int, ...],
    ys: tuple[int, ...],
) -> Tables:
    last = row_axis(axes)
    axis = axes[last]
    c = prod(out[last + 3 :])
    n = out[last + 2] * c
    # offsets of the taps of the last axis: phase t*d % s, sample t*d // s
    t = np.arange(axis.size) * axis.dilation
    if axis.stride > 1:
        columns = (t % axis.stride) * xs[last + 2] + (t // axis.stride) * c
    else:
        columns = t * c
    inputs, outputs = shape[1] // groups, out[1]
    leading = [(inputs, xs[1])] + [(a.size, a.dilation * xs[i + 2]) for i, a in enumerate(axes[:last])]
    off = offsets(leading)
    positions = [(out[0], xs[0], ys[0])] + [(out[i + 2], a.stride * xs[i + 2], ys[i + 2]) for i, a in enumerate(axes[:last])]
    if share:
        positions.pop()
    group = np.arange(outputs) // (outputs // groups)
    return Tables(
        at=offsets([(count, x) for count, x, _ in positions]),
        to=offsets([(count, y) for count, _, y in positions]),
        base=group * inputs * xs[1],
        step=np.arange(outputs) * ys[1],
        off=np.add.outer(off, columns).reshape(-1),
        outer=offsets(leading[:-1]) if share else off,
        n=n,
        m=out[last + 1] if share else 0,
        h=axes[last - 1].size if share else 1,
        k=axis.size,
        d=axis.dilation * c,
        xp=xs[last + 1] if share else 0,
        yp=ys[last + 1] if share else 0,
    )


def offsets(dims: list[tuple[int, int]]) -> Array:
    """Offsets of all positions of a block of (count, step) axes, first axis slowest."""
    total: Any = np.zeros(1, np.int64)
    for count, step in dims:
        total = np.add.outer(total, np.arange(count, dtype=np.int64) * step).reshape(-1)
    return np.ascontiguousarray(total, np.int64)
