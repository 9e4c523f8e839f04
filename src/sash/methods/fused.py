"""Fused passes: a band of rows goes through y, x and z, a group of planes at a time, while it is in cache.

    x (..., Z, Y, X, c)   s, the band filtered in y (and x in place)   window: its last planes filtered in y and x   y
How blocks are cut is told in `bands`.  Boundaries are tables of offsets for planes and rows, and for samples a copy of the
ends of each row.   Imports: arrays, bands, kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.arrays.numpy_ import Array, aligned, flat, give, index, lies_well, readable, sound, steps, storable
from sash.arrays.weights import Terms
from sash.axis import Axis
from sash.methods import bands
from sash.methods.bands import Room, plain_run, room_of, single, slots
from sash.problem import Problem

FEW = 4
"""Rows that are made together at least, where a band is cut: they fill a block of registers."""


def run(problem: Problem, x: Array, terms: Terms, even: bool, y: Array, cval: float, spare: list[Array]) -> None:
    """Make one block; `spare` holds scratch that no block is using."""
    at = slots(problem.axes)
    if not readable(x.dtype, problem.dtype) or not sound(x) or not lies_well(x.shape, x.strides, x.itemsize, at.x + 2):
        x = np.ascontiguousarray(x, problem.dtype)
    fits = y.dtype == problem.dtype or (len(terms) == 1 and storable(problem.dtype, y.dtype, problem.bits > 0))
    direct = fits and sound(y) and lies_well(y.shape, y.strides, y.itemsize, at.x + 2)
    target = y if direct else np.empty(y.shape, problem.dtype)
    _make(problem, steps(x), 0, steps(target), 0, flat(x), terms, even, flat(target), cval, spare)
    if target is not y:
        give(target, y)


def settled(
    problem: Problem, steps: tuple[int, ...], first: int, goals: tuple[int, ...], goal: int
) -> Callable[[Array, tuple[bool, Terms, bool, list[Array]], Array, float], None] | None:
    """`run` with everything settled but its operands: made(x, prepared, y, cval), x and y flat; None where something is copied.

    Samples lie `steps` apart in x, from `first` on, and results `goals` apart in y, from `goal` on.
    """
    at, given, out = slots(problem.axes), (problem.batch, 1, *[a.n for a in problem.axes]), (problem.batch, 1, *problem.out)
    fits = problem.result == problem.dtype or (problem.rank == 1 and storable(problem.dtype, np.dtype(problem.result), problem.bits > 0))
    if not fits or not lies_well(given, steps, 1, at.x + 2) or not lies_well(out, goals, 1, at.x + 2):
        return None

    def made(x: Array, prepared: tuple[bool, Terms, bool, list[Array]], y: Array, cval: float) -> None:
        _, terms, even, spare = prepared
        with np.errstate(all="ignore"):
            _make(problem, steps, first, goals, goal, x, terms, even, y, cval, spare)

    return made


def _make(
    problem: Problem, xs: tuple[int, ...], first: int, ys: tuple[int, ...], goal: int, x: Array, terms: Terms, even: bool, y: Array,
    cval: float, spare: list[Array],
) -> None:  # fmt: skip
    """One block of flat x and y, whatever lies before z one by one."""
    at = slots(problem.axes)
    lead = (problem.batch, 1, *problem.out)[: at.z + 2 if at.z >= 0 else 2]
    behind = tuple([a.n for a in problem.axes[at.x + 1 :]])
    courses = [_course(problem.axes, behind, xs, ys, number > 0) for number in range(len(terms))]
    end = courses[0].room.end
    try:
        s = spare.pop()
    except IndexError:
        s = aligned(end, problem.dtype)
    if s.size < end:
        s = aligned(end, problem.dtype)
    for place in np.ndindex(*lead):
        x0 = first + sum([i * step for i, step in zip(place, xs, strict=False)])
        y0 = goal + sum([i * step for i, step in zip(place, ys, strict=False)])
        for course, term in zip(courses, terms, strict=True):
            kz, ky, kx = (term[i] if i >= 0 else None for i in at)
            _march(course, x, x0, y, y0, kz, ky, kx, cval, s, even)
    spare.append(s)


class Step(NamedTuple):
    """A group of planes in a band of rows, or in a piece of it: what each kernel is told."""

    m: int
    """Rows."""
    line: Array
    """Offsets in x of the extended rows, -1: cval."""
    gathers: bool
    """Some of them read cval: they are gathered first."""
    blank: Array
    """Where planes go that read cval, and nothing else."""
    planes: Array
    """Offsets in x of the others."""
    to: Array
    """Where they go, plane by plane."""
    starts: Array
    """Where in s they are filtered in y, plane by plane, and ..."""
    seats: Array
    """... row by row."""
    rows: Array
    """Where they go, row by row."""
    spot: Array
    """Where in y the rows go that are filtered in z behind this step, and ..."""
    ring: Array
    """... offsets in the window of what they read."""
    made: int
    """Planes of them; 0: none are ready."""


class Course(NamedTuple):
    """All tables of a block, in elements of x, of s and of y."""

    room: Room
    steps: tuple[Step, ...]
    add: int
    """1: what is made is added to what y holds."""
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
    yz: int
    yy: int
    window: Array
    """Offsets of the window's rows."""
    shelf: Array
    """Offsets of gathered rows."""
    identity: bool
    """There is no pass along x."""


