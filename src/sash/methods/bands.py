"""How fused passes are cut: bands of rows and groups of planes that a cache holds, what they take, and the room they need.

x (..., Z, Y, X, c): the last axis that is slid over is x (with c values a sample behind it), the two before it are y and
z.  No stride.   Imports: arrays, axis, problem.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, index, storable
from sash.axis import Axis
from sash.problem import Problem

BAND = 64
"""Rows filtered together: fewer read the halo rows more often, more leave the second-level cache."""

ROOMY = 1 << 17
"""Values of a band at least, where rows are short: each takes Python 50 us (500² in bands of 64 rows: 1.0 ms)."""

GROUP = 16
"""Planes filtered together: fewer are more calls, more leave the cache."""

ROW = 1 << 13
"""Longest row of a block."""

COPIES = 1 << 16
"""Elements that a column pass may take to copy rows that clash in the cache."""

NARROW, FLAT = 24, 4
"""Least values in a row, and least rows or planes where these are filtered: less does not fill a block of registers."""

PAIRED = 4, 2
"""Rows, and vectors side by side, of a block of registers for symmetric kernels (see kernels/cpu/pairs.py)."""

BLOCKS = 16
"""Blocks that a problem is cut into, about: enough to share among threads."""


class Slots(NamedTuple):
    """Which axes are planes, rows and samples; -1: an axis of one sample."""

    z: int
    y: int
    x: int


@lru_cache(maxsize=1024)
def slots(axes: tuple[Axis, ...]) -> Slots:
    """The last axis that is slid over, and the two before it; rows are long where the axes behind are long."""
    active = [i for i, a in enumerate(axes) if not a.idle]
    last = active[-1] if active else len(axes) - 1
    behind = prod([a.n for a in axes[last + 1 :]])
    x = last + 1 if last + 1 < len(axes) and behind >= 16 else last
    return Slots(x - 2 if x > 1 else -1, x - 1 if x > 0 else -1, x)


@lru_cache(maxsize=1024)
def takes(problem: Problem) -> bool:
    """No stride, floating point, at most three axes slid over and those neighbours, rows that end in themselves."""
    at = slots(problem.axes)
    return (
        problem.dtype != "int64"
        and all(a.stride == 1 for a in problem.axes)
        and all(a.idle for a in problem.axes[: max(at.z, 0)])
        and all(a.size <= CHUNK[problem.elementwise] for a in problem.axes)
        and all(problem.axes[i].dilation == 1 for i in at[:2] if i >= 0)
        and plain_run(problem.axes[at.x]) is not None
        and prod([a.out for a in problem.axes[at.x :]]) >= NARROW
        and all(problem.axes[i].size == 1 or problem.axes[i].out >= FLAT for i in at[:2] if i >= 0)
    )


def block(problem: Problem, limit: float, cores: int) -> tuple[int, ...]:
    """The block of the output made at a time: whole in z, a band of rows or more, rows of at most ROW values."""
    at, out = slots(problem.axes), problem.out
    inner = prod(out[at.x + 1 :])
    tile = [1] * (len(out) + 1)
    tile[at.x + 2 :] = out[at.x + 1 :]
    tile[at.x + 1] = out[at.x] if out[at.x] * inner <= 2 * ROW else max(ROW // inner, 1)
    if at.y >= 0:
        most = _rows(prod(out[at.x :]), out[at.z] + problem.axes[at.z].size - 1 if at.z >= 0 else 1)
        least = most if out[at.y] <= most and most > BAND else min(most, max(-(-out[at.y] // cores), most // 4))
        tile[at.y + 1] = min(out[at.y], max(least, -(-out[at.y] // BLOCKS)))
    if at.z >= 0:
        tile[at.z + 1] = out[at.z]
        if problem.axes[at.z].size == 1:  # planes are independent: a batch, cut into a few blocks
            tile[at.z + 1] = max(1, -(-out[at.z] * -(-out[at.y] // tile[at.y + 1]) // BLOCKS))
    while scratch(problem, tuple(tile)) > limit and max(tile) > 1:
        i = max(range(len(tile)), key=tile.__getitem__)
        tile[i] = -(-tile[i] // 2)
    return tuple(tile)


class Passes(NamedTuple):
    """What all blocks take together."""

    terms: int
    made: int
    """Values, summed over the passes; those beyond the block that later passes read, too."""
    calls: int
    """Passes over a group of planes of a band."""
    lines: int
    """Rows that take a call each, since they fill no block."""
    gathered: int
    """Samples that are copied, since some beside them read cval."""


def passes(problem: Problem, tile: tuple[int, ...], vector: int, side: int) -> Passes:
    """What blocks of this shape take, where kernels make side x side vectors of so many elements at once.

    Symmetric kernels take blocks of `pairs`, and a term is a pair of taps.
    """
    high, across = PAIRED if problem.mirrored else (side, side)
    at = slots(problem.axes)
    za, ya, xa = (problem.axes[i] if i >= 0 else single() for i in at)
    planes, rows, _ = (tile[i + 1] if i >= 0 else 1 for i in at)
    n = prod(tile[at.x + 1 :])
    band = _band(rows, n, planes + za.size - 1)
    bands, extended = -(-rows // band), planes + za.size - 1
    groups = -(-extended // GROUP)

    def alone(count: int, size: int) -> int:  # rows that take a call each
        return 0 if size >= (2 if problem.mirrored else side - 1) and count >= high and n >= across * vector else count

    def row(of: int) -> int:
        return -(-n // of) * of

    wide = row(vector if alone(rows, ya.size) else across * vector)
    made = [extended * rows * wide, extended * rows * row(vector), planes * rows * row(across * vector) if za.size > 1 else 0]
    called = bands * groups * (3 if za.size > 1 else 2)
    lines = bands * (groups * alone(band, ya.size) + (alone(planes, za.size) if za.size > 1 else 0))
    count = problem.rank * problem.count(tile) * prod(tile[: max(at.z, 0) + 1])
    terms = sum(
        [values * ((axis.size + 1) // 2 if problem.mirrored else axis.size) for values, axis in zip(made, (ya, xa, za), strict=True)]
    )
    cval = ya.boundary in ("zero", "constant") and not ya.plain
    share = min(1.0, 3 * ya.size / max(ya.out, 1)) if cval else 0.0  # both edges, with what their rows read
    return Passes(count * terms, count * sum(made), count * called, count * lines, int(problem.rank * problem.samples * share))


def scratch(problem: Problem, tile: tuple[int, ...]) -> int:
    """Elements of scratch for a block: a copy of its part of x and of its result where they may be made, and the rooms."""
    at = slots(problem.axes)
    za, ya, xa = (problem.axes[i] if i >= 0 else single() for i in at)
    rows, samples = (tile[i + 1] if i >= 0 else 1 for i in at[1:])
    inner = prod(tile[at.x + 2 :])
    stored = problem.result == problem.dtype or (problem.rank == 1 and storable(problem.dtype, np.dtype(problem.result), problem.bits > 0))
    copied = problem.reads(tile) + (0 if stored else prod(tile))
    planes = tile[at.z + 1] if at.z >= 0 else 1
    room = room_of(za.size, ya.size, planes, rows, samples * inner, (samples - 1 + xa.reach) * inner)
    return copied + COPIES + room.end + 2 * problem.reads(tile) // max(samples * inner, 1)


class Room(NamedTuple):
    """Where things lie in a block's scratch, in elements."""

    band: int
    pitch: int
    """Of rows in s; no multiple of 4096 bytes, or they would share one set of the first-level cache."""
    plane: int
    """Of planes in the window."""
    slots: int
    """Planes that the window holds: a multiple of GROUP."""
    gathered: int
    """Where rows are gathered that lie beyond the array and read cval."""
    window: int
    end: int


