"""Fused passes: a band of rows goes through y, x and z, a group of planes at a time, while it is in cache.

    x (..., Z, Y, X, c)   s, the band filtered in y (and x in place)   window: its last planes filtered in y and x   y
The last axis that is slid over is x (with c values a sample behind it), the two before it are y and z.  No stride.
Boundaries are tables of offsets for planes and rows, and for samples a copy of the ends of each row.
Imports: arrays, kernels.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, aligned, flat, give, index, lies_well, readable, sound, steps, storable
from sash.arrays.weights import Terms
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
        and _ends(problem.axes[at.x]) is not None
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
        least = most if out[at.y] <= most and most > BAND else min(most, max(-(-out[at.y] // (2 * cores)), most // 4))
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
    za, ya, xa = (problem.axes[i] if i >= 0 else _one() for i in at)
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
    share = min(1.0, 2 * band / max(ya.out, 1)) if cval else 0.0
    return Passes(count * terms, count * sum(made), count * called, count * lines, int(problem.rank * problem.samples * share))


def scratch(problem: Problem, tile: tuple[int, ...]) -> int:
    """Elements of scratch for a block: a copy of its part of x and of its result where they may be made, and the rooms."""
    at = slots(problem.axes)
    za, ya, xa = (problem.axes[i] if i >= 0 else _one() for i in at)
    rows, samples = (tile[i + 1] if i >= 0 else 1 for i in at[1:])
    inner = prod(tile[at.x + 2 :])
    stored = problem.result == problem.dtype or (problem.rank == 1 and storable(problem.dtype, np.dtype(problem.result), problem.bits > 0))
    copied = problem.reads(tile) + (0 if stored else prod(tile))
    planes = tile[at.z + 1] if at.z >= 0 else 1
    room = _room(za.size, ya.size, planes, rows, samples * inner, (samples - 1 + xa.reach) * inner)
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


def _room(A: int, B: int, planes: int, rows: int, made: int, extended: int) -> Room:
    band = _band(rows, made, planes + A - 1)
    pitch = -(-extended // 16) * 16 + 16
    plane = -(-band * made // 16) * 16 + 16
    slots = -(-(A - 1 + GROUP) // GROUP) * GROUP if A > 1 else 0
    group = min(planes + A - 1, GROUP)
    gathered = group * band * pitch
    window = gathered + group * (band + B - 1) * pitch
    return Room(band, pitch, plane, slots, gathered, window, window + slots * plane)


def run(problem: Problem, x: Array, terms: Terms, even: bool, y: Array, cval: float, spare: list[Array]) -> None:
    """Make one block, whatever lies before z one by one; `spare` holds scratch that no block is using."""
    at = slots(problem.axes)
    if not readable(x.dtype, problem.dtype) or not sound(x) or not lies_well(x.shape, x.strides, x.itemsize, at.x + 2):
        x = np.ascontiguousarray(x, problem.dtype)
    fits = y.dtype == problem.dtype or (len(terms) == 1 and storable(problem.dtype, y.dtype, problem.bits > 0))
    direct = fits and sound(y) and lies_well(y.shape, y.strides, y.itemsize, at.x + 2)
    target = y if direct else np.empty(y.shape, problem.dtype)
    course = _course(problem.axes, x.shape[at.x + 3 :], steps(x), steps(target))
    s = spare.pop() if spare else None
    if s is None or s.size < course.room.end:
        s = aligned(course.room.end, problem.dtype)
    source, goal = flat(x), flat(target)
    lead = target.shape[: at.z + 2 if at.z >= 0 else 2]
    for place in np.ndindex(*lead):
        x0 = sum([i * step for i, step in zip(place, steps(x), strict=False)])
        y0 = sum([i * step for i, step in zip(place, steps(target), strict=False)])
        for number, term in enumerate(terms):
            kz, ky, kx = (term[i] if i >= 0 else None for i in at)
            _march(course, source, x0, goal, y0, kz, ky, kx, cval, int(number > 0), s, even)
    spare.append(s)
    if target is not y:
        give(target, y)


class Course(NamedTuple):
    """All tables of a block, in elements of x, of s and of y."""

    room: Room
    zat: Array
    """Offset of each extended plane, -1: it reads cval."""
    yat: Array
    """Offset of each extended row, -1: it reads cval."""
    xsrc: int
    """Offset in a row of x of the first sample of the plain run."""
    xlo: int
    xhi: int
    """The plain run in an extended row."""
    gap: Array
    """Positions of an extended row outside the plain run, and where in the row they read (-1: past)."""
    source: Array
    along: Array
    """Offsets of the taps along x."""
    n: int
    """Values made per row."""
    planes: int
    rows: int
    yz: int
    yy: int
    ring: Array
    """Offsets of planes in the window, twice in a row."""
    slots: Array
    """Offsets of planes of the window in s, twice in a row."""
    seats: Array
    """(GROUP, band) offsets in s of the rows of a group."""
    counts: Array
    """0, 1, ... for the rows of a band."""
    beyond: tuple[bool, ...]
    """Groups in which some plane reads cval."""
    shelf: Array
    """Offsets of gathered rows."""
    identity: bool
    """There is no pass along x."""


@lru_cache(maxsize=256)
def _course(axes: tuple[Axis, ...], behind: tuple[int, ...], xs: tuple[int, ...], ys: tuple[int, ...]) -> Course:
    at = slots(axes)
    za, ya, xa = (axes[i] if i >= 0 else _one() for i in at)
    c = prod(behind)
    ends = _ends(xa)
    assert ends is not None
    low, high, first, gap, source = ends
    room = _room(za.size, ya.size, za.out, ya.out, xa.out * c, (xa.out - 1 + xa.reach) * c)

    def offsets(axis: Axis, i: int, step: tuple[int, ...]) -> Array:
        read = index(axis)
        return np.where(read < 0, -1, read * (step[i + 2] if i >= 0 else 0))

    wide = np.arange(c)
    zat = offsets(za, at.z, xs)
    planes = np.arange(2 * max(room.slots, 1)) % max(room.slots, 1)
    return Course(
        room=room,
        zat=zat,
        yat=offsets(ya, at.y, xs),
        xsrc=first * c,
        xlo=low * c,
        xhi=high * c,
        gap=np.add.outer(gap * c, wide).reshape(-1),
        source=np.where(np.repeat(source, c) < 0, -1, np.add.outer(source * c, wide).reshape(-1)),
        along=np.arange(xa.size) * (xa.dilation * c),
        n=xa.out * c,
        planes=za.out,
        rows=ya.out,
        yz=ys[at.z + 2] if at.z >= 0 else 0,
        yy=ys[at.y + 2] if at.y >= 0 else 0,
        ring=planes * room.plane,
        slots=planes * room.plane + room.window,
        seats=np.arange(GROUP * room.band).reshape(GROUP, room.band) * room.pitch + -low * c % 16,
        counts=np.arange(room.band),
        beyond=tuple([bool((zat[e : e + GROUP] < 0).any()) for e in range(0, len(zat), GROUP)]),
        shelf=np.arange(room.band + ya.size - 1) * room.pitch,
        identity=xa.size == 1 and not len(gap),
    )


def _march(
    t: Course, x: Array, x0: int, y: Array, y0: int, kz: Array | None, ky: Array | None, kx: Array | None, cval: float, add: int, s: Array,
    even: bool,
) -> None:  # fmt: skip
    """Band by band through all extended planes, a group at a time: y pass, x pass, z pass; `even`: all kernels are symmetric."""
    from sash.kernels.cpu.ends import ends

    if even:
        from sash.kernels.cpu.pairs import along, column
    else:
        from sash.kernels.cpu.rows import along, column

    room = t.room
    one = np.ones(1, s.dtype)
    kz, ky, kx = (one if k is None else k for k in (kz, ky, kx))
    A, B = len(kz), len(ky)
    # What cval is worth behind the y pass, and behind the x pass.
    past = cval * float(ky.sum(dtype=np.float64)) if cval else 0.0
    beyond = past * float(kx.sum(dtype=np.float64)) if cval else 0.0
    zero = np.zeros(1, np.int64)
    E, length = len(t.zat), t.xhi - t.xlo
    for top in range(0, t.rows, room.band):
        top = max(min(top, t.rows - room.band), 0) if not add else top  # a full band again: the same bits
        m = min(room.band, t.rows - top)
        line = t.yat[top : top + m + B - 1]
        gathers = bool((line < 0).any())
        done = 0  # planes of output made
        for e in range(0, E, GROUP):
            planes = t.zat[e : e + GROUP]
            count = len(planes)
            if A > 1:
                to, step, goal, more = t.slots[e % room.slots : e % room.slots + count], t.n, s, 0
            else:
                to, step, goal, more = y0 + top * t.yy + np.arange(e, e + count) * t.yz, t.yy, y, add
            seats = t.seats[:count, :m]
            if t.beyond[e // GROUP]:
                real = planes >= 0
                _constant(goal, to[~real], m, step, t.n, beyond, more)
                planes, to, seats = planes[real], to[real], seats[real]
                if not len(planes):
                    planes = to = seats = zero[:0]
            if len(planes):
                if gathers:
                    at, reading, source = _gathered(t, x, planes + x0, line, m + B - 1, cval, s), t.shelf, s
                else:
                    at, reading, source = planes + (x0 + t.xsrc), line, x
                if t.identity:
                    column(source, ky, goal, at, to, reading, step, m, length, more)
                else:
                    column(source, ky, s, at, seats[:, 0] + t.xlo, reading, room.pitch, m, length, 0)
                    seats = seats.reshape(-1)
                    if len(t.gap):
                        ends(s, seats, t.gap, t.source, s.dtype.type(past))
                    along(s, kx, goal, seats, np.add.outer(to, t.counts[:m] * step).reshape(-1), t.along, t.n, more)
            ready = e + count - (A - 1)
            if A > 1 and ready > done:
                spot = y0 + done * t.yz + (top + t.counts[:m]) * t.yy
                ring = t.ring[done % room.slots : done % room.slots + ready - done + A - 1]
                column(s, kz, y, room.window + t.counts[:m] * t.n, spot, ring, t.yz, ready - done, t.n, add)
                done = ready


def _constant(y: Array, at: Array, m: int, step: int, n: int, value: float, add: int) -> None:
    """m rows of each plane at `at`, all of the value that cval has there."""
    value = value if y.dtype.kind == "f" else round(value)
    for start in at:
        for i in range(m):
            row = y[start + i * step : start + i * step + n]
            if add:
                row += value
            else:
                row.fill(value)


def _gathered(t: Course, x: Array, planes: Array, line: Array, reach: int, cval: float, s: Array) -> Array:
    """The rows that a band reads, those that read cval included, in one place; offsets of the planes there."""
    length, pitch = t.xhi - t.xlo, t.room.pitch
    room = s[t.room.gathered : t.room.gathered + len(planes) * reach * pitch].reshape(len(planes), reach, pitch)
    room[:, :, :length] = cval
    read = np.flatnonzero(line >= 0)  # one run of rows and one of planes: the others read cval
    if len(read):
        steps = [int(a[1] - a[0]) * x.itemsize if len(a) > 1 else 0 for a in (planes, line[read])]
        start = int(planes[0]) + t.xsrc + int(line[read[0]])
        found = as_strided(x[start:], (len(planes), len(read), length), (*steps, x.itemsize))
        room[:, read[0] : read[-1] + 1, :length] = found
    return t.room.gathered + np.arange(len(planes)) * (reach * pitch)


def _one() -> Axis:
    return Axis(1, 1, 1, 1, 0, 1, "zero")


@lru_cache(maxsize=256)
def _ends(axis: Axis) -> tuple[int, int, int, Array, Array] | None:
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
