"""The fused separable pass over a volume: z, y and x in one march that reads and writes every plane once.

x: plane z, row r at x0 + z xz + r xy, X samples of c interleaved values   y: likewise at y0 + i yz + j yy
kz (A,)   ky (B,)   kx (D,) taps in correlation order   zmap (Zo + (A-1) dz,)   ymap (Yo + (B-1) dy,)
xmap (Xo + (D-1) dx,): which sample each extended position reads, -1 = cval; [xlo, xhi) reads xsrc, xsrc + 1, ...
Imports: simd, taps, rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import simd
from .rows import down
from .simd import stay_whole
from .taps import spread

BAND = 12  # rows filtered together, and the step to cut tasks by: a multiple of 3 and 4, the rows of a register block
GROUP = 12  # planes of output made at once from a full window


def _layout(A: int, B: int, dz: int, dy: int, extended: int, made: int, rows: int) -> tuple[int, int, int, int, int]:
    """Offsets in scratch, in elements: row pitch, start of the window, its plane pitch, start of the gathered rows, end."""
    pitch = -(-extended // 16) * 16 + 16  # never a multiple of 4096 bytes: such rows share one set of L1
    window = rows * pitch
    plane = -(-rows * made // 16) * 16 + 16
    gathered = window + (((A - 1) * dz + GROUP) * plane if A > 1 else 0)
    return pitch, window, plane, gathered, gathered + (rows + (B - 1) * dy) * pitch


def blur_scratch(A: int, B: int, D: int, dz: int, dy: int, dx: int, made: int, c: int, rows: int) -> int:
    """Elements of scratch that blur needs for `rows` output rows of `made` samples of c values."""
    return _layout(A, B, dz, dy, (made + (D - 1) * dx) * c, made * c, min(rows, BAND))[-1]


@njit(nogil=True, cache=True)  # type: ignore[misc]
def across(
    x: Any, k: Any, y: Any, start: int, to: int, line: Any, q0: int, d: int, yp: int, m: int, n: int, add: int,
    off: Any, at: Any, there: Any, zero: Any, cell: Any, op: Any, lanes: Any, cols: Any, rows: Any, wide: Any,
) -> None:  # fmt: skip
    """y[to + i yp + j] (+)= sum_u k[u] x[start + line[q0 + i + u d] + j]: rows d apart share what they load.

    off (h,), at, there (1,): room for what the kernels below take as arrays.
    """
    stay_whole()
    h, N = len(k), len(rows)
    at[0] = start
    for phase in range(min(d, m)):
        there[0] = to + phase * yp
        count = (m - phase + d - 1) // d
        if h > 1 and h >= N - 1 and count >= N and n >= len(lanes) * len(cols):
            down(
                x, k, k, y, at, there, zero, zero, zero, line, q0 + phase, d, d * yp, count, n, h, add,
                op, lanes, cols, rows,
            )  # fmt: skip
        else:
            for i in range(phase, m, d):
                for u in range(h):
                    off[u] = line[q0 + i + u * d]
                spread(x, k, k, y, at, there, zero, zero, off, n, add, cell, op, lanes, wide)
                there[0] += d * yp


@njit(nogil=True, cache=True)  # type: ignore[misc]
def march(
    x: Any, y: Any, kz: Any, ky: Any, kx: Any, zat: Any, yat: Any, xat: Any, edge: Any, x0: int, y0: int, yz: int,
    yy: int, m: int, c: int, dz: int, dy: int, along: Any, first: int, last: int, past: Any, add: int, scratch: Any,
    pitch: int, window: int, plane: int, gathered: int, apart: Any, gather: Any,
    order: Any, seat: Any, goal: Any, offz: Any, offy: Any, at: Any, there: Any, zero: Any, cell: Any,
    op: Any, lanes: Any, cols: Any, rows: Any, wide: Any,
) -> None:  # fmt: skip
    pass
