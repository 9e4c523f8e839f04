"""Between images, channel by channel, and blocks, pixel by pixel: transposition in squares of lanes x lanes elements.

x (C, H, W) flat, channels xp apart, the image at i   y (h, w, yp) flat, pixels yp >= C apart, the block at j
y[j + (r w + q) yp + c] = x[i + c xp + (top + r) W + left + q]   for 0 <= r < h, 0 <= q < w; zeros outside the image
Squares at an edge overlap those before them; where less than one fits, elements go one by one.   Imports: simd, gather.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from . import simd
from .gather import flip
from .simd import fetch, stay_whole

AHEAD = 256
"""Bytes of a channel asked for before their turn: no CPU follows 64 channels by itself (64 x 240 x 320: 3.1 ms, then 1.8 ms)."""


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def turned(x: Any, i: int, xp: int, y: Any, j: int, yp: int, m: int, n: int, ahead: int, lanes: Any) -> None:
    """y[j + b yp + a] = x[i + a xp + b] for a < m and b < n; what is `ahead` in x is asked for, unless 0."""
    stay_whole()
    L = len(lanes)
    if m < L or n < L:
        for a in range(m):
            for b in range(n):
                y[j + b * yp + a] = x[i + a * xp + b]
        return
    for b0 in range(0, n, L):
        b = min(b0, n - L)
        for a0 in range(0, m, L):
            a = min(a0, m - L)
            if ahead:
                for r in range(a, a + L):
                    fetch(x, i + r * xp + b + ahead, lanes, (0,), ())
            flip(x, i + a * xp + b, xp, y, j + b * yp + a, yp, lanes)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def entering(
    x: Any, i: int, xp: int, y: Any, j: int, yp: int, C: int, H: int, W: int,
    top: int, left: int, h: int, w: int, ahead: int, lanes: Any,
) -> None:  # fmt: skip
    """Rows outside the image, and what is left and right of it, are set to zero."""
    stay_whole()
    a = min(max(-left, 0), w)
    b = max(min(W - left, w), a)
    for r in range(h):
        row, to = top + r, j + r * w * yp
        if 0 <= row < H:
            y[to : to + a * yp] = 0
            turned(x, i + row * W + left + a, xp, y, to + a * yp, yp, C, b - a, ahead, lanes)
            y[to + b * yp : to + w * yp] = 0
        else:
            y[to : to + w * yp] = 0


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def leaving(y: Any, j: int, yp: int, x: Any, i: int, xp: int, C: int, W: int, top: int, left: int, h: int, w: int, lanes: Any) -> None:
    stay_whole()
    for r in range(h):
        turned(y, j + r * w * yp, yp, x, i + (top + r) * W + left, xp, w, C, 0, lanes)


def turn(x: Any, i: int, xp: int, y: Any, j: int, yp: int, m: int, n: int) -> None:
    """y[j + b yp + a] = x[i + a xp + b] for 0 <= a < m and 0 <= b < n."""
    turned(x, i, xp, y, j, yp, m, n, AHEAD // x.itemsize, simd.block(x.itemsize).lanes)


def enter(
    x: Any, i: int, xp: int, y: Any, j: int, yp: int, C: int, H: int, W: int, top: int, left: int, h: int, w: int,
) -> None:  # fmt: skip
    """Image to block.  Elements C to yp of a pixel inside the image are left as they are."""
    size = simd.block(x.itemsize)
    entering(x, i, xp, y, j, yp, C, H, W, top, left, h, w, AHEAD // x.itemsize, size.lanes)


def leave(y: Any, j: int, yp: int, x: Any, i: int, xp: int, C: int, W: int, top: int, left: int, h: int, w: int) -> None:
    """Block to image, all of it inside."""
    leaving(y, j, yp, x, i, xp, C, W, top, left, h, w, simd.block(x.itemsize).lanes)