@lru_cache(maxsize=128)
def _course(axes: tuple[Axis, ...], behind: tuple[int, ...], xs: tuple[int, ...], ys: tuple[int, ...], add: bool) -> Course:
    """Band by band through all extended planes, a group at a time; tables that steps have in common are there once."""
    at = slots(axes)
    za, ya, xa = (axes[i] if i >= 0 else single() for i in at)
    c = prod(behind)
    found = plain_run(xa)
    assert found is not None
    low, high, begin, gap, source = found
    room = room_of(za.size, ya.size, za.out, ya.out, xa.out * c, (xa.out - 1 + xa.reach) * c)
    A, B, n = za.size, ya.size, xa.out * c
    yz, yy = (ys[i + 2] if i >= 0 else 0 for i in at[:2])

    def offsets(axis: Axis, i: int) -> Array:
        read = index(axis)
        return np.where(read < 0, -1, read * (xs[i + 2] if i >= 0 else 0))

    planes, lines, wide, counts = offsets(za, at.z), offsets(ya, at.y), np.arange(c), np.arange(room.band)
    circle = np.arange(2 * max(room.slots, 1)) % max(room.slots, 1) * room.plane
    seats = np.arange(bands.GROUP * room.band).reshape(bands.GROUP, room.band) * room.pitch + -low * c % 16
    shared: dict[Any, Array] = {}
    found_steps = []
    for top in range(0, ya.out, room.band):
        top = top if add else max(min(top, ya.out - room.band), 0)  # a full band again: the same bits
        m = min(room.band, ya.out - top)
        pieces = _pieces(lines[top : top + m + B - 1], B, m)
        done = 0  # planes of output made
        for e in range(0, len(planes), bands.GROUP):
            here = planes[e : e + bands.GROUP]
            count, real = len(here), here >= 0
            if A > 1:
                to, step = circle[e % room.slots : e % room.slots + count] + room.window, n
            else:
                to, step = top * yy + np.arange(e, e + count) * yz, yy
            ready = max(e + count - (A - 1), done) if A > 1 else done
            for a, b in pieces:
                made, place, goals = ready - done if b == m else 0, ("from", real.tobytes(), a, b), ("to", to[real].tobytes(), a, b)
                if place not in shared:
                    shared[place] = seats[:count, a:b][real].reshape(-1)
                if goals not in shared:
                    shared[goals] = np.add.outer(to[real], counts[a:b] * step).reshape(-1)
                found_steps.append(
                    Step(
                        m=b - a,
                        line=lines[top + a : top + b + B - 1],
                        gathers=bool((lines[top + a : top + b + B - 1] < 0).any()),
                        blank=to[~real] + a * step,
                        planes=here[real] + begin * c,
                        to=to[real] + a * step,
                        starts=shared[place][:: b - a] + low * c,
                        seats=shared[place],
                        rows=shared[goals],
                        spot=done * yz + (top + counts[:m]) * yy,
                        ring=circle[done % max(room.slots, 1) :][: made + A - 1],
                        made=made,
                    )
                )
            done = ready
    return Course(
        room=room,
        steps=tuple(found_steps),
        add=int(add),
        xlo=low * c,
        xhi=high * c,
        gap=np.add.outer(gap * c, wide).reshape(-1),
        source=np.where(np.repeat(source, c) < 0, -1, np.add.outer(source * c, wide).reshape(-1)),
        along=np.arange(xa.size) * (xa.dilation * c),
        n=n,
        yz=yz,
        yy=yy,
        window=room.window + counts * n,
        shelf=np.arange(room.band + B - 1) * room.pitch,
        identity=xa.size == 1 and not len(gap),
    )


