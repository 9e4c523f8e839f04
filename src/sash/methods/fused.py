"""Fused passes: a band of rows goes through y, x and z, a group of planes at a time, while it is in cache.

    x (..., Z, Y, X, c)   s, the band filtered in y (and x in place)   window: its last planes filtered in y and x   y
How blocks are cut is told in `bands`.  Boundaries are tables of offsets for planes and rows, and for samples a copy of the
ends of each row.   Imports: arrays, bands, kernels.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.arrays.numpy_ import Array, aligned, flat, give, index, lies_well, readable, sound, steps, storable
from sash.arrays.weights import Terms
from sash.axis import Axis
from sash.methods import bands
from sash.methods.bands import Room, plain_run, room_of, single, slots
from sash.problem import Problem


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
    za, ya, xa = (axes[i] if i >= 0 else single() for i in at)
    c = prod(behind)
    found = plain_run(xa)
    assert found is not None
    low, high, first, gap, source = found
    room = room_of(za.size, ya.size, za.out, ya.out, xa.out * c, (xa.out - 1 + xa.reach) * c)

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
        seats=np.arange(bands.GROUP * room.band).reshape(bands.GROUP, room.band) * room.pitch + -low * c % 16,
        counts=np.arange(room.band),
        beyond=tuple([bool((zat[e : e + bands.GROUP] < 0).any()) for e in range(0, len(zat), bands.GROUP)]),
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
        for e in range(0, E, bands.GROUP):
            planes = t.zat[e : e + bands.GROUP]
            count = len(planes)
            if A > 1:
                to, step, goal, more = t.slots[e % room.slots : e % room.slots + count], t.n, s, 0
            else:
                to, step, goal, more = y0 + top * t.yy + np.arange(e, e + count) * t.yz, t.yy, y, add
            seats = t.seats[:count, :m]
            if t.beyond[e // bands.GROUP]:
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
