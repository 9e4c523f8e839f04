"""Channels that do not see each other, one after the other: each is given its border, and slid over while caches hold it.

x, room, y flat   at, goal (I,) where image i begins in x and y   w (G, T), image i takes row i % G
The other letters are those of border, rows and taps; one image lies in `room`.   Imports: border, rows, small, taps, simd.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import simd
from .border import bordered, lanes
from .rows import shares, sweep
from .simd import sized, stay_whole
from .small import SIDE, small
from .taps import spread


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def swept(
    x: Any, room: Any, w: Any, y: Any, at: Any, goal: Any, frame: Any, past: float, source: Any, target: Any, nil: Any, off: Any,
    line: Any, yp: int, m: int, n: int, h: int, k: int, d: int, op: Any, lanes: Any, cols: Any, rows: Any, thin: Any, ways: Any,
) -> None:  # fmt: skip
    """By `sweep`: the rows of a block share what they load."""
    stay_whole()
    row, down, ring, lead, many, length = frame
    T = len(off) * h * k
    G = len(w) // T
    for i in range(len(at)):
        bordered(x, room, at[i : i + 1], row, nil, down, ring, lead, many, length, past, thin, ways)
        part = w[i % G * T : (i % G + 1) * T]
        sweep(room, part, part, y[goal[i] :], source, target, nil, nil, off, line, yp, m, n, h, k, d, 0, op, lanes, cols, rows)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def small_ones(
    x: Any, room: Any, w: Any, y: Any, at: Any, goal: Any, frame: Any, past: float, source: Any, target: Any, nil: Any, off: Any,
    xp: int, yp: int, m: int, n: int, d: int, lanes: Any, cols: Any, rows: Any, high: Any, count: Any, thin: Any, ways: Any,
) -> None:  # fmt: skip
    """By `small`: windows of three by three."""
    stay_whole()
    row, down, ring, lead, many, length = frame
    T = len(off) * len(count)
    G = len(w) // T
    for i in range(len(at)):
        bordered(x, room, at[i : i + 1], row, nil, down, ring, lead, many, length, past, thin, ways)
        part = w[i % G * T : (i % G + 1) * T]
        small(room, part, y[goal[i] :], source, target, nil, nil, off, xp, yp, m, n, d, lanes, cols, rows, high, count)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def spread_out(
    x: Any, room: Any, w: Any, y: Any, at: Any, goal: Any, frame: Any, past: float, source: Any, target: Any, nil: Any, off: Any,
    n: int, cell: Any, op: Any, lanes: Any, wide: Any, thin: Any, ways: Any,
) -> None:  # fmt: skip
    """By `spread`: every row on its own."""
    stay_whole()
    row, down, ring, lead, many, length = frame
    T = len(off)
    G = len(w) // T
    for i in range(len(at)):
        bordered(x, room, at[i : i + 1], row, nil, down, ring, lead, many, length, past, thin, ways)
        part = w[i % G * T : (i % G + 1) * T]
        spread(room, part, part, y[goal[i] :], source, target, nil, nil, off, n, 0, cell, op, lanes, wide)


def channels(x: Any, room: Any, w: Any, y: Any, at: Any, goal: Any, frame: Any, past: float, s: int, t: Any) -> None:
    """All images; t: the tables of one, as rows and taps take them (see methods/offsets.py)."""
    thin = lanes(w.itemsize, frame[3], frame[4], s)
    size, w, nil, ways = simd.block(w.itemsize), w.reshape(-1), np.zeros(1, np.int64), (0,) * s
    if t.m and shares(t.m, t.n, t.h, w.itemsize):
        if t.h == t.k == SIDE:
            kernel = sized(small_ones, size.lanes, size.cols, size.rows, (0,) * SIDE, (0,) * SIDE**2, thin, ways)
            kernel(x, room, w, y, at, goal, frame, past, t.at, t.to, nil, t.outer, t.xp, t.yp, t.m, t.n, t.d)
            return
        line, kernel = np.arange(t.m + t.h - 1) * t.xp, sized(swept, simd.PRODUCT, size.lanes, size.cols, size.rows, thin, ways)
        kernel(x, room, w, y, at, goal, frame, past, t.at, t.to, nil, t.outer, line, t.yp, t.m, t.n, t.h, t.k, t.d)
        return
    down = np.arange(max(t.m, 1))
    source, target = np.add.outer(t.at, down * t.xp).reshape(-1), np.add.outer(t.to, down * t.yp).reshape(-1)
    cell = np.empty(len(size.lanes) * len(size.wide), w.dtype)
    kernel = sized(spread_out, simd.PRODUCT, size.lanes, size.wide, thin, ways)
    kernel(x, room, w, y, at, goal, frame, past, source, target, nil, t.off, t.n, cell)
