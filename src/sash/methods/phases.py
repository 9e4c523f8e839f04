"""Strided rows dealt out: samples that one tap reads become neighbours, and what no tap reads is left out.

tile (..., T, *c)   phases (..., stride, ceil(T/stride), *c)        Imports: arrays, kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from sash.arrays.numpy_ import Array, flat
from sash.axis import Axis

SHUFFLED = (2, 3, 4)
"""Strides whose rows are dealt out by shuffles."""


def offsets(dims: list[tuple[int, int]]) -> Array:
    """Offsets of all positions of a block of (count, step) axes, first axis slowest."""
    total: Any = np.zeros(1, np.int64)
    for count, step in dims:
        total = np.add.outer(total, np.arange(count, dtype=np.int64) * step).reshape(-1)
    return np.ascontiguousarray(total, np.int64)


def apart(axis: Axis) -> float:
    """What dealing out a sample costs beside doing it by shuffles; phases that no tap reads are left out otherwise."""
    return 1.0 if axis.stride in SHUFFLED else 3.0 * len(used(axis)) / axis.stride


def used(axis: Axis) -> list[int]:
    """The phases that some tap reads."""
    return sorted({t * axis.dilation % axis.stride for t in range(min(axis.size, axis.stride))})


def _rows_read(axes: Sequence[Axis]) -> list[tuple[slice, ...]]:
    """Which positions of leading axes some tap reads: all, or of each that its window skips samples on, phase by phase."""
    phases = [used(a) for a in axes]
    each = [
        [slice(None)] if len(found) == a.stride else [slice(p, None, a.stride) for p in found]
        for a, found in zip(axes, phases, strict=True)
    ]
    return list(product([slice(None)], [slice(None)], *each))


def phases(tile: Array, axes: tuple[Axis, ...], last: int, kind: Any) -> Array:
    """(..., T, *c) to (..., stride, ceil(T/stride), *c), as `kind`: samples that one tap reads become neighbours.

    What no tap reads is left out.
    """
    axis = axes[last]
    s, at = axis.stride, last + 2
    leads = _rows_read(axes[:last])
    n, length = tile.shape[at], -(-tile.shape[at] // s)
    phases = np.empty((*tile.shape[:at], s, length, *tile.shape[at + 1 :]), kind)
    if s in SHUFFLED and kind != np.int64 and prod(tile.shape[at + 1 :]) == 1 and tile.strides[at] == tile.itemsize:
        from sash.kernels.cpu.split import split

        rows = offsets([(m, step // tile.itemsize) for m, step in zip(tile.shape[:at], tile.strides[:at], strict=True)])
        to = np.arange(len(rows))
        if len(leads) > 1 or leads[0] != (slice(None),) * at:
            to = np.concatenate([to.reshape(tile.shape[:at])[lead].reshape(-1) for lead in leads])
            rows = rows[to]
        split(flat(tile), phases.reshape(-1), rows, to * (s * length), n, s, length)
        return phases
    for lead, p in product(leads, used(axis)):
        phase = tile[(*lead, slice(p, None, s))]
        phases[(*lead, p, slice(0, phase.shape[at]))] = phase
    return phases
