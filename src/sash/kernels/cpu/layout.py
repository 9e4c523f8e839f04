"""Between images, channel by channel, and blocks, pixel by pixel: transposition in squares of lanes x lanes elements.

x (C, H, W) flat, channels xp apart, the image at i   y (h, w, yp) flat, pixels yp >= C apart, the block at j
y[j + (r w + q) yp + c] = x[i + c xp + (top + r) W + left + q]   for 0 <= r < h, 0 <= q < w; zeros outside the image
Squares at an edge overlap those before them; where less than one fits, elements go one by one.   Imports: simd, gather.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import as_strided

from . import simd
from .gather import flip
from .moves import fetch
from .simd import least, sized, stay_whole

AHEAD = 256
"""Bytes of a channel asked for before their turn: no CPU follows 64 channels by itself (64 x 240 x 320: 3.1 ms, then 1.8 ms)."""


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def turned(x: Any, at: Any, xp: int, y: Any, to: Any, yp: int, m: int, n: int, ahead: int, lanes: Any) -> None:
    """y[to[r] + b yp + a] = x[at[r] + a xp + b] for a < m and b < n; what is `ahead` in x is asked for, unless 0."""
    stay_whole()
    L = len(lanes)
    for r in range(len(at)):
        i, j = at[r], to[r]
        if m < L or n < L:
            for a in range(m):
                for b in range(n):
                    y[j + b * yp + a] = x[i + a * xp + b]
            continue
        for b0 in range(0, n, L):
            b = least(b0, n - L)
            for a0 in range(0, m, L):
                a = least(a0, m - L)
                if ahead:
                    for c in range(a, a + L):
                        fetch(x, i + c * xp + b + ahead, lanes, (0,), ())
                flip(x, i + a * xp + b, xp, y, j + b * yp + a, yp, lanes)


def _turned(x: Any) -> Any:
    return sized(turned, simd.block(x.itemsize).lanes)


def turn(x: Any, i: int, xp: int, y: Any, j: int, yp: int, m: int, n: int) -> None:
    """y[j + b yp + a] = x[i + a xp + b] for 0 <= a < m and 0 <= b < n."""
    _turned(x)(x, np.array([i]), xp, y, np.array([j]), yp, m, n, AHEAD // x.itemsize)


def enter(
    x: Any, i: int, xp: int, y: Any, j: int, yp: int, C: int, H: int, W: int, top: int, left: int, h: int, w: int,
) -> None:  # fmt: skip
    """Image to block.  Elements C to yp of a pixel are left as they are."""
    r0, c0 = min(max(-top, 0), h), min(max(-left, 0), w)
    r1, c1 = max(min(H - top, h), r0), max(min(W - left, w), c0)
    block = as_strided(y[j:], (h, w, C), (w * yp * y.itemsize, yp * y.itemsize, y.itemsize))
    block[:r0], block[r1:], block[r0:r1, :c0], block[r0:r1, c1:] = 0, 0, 0, 0
    rows = np.arange(r0, r1)
    at, to = i + (top + rows) * W + left + c0, j + (rows * w + c0) * yp
    _turned(x)(x, at, xp, y, to, yp, C, c1 - c0, AHEAD // x.itemsize)


def leave(y: Any, j: int, yp: int, x: Any, i: int, xp: int, C: int, W: int, top: int, left: int, h: int, w: int) -> None:
    """Block to image, all of it inside."""
    rows = np.arange(h)
    _turned(x)(y, j + rows * w * yp, yp, x, i + (top + rows) * W + left, xp, w, C, 0)
