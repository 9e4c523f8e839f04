"""The fused separable pass over a volume: z, y and x in one march that reads and writes every plane once.

x: plane z, row r at x0 + z xz + r xy, X samples of c interleaved values   y: likewise at y0 + i yz + j yy
kz (A,)   ky (B,)   kx (D,) taps in correlation order   zmap (Zo + (A-1) dz,)   ymap (Yo + (B-1) dy,)
xmap (Xo + (D-1) dx,): which sample each extended position reads, -1 = cval; [xlo, xhi) reads xsrc, xsrc + 1, ...
Imports: simd, taps, rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from . import simd
from .rows import down
from .taps import spread

BAND = 24  # most rows filtered together: 12 read more rows of halo twice (256^3, 17 taps: 56 to 62 against 52 ms of CPU)
GROUP = 12  # planes of output made at once from a full window; 6 and 24 are as fast


class Layout(NamedTuple):
    """Where things lie in scratch, in elements."""

    pitch: int  # of filtered and of gathered rows
    window: int
    plane: int  # pitch of the window's planes
    gathered: int
    end: int


class Room(NamedTuple):
    """Small arrays that the kernels fill or read, made outside: each np.empty inside costs 0.1 s of compile time."""

    gap: Any  # positions of an extended row outside the plain run
    shelf: Any  # offsets of gathered rows
    slot: Any  # offsets of the window's planes, in order of age
    seat: Any  # offsets of filtered rows
    goal: Any  # offsets of their results
    along: Any  # offsets of the taps of kx
    offz: Any
    offy: Any
    at: Any
    there: Any
    zero: Any
    cell: Any


def layout(A: int, B: int, dz: int, dy: int, extended: int, made: int, rows: int) -> Layout:
    """Plan of scratch for `rows` rows of `made` values, `extended` before the x pass."""
    pitch = -(-extended // 16) * 16 + 16  # no multiple of 4096 bytes: such rows would share one set of L1
    window = rows * pitch
    plane = -(-rows * made // 16) * 16 + 16
    gathered = window + (((A - 1) * dz + GROUP) * plane if A > 1 else 0)
    return Layout(pitch, window, plane, gathered, gathered + (rows + (B - 1) * dy) * pitch)


def blur_scratch(A: int, B: int, D: int, dz: int, dy: int, dx: int, made: int, c: int, rows: int) -> int:
    """Elements of scratch that blur needs for `rows` output rows of `made` samples of c values."""
    return layout(A, B, dz, dy, (made + (D - 1) * dx) * c, made * c, min(rows, BAND)).end


@njit(nogil=True, inline="always")
def across(
    x: Any, k: Any, y: Any, start: int, to: int, line: Any, q0: int, d: int, yp: int, m: int, n: int, add: int,
    at: Any, there: Any, zero: Any, off: Any, cell: Any, op: Any, lanes: Any, cols: Any, rows: Any, wide: Any,
) -> None:  # fmt: skip
    """y[to + i yp + j] (+)= sum_u k[u] x[start + line[q0 + i + u d] + j]: rows d apart share what they load."""
    h, N = len(k), len(rows)
    for phase in range(min(d, m)):
        goal = to + phase * yp
        count = (m - phase + d - 1) // d
        if h > 1 and h >= N - 1 and count >= N and n >= len(lanes) * len(cols):
            down(x, k, y, start, goal, line, q0 + phase, d, d * yp, count, n, add, op, lanes, cols, rows)
        else:
            at[0] = start
            for i in range(phase, m, d):
                for u in range(h):
                    off[u] = line[q0 + i + u * d]
                there[0] = to + i * yp
                spread(x, k, k, y, at, there, zero, zero, off, n, add, cell, op, lanes, wide)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def march(
    x: Any, y: Any, kz: Any, ky: Any, kx: Any, zat: Any, yat: Any, xat: Any, y0: int, yz: int, yy: int, height: int,
    band: int, c: int, dz: int, dy: int, xlo: int, xhi: int, xsrc: int, far: int, past: Any, add: int, scratch: Any,
    plan: Any, room: Any, op: Any, lanes: Any, cols: Any, rows: Any, wide: Any,
) -> None:  # fmt: skip
    """Bands of rows, each through all planes with its last planes, filtered in y and x, in a window.

    zat, yat, xat: offsets in x of extended planes, rows and samples, -1 = cval
    past (3,): what cval is worth before any pass, behind the y pass, behind the x pass
    far: samples outside the plain run are needed, so every band gathers
    """
    A, B, E = len(kz), len(ky), len(zat)
    pitch, window, plane, gathered, _ = plan
    gap, shelf, slot, seat, goal, along, offz, offy, at, there, zero, cell = room
    n, shift = len(xat) * c - along[-1], xsrc - xlo
    slots = len(slot)
    for top in range(0, height, band):
        if not add:  # a full band again rather than a thin one: the same bits, and blocks that are filled
            top = max(min(top, height - band), 0)
        m = min(band, height - top)
        reach = m + (B - 1) * dy
        apart = far != 0
        for q in range(top, top + reach):
            apart |= yat[q] < 0
        if apart:
            for j in range(gathered, gathered + reach * pitch):
                scratch[j] = past[0]
            image, line, q0, first, last = scratch, shelf, 0, 0, len(xat)
        else:
            image, line, q0, first, last = x, yat, top, xlo, xhi
        straight = len(kx) == 1 and kx[0] == 1 and last - first == len(xat)
        for e in range(E):
            target, start, step, more = y, y0 + e * yz + top * yy, yy, add
            if A > 1:
                target, start, step, more = scratch, window + e % slots * plane, n, add * 0
            for i in range(m):
                goal[i] = start + i * step
            if zat[e] < 0:
                for i in range(m):
                    for j in range(goal[i], goal[i] + n):
                        target[j] = target[j] + past[2] if more else past[2]
            else:
                head = gathered if apart else zat[e] + xsrc * c
                if apart:
                    for q in range(reach):
                        if yat[top + q] >= 0:
                            a, b = zat[e] + yat[top + q], gathered + q * pitch
                            for j in range(xlo * c, xhi * c):
                                scratch[b + j] = x[a + j + shift * c]
                            for p in gap:
                                if xat[p] >= 0:
                                    for l in range(c):
                                        scratch[b + p * c + l] = x[a + xat[p] + l]
                if straight:
                    made, to, yp, onto = target, start, step, more
                else:
                    made, to, yp, onto = scratch, first * c, pitch, add * 0
                across(
                    image, ky, made, head, to, line, q0, dy, yp, m, (last - first) * c, onto,
                    at, there, zero, offy, cell, op, lanes, cols, rows, wide,
                )  # fmt: skip
                if not straight:
                    if not apart:
                        for i in range(0, m * pitch, pitch):
                            for p in gap:
                                for l in range(c):
                                    a = i + xat[p] - shift * c + l
                                    scratch[i + p * c + l] = scratch[a] if xat[p] >= 0 else past[1]
                    spread(
                        scratch, kx, kx, target, seat[:m], goal, zero, zero, along, n, more,
                        cell, op, lanes, wide,
                    )  # fmt: skip
            done = e + 1 - (A - 1) * dz  # planes of output whose inputs are all in the window
            if A > 1 and done > 0 and (done % GROUP == 0 or e == E - 1):
                count = (done - 1) % GROUP + 1
                if not add:  # a full group again, as above
                    count = min(GROUP, done)
                for s in range(count + (A - 1) * dz):
                    slot[s] = (done - count + s) % slots * plane
                to = y0 + (done - count) * yz + top * yy
                lines, length = (1, m * n) if yy == n else (m, n)
                for i in range(lines):
                    across(
                        scratch, kz, y, window + i * n, to + i * yy, slot, 0, dz, yz, count, length, add,
                        at, there, zero, offz, cell, op, lanes, cols, rows, wide,
                    )  # fmt: skip


def blur(
    x: Any, y: Any, kz: Any, ky: Any, kx: Any, zmap: Any, ymap: Any, xmap: Any,
    x0: int, xz: int, xy: int, y0: int, yz: int, yy: int, j0: int, j1: int, c: int, dz: int, dy: int, dx: int,
    xlo: int, xhi: int, xsrc: int, cval: float, add: int, scratch: Any,
) -> None:  # fmt: skip
    """Output rows j0 <= j < j1 (at least one) of every plane; add 1 accumulates into y.  The bits do not depend on j0 and j1."""
    A, B, D, Xe = len(kz), len(ky), len(kx), len(xmap)
    op, form = simd.PRODUCT, simd.block(x.itemsize)
    if A == 1:
        kx = kx * kz[0]  # no pass along z of its own
    band = -(-(j1 - j0) // -(-(j1 - j0) // BAND))  # equal bands
    plan = layout(A, B, dz, dy, Xe * c, (Xe - (D - 1) * dx) * c, band)
    gap = np.r_[0:xlo, xhi:Xe]
    beyond = xmap[gap]
    zero, cell = np.zeros(1, np.int64), np.empty(len(form.lanes) * len(form.wide), x.dtype)
    room = Room(
        gap=gap,
        shelf=np.arange(band + (B - 1) * dy) * plan.pitch,
        slot=np.empty((A - 1) * dz + GROUP, np.int64),
        seat=np.arange(band) * plan.pitch,
        goal=np.empty(band, np.int64),
        along=np.arange(D) * (dx * c),
        offz=np.empty(A, np.int64),
        offy=np.empty(B, np.int64),
        at=np.empty(1, np.int64),
        there=np.empty(1, np.int64),
        zero=zero,
        cell=cell,
    )
    past = np.full(3, cval, x.dtype)
    for i, k in enumerate((ky, kx)):  # by the same chain of operations as every other value
        at = np.full(1, i)
        nowhere = np.zeros(len(k), np.int64)
        spread(past, k, k, past, at, at + 1, zero, zero, nowhere, 1, 0, cell, op, form.lanes, form.wide)
    rows = ymap[j0 : j1 + (B - 1) * dy]
    march(
        x, y, kz, ky, kx, np.where(zmap < 0, -1, x0 + zmap * xz), np.where(rows < 0, -1, rows * xy),
        np.where(xmap < 0, -1, xmap * c), y0 + j0 * yy, yz, yy, j1 - j0, band, c, dz, dy, xlo, xhi, xsrc,
        int(np.any((beyond >= 0) & ((beyond < xsrc) | (beyond >= xsrc + xhi - xlo)))), past, add, scratch,
        plan, room, op, *form,
    )  # fmt: skip