def _rows(n: int, planes: int) -> int:
    """Rows of n values that are filtered together at most, in each of so many planes."""
    return max(BAND, ROOMY // max(n * min(planes, GROUP), 1))


def _band(rows: int, n: int, planes: int) -> int:
    """Rows of a band: as even as they can be."""
    return -(-rows // -(-rows // _rows(n, planes)))


def room_of(A: int, B: int, planes: int, rows: int, made: int, extended: int) -> Room:
    band = _band(rows, made, planes + A - 1)
    pitch = -(-extended // 16) * 16 + 16
    plane = -(-band * made // 16) * 16 + 16
    slots = -(-(A - 1 + GROUP) // GROUP) * GROUP if A > 1 else 0
    group = min(planes + A - 1, GROUP)
    gathered = group * band * pitch
    window = gathered + group * (band + B - 1) * pitch
    return Room(band, pitch, plane, slots, gathered, window, window + slots * plane)


def single() -> Axis:
    return Axis(1, 1, 1, 1, 0, 1, "zero")


@lru_cache(maxsize=256)
def plain_run(axis: Axis) -> tuple[int, int, int, Array, Array] | None:
    """The longest plain run of an axis (positions [low, high) read samples first, ...), the positions outside it and
    where in the run they read (-1: cval); None where they read samples that are not in it."""
    at, low, high, first = 0, 0, 0, 0
    for run in axis.runs(axis.start, axis.stop):
        if run.step == 1 and run.first >= 0 and run.length > high - low:
            low, high, first = at, at + run.length, run.first
        at += run.length
    read = index(axis)
    gap = np.r_[0:low, high : len(read)]
    source = np.where(read[gap] < 0, -1, read[gap] - first + low)
    if ((read[gap] >= 0) & ((source < low) | (source >= high))).any():  # cropped: a copy has nothing to be made from
        return None
    return low, high, first, gap, source
