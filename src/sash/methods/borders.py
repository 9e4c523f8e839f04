"""Tiles with a border, made in one pass: copied, widened, and dealt out by phases where rows have a stride.

    x (N, C, *S)   tile (N, C, *T), or (N, C, ..., stride, ceil(T/stride))        Imports: arrays, kernels, phases.
The rows of all channels at one place are neighbours in memory: what one output reads lies on few pages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, flat, index, lies_well, packed, readable, steps
from sash.axis import Axis
from sash.methods.offsets import last_axis
from sash.methods.phases import SHUFFLED, offsets, used

STRIDES = (1, *SHUFFLED)
"""Steps along the last axis that rows are dealt out by."""

BORDER, UNREAD = -1, -2
"""In place of the offset of a row: it is all border, or no tap reads it."""


def takes(x: Array, axes: tuple[Axis, ...], dtype: str) -> bool:
    """Rows of x lie along the last axis."""
    return (
        x.size > 0
        and suits(axes)
        and dtype != "int64"
        and readable(x.dtype, dtype)
        and x.flags.aligned
        and lies_well(x.shape, x.strides, x.itemsize, x.ndim - 1)
    )


def suits(axes: tuple[Axis, ...]) -> bool:
    """As far as the axes go."""
    return last_axis(axes) == len(axes) - 1 and axes[-1].stride in STRIDES


def tile(x: Array, axes: tuple[Axis, ...], dtype: str, cval: float) -> Array:
    """The extension of x, which `takes`, on [start, stop) of every axis."""
    made, *_ = settled(axes, x.shape[:2], dtype, steps(x), 0)
    f = frame(axes, x.shape[:2], steps(x))
    return made(flat(x), cval).reshape(f.laid).transpose(f.order)


@lru_cache(maxsize=256)
def settled(
    axes: tuple[Axis, ...], images: tuple[int, ...], dtype: str, steps: tuple[int, ...], first: int, apart: bool = False
) -> tuple[Callable[[Array, Any], Array], tuple[int, ...], tuple[int, ...]]:
    """`tile` with everything settled but its operands: tile(x, cval), flat, and the shape and the steps that lie in it.

    x is flat; so many images and channels lie `steps` apart in it, from `first` on.  `apart`: channels lie one after the other.
    """
    from sash.kernels.cpu.border import bordered, lanes
    from sash.kernels.cpu.simd import sized

    f, stride, kind = frame(axes, images, steps, apart), axes[-1].stride, np.dtype(dtype)
    where = (f.at + first, f.row, f.to, *f.told[1:])
    enter, size = sized(bordered, lanes(kind.itemsize, f.lead, f.n, stride), (0,) * stride), prod(f.laid)

    def tile(x: Array, cval: Any) -> Array:
        found = np.empty(size, kind)
        enter(x, found, *where, cval)
        return found

    lies = packed(f.laid, 1)
    return tile, tuple([f.laid[i] for i in f.order]), tuple([lies[i] for i in f.order])


class Frame(NamedTuple):
    """See kernels/cpu/border.py for the letters."""

    laid: tuple[int, ...]
    """The tile's shape as it lies in memory, ..."""
    channels: int
    """... and which axis of it the channels are."""
    at: Array
    row: Array
    to: Array
    down: Array
    ring: Array
    lead: int
    n: int

    @property
    def order(self) -> tuple[int, ...]:
        """The tile's axes in the order of x's."""
        return (0, self.channels, *[i for i in range(1, len(self.laid)) if i != self.channels])

    @property
    def told(self) -> tuple[Any, ...]:
        """What kernels are told of a row."""
        return self.row, self.down, self.ring, self.lead, self.n, self.laid[-1]


@lru_cache(maxsize=256)
def frame(axes: tuple[Axis, ...], images: tuple[int, ...], steps: tuple[int, ...], apart: bool = False) -> Frame:
    from sash.kernels.cpu.border import PAST

    *leading, last = axes
    row = np.zeros(1, np.int64)
    for a, step in zip(leading, steps[2:-1], strict=True):
        here = index(a)
        here = np.where(here < 0, BORDER, here * step)
        if len(phases := used(a)) < a.stride:
            here[~np.isin(np.arange(len(here)) % a.stride, phases)] = UNREAD
        outside = np.minimum(np.minimum.outer(row, here), 0)
        row = np.where(outside < 0, outside, np.add.outer(row, here)).reshape(-1)
    first, past = max(last.start, 0), min(last.stop, last.n)
    lead, n = first - last.start, max(past - first, 0)
    around = np.delete(index(last), slice(lead, lead + n))
    ring = np.where(around < 0, PAST, (around - first) * steps[-1])
    if not n and (ring == PAST).all():
        row = np.minimum(row, BORDER)
    length = last.stop - last.start
    parts = (last.stride, -(-length // last.stride)) if last.stride > 1 else (length,)
    places, each = [a.stop - a.start for a in leading], prod(parts)
    down, beside = (each, len(row) * each) if apart else (images[1] * each, each)
    to = offsets([(images[0], len(row) * images[1] * each), (images[1], beside)])
    at = offsets(list(zip(images, steps, strict=False))) + first * steps[-1]
    laid, channels = ((*images, *places, *parts), 1) if apart else ((images[0], *places, images[1], *parts), len(places) + 1)
    return Frame(laid, channels, at, row, to, np.arange(len(row)) * down, ring, lead, n)