def _pieces(line: Array, B: int, m: int) -> list[tuple[int, int]]:
    """m rows, of which row i reads line[i : i + B], cut where rows that read cval begin and end: those are gathered."""
    plain = np.flatnonzero(~np.lib.stride_tricks.sliding_window_view(line < 0, B).any(axis=-1))
    if len(plain) < FEW:
        return [(0, m)]
    a, b = int(plain[0]), int(plain[-1]) + 1
    a, b = min(max(a, FEW), m) if a else 0, max(min(b, m - FEW), 0) if b < m else m
    return [(p, q) for p, q in ((0, a), (a, b), (b, m)) if p < q] if a < b else [(0, m)]


def _march(
    t: Course, x: Array, x0: int, y: Array, y0: int, kz: Array | None, ky: Array | None, kx: Array | None, cval: float, s: Array, even: bool
) -> None:
    """All steps of a course, those of x and y moved by x0 and y0: y pass, x pass, z pass; `even`: all kernels are symmetric."""
    from sash.kernels.cpu.ends import ends

    if even:
        from sash.kernels.cpu.pairs import along, column
    else:
        from sash.kernels.cpu.rows import along, column

    one = np.ones(1, s.dtype)
    kz, ky, kx = (one if k is None else k for k in (kz, ky, kx))
    # What cval is worth behind the y pass, and behind the x pass.
    past = cval * float(ky.sum(dtype=np.float64)) if cval else 0.0
    beyond = past * float(kx.sum(dtype=np.float64)) if cval else 0.0
    length, pitch = t.xhi - t.xlo, t.room.pitch
    goal, step, moved, more = (s, t.n, 0, 0) if len(kz) > 1 else (y, t.yy, y0, t.add)
    for p in t.steps:
        if len(p.blank):
            _constant(goal, p.blank + moved, p.m, step, t.n, beyond, more)
        if len(p.planes):
            at, reading, source = _by(p.planes, x0), p.line, x
            if p.gathers:
                at, reading, source = _gathered(t, x, at, p.line, cval, s), t.shelf, s
            if t.identity:
                column(source, ky, goal, at, _by(p.to, moved), reading, step, p.m, length, more)
            else:
                column(source, ky, s, at, p.starts, reading, pitch, p.m, length, 0)
                if len(t.gap):
                    ends(s, p.seats, t.gap, t.source, s.dtype.type(past))
                along(s, kx, goal, p.seats, _by(p.rows, moved), t.along, t.n, more)
        if p.made:
            column(s, kz, y, t.window[: len(p.spot)], _by(p.spot, y0), p.ring, t.yz, p.made, t.n, t.add)


def _by(at: Array, step: int) -> Array:
    """Offsets moved by a step."""
    return at + step if step else at


def _constant(y: Array, at: Array, m: int, step: int, n: int, value: float, add: int) -> None:
    """m rows of each plane at `at`, all of the value that cval has there."""
    value = value if y.dtype.kind == "f" else round(value)
    for start in at:
        rows = y[start : start + m * n] if step == n else as_strided(y[start:], (m, n), (step * y.itemsize, y.itemsize))
        if add:
            rows += value
        else:
            rows.fill(value)


def _gathered(t: Course, x: Array, planes: Array, line: Array, cval: float, s: Array) -> Array:
    """The rows that a band reads, those that read cval included, in one place; offsets of the planes there."""
    length, pitch, reach = t.xhi - t.xlo, t.room.pitch, len(line)
    room = s[t.room.gathered : t.room.gathered + len(planes) * reach * pitch].reshape(len(planes), reach, pitch)
    read = np.flatnonzero(line >= 0)  # one run of rows and one of planes: the others read cval
    top, end = (int(read[0]), int(read[-1]) + 1) if len(read) else (reach, reach)
    room[:, :top, :length] = cval
    room[:, end:, :length] = cval
    if len(read):
        steps = [int(a[1] - a[0]) * x.itemsize if len(a) > 1 else 0 for a in (planes, line[read])]
        start = int(planes[0]) + int(line[read[0]])
        found = as_strided(x[start:], (len(planes), len(read), length), (*steps, x.itemsize))
        room[:, top:end, :length] = found
    return t.room.gathered + np.arange(len(planes)) * (reach * pitch)
