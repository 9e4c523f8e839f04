"""The kernel for unit stride in the last two axes: each image row that is loaded serves several output rows.

x (X,) and y (Y,) flat   w, v (O, P, h, k)   at, to (R,)   base, step (O,)   off (P,) outer taps
y[to[r] + step[o] + i yp + j] (+)= sum_{p,u,l} term(w[o,p,u,l], v[o,p,u,l], x[at[r] + base[o] + off[p] + (i+u) xp + l d + j])
for 0 <= i < m, 0 <= j < n; summed in the order p, u, l: the same bits as taps.   Imports: simd, taps, terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from . import simd
from .moves import carry_lines, fetch_block, fetch_lines
from .simd import least, put, put_more, sized, stay_whole, zeros
from .taps import spread, taps
from .terms import gain_rows

STRIP = 10
"""Blocks of columns that go down all rows together: as many as keep the rows of 17 taps in the first-level cache."""

CLASH = 2048
"""Rows a multiple of so many bytes apart share few sets of the first-level cache ..."""

MANY = 8
"""... which holds so many of them."""


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def sweep(
    x: Any, w: Any, v: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any, line: Any,
    yp: int, m: int, n: int, h: int, k: int, d: int, add: int, op: Any, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """Blocks of rows x cols vectors; image row q lies at line[q].  Needs m >= rows, n >= cols lanes, h >= rows - 1."""
    stay_whole()
    N, W, P = len(rows), len(lanes) * len(cols), len(off)
    for r in range(len(at)):
        for i0 in range(0, m, N):
            i = least(i0, m - N)
            for o in range(len(base)):
                for j0 in range(0, n, W):
                    j = least(j0, n - W)
                    acc = zeros(w, lanes, cols, rows)
                    for p in range(P):
                        a = at[r] + base[o] + off[p] + j
                        t = (o * P + p) * h * k
                        acc = gain_rows(op, acc, cols, x, a, line, i, d, w, v, t, h, k)
                    b = to[r] + step[o] + i * yp + j
                    if add:
                        put_more(y, b, yp, acc, cols, i0 - i, j0 - j)
                    else:
                        put(y, b, yp, acc, cols)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def down(
    x: Any, k: Any, y: Any, at: Any, to: Any, line: Any, yp: int, m: int, n: int, add: int,
    room: Any, near: Any, pitch: int, op: Any, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """sweep by one column of taps, where its loop over columns would take half of the time.

    y[to[r] + i yp + j] (+)= sum_u k[u] x[at[r] + line[i + u] + j]
    With a pitch, rows are copied strip by strip to room[near[i + u]:], that far apart.
    """
    stay_whole()
    N, W, h, Q = len(rows), len(lanes) * len(cols), len(k), len(line)
    # Asked for while row r is made: the next one, or where the next call is likely to begin.
    further, beyond = line[m] - line[0], m * yp
    if len(at) > 1:
        further, beyond = at[1] - at[0], to[1] - to[0]
    for r in range(len(at)):
        ahead, goal = at[r] + further, to[r] + beyond
        for strip in range(0, n, STRIP * W):
            origin = at[r]
            if pitch:
                first, last = least(strip, n - W), least(strip + STRIP * W, n)
                carry_lines(x, origin + first, line, room, near, last - first, lanes)
                ahead, origin = origin + STRIP * W, -first
            for i0 in range(0, m, N):
                i = least(i0, m - N)
                q0, q1 = i0 * Q // m, least(i0 + N, m) * Q // m
                for j0 in range(strip, least(strip + STRIP * W, n), W):
                    j = least(j0, n - W)
                    a = origin + j
                    fetch_lines(x, ahead + j, line, q0, q1, lanes, cols)
                    fetch_block(y, goal + i * yp + j, yp, lanes, cols, rows)
                    acc = zeros(k, lanes, cols, rows)
                    acc = gain_rows(op, acc, cols, room, a, near, i, 0, k, k, 0, h, 1)
                    b = to[r] + i * yp + j
                    if add:
                        put_more(y, b, yp, acc, cols, i0 - i, j0 - j)
                    else:
                        put(y, b, yp, acc, cols)


def shares(m: int, n: int, h: int, itemsize: int) -> bool:
    """Whether m rows of n outputs, h taps high, fill a block of rows that share what they load."""
    size = simd.block(itemsize)
    side = len(size.rows)
    return h > 1 and h >= side - 1 and m >= side and n >= len(size.lanes) * len(size.cols)


def room(x: Any, k: Any, line: Any) -> tuple[Any, Any, int]:
    """Where down reads: in place (pitch 0), or in room for copies of a strip if rows would share one set of the cache."""
    if not MANY < len(line) <= 32 * MANY or int(line[1] - line[0]) * x.itemsize % CLASH:
        return x, line, 0
    size = simd.block(k.itemsize)
    pitch = STRIP * len(size.lanes) * len(size.cols) + simd.LINE // k.itemsize
    return np.empty(len(line) * pitch, k.dtype), np.arange(len(line)) * pitch, pitch


def column(x: Any, k: Any, y: Any, at: Any, to: Any, line: Any, yp: int, m: int, n: int, add: int) -> None:
    """y[to[r] + i yp + j] (+)= sum_u k[u] x[at[r] + line[i + u] + j]: a pass along any axis but the last."""
    size = simd.block(k.itemsize)
    if shares(m, n, len(k), k.itemsize):
        kernel = sized(down, simd.PRODUCT, size.lanes, size.cols, size.rows)
        kernel(x, k, y, at, to, line, yp, m, n, add, *room(x, k, line))
        return
    for i in range(m):
        along(x, k, y, at, to + i * yp, line[i : i + len(k)], n, add)


def along(x: Any, k: Any, y: Any, at: Any, to: Any, off: Any, n: int, add: int) -> None:
    """y[to[r] + j] (+)= sum_u k[u] x[at[r] + off[u] + j]."""
    zero = np.zeros(1, np.int64)
    taps(x, k, k, y, at, to, zero, zero, off, n, add, 0)


def settled(itemsize: int, t: Any, op: int) -> Callable[[Any, Any, Any, Any], None]:
    """`rows` (`taps` where t.m is 0) of x, w, v and y for tables t and operands of this size, all flat."""
    size, kind = simd.block(itemsize), simd.OPS[op]
    if shares(t.m, t.n, t.h, itemsize):
        line, shape = np.arange(t.m + t.h - 1) * t.xp, (t.yp, t.m, t.n, t.h, t.k, t.d, 0)
        told, kernel = (t.at, t.to, t.base, t.step, t.outer, line, *shape), sized(sweep, kind, size.lanes, size.cols, size.rows)
        return lambda x, w, v, y: kernel(x, w, v, y, *told)
    at, to = t.at, t.to
    if t.m:
        at, to = [np.add.outer(a, np.arange(t.m) * p).reshape(-1) for a, p in ((at, t.xp), (to, t.yp))]
    where, room = (at, to, t.base, t.step, t.off, t.n, 0), len(size.lanes) * len(size.wide)
    kernel = sized(spread, kind, size.lanes, size.wide)
    return lambda x, w, v, y: kernel(x, w, v, y, *where, np.empty(room, w.dtype))


def rows(
    x: Any, w: Any, v: Any, y: Any, at: Any, to: Any, base: Any, step: Any, off: Any,
    xp: int, yp: int, m: int, n: int, h: int, k: int, d: int, add: int, op: int,
) -> None:  # fmt: skip
    """Sum of terms over h rows of k columns, xp and d apart; op as in taps; add 1 accumulates."""
    size = simd.block(w.itemsize)
    if shares(m, n, h, w.itemsize):
        line = np.arange(m + h - 1) * xp
        w, v, form = w.ravel(), v.ravel(), (simd.OPS[op], size.lanes, size.cols, size.rows)
        if k == 1 and len(off) == 1 and op == 0:
            for o in range(len(base)):
                sized(down, *form)(x, w[o * h : o * h + h], y, at + base[o] + off[0], to + step[o], line, yp, m, n, add, *room(x, w, line))
        else:
            sized(sweep, *form)(x, w, v, y, at, to, base, step, off, line, yp, m, n, h, k, d, add)
        return
    # Nothing to share between output rows (h = 1), or less than a block: every output row on its own.
    at = (at[:, None] + np.arange(m) * xp).ravel()
    to = (to[:, None] + np.arange(m) * yp).ravel()
    off = (off[:, None, None] + np.arange(h)[:, None] * xp + np.arange(k) * d).ravel()
    taps(x, w, v, y, at, to, base, step, off, n, add, op)
