"""2.5-D convolution as an indirect GEMM: every tap of every position takes one of L planes of weights, or none.

x, y, z flat, pixel by pixel   at, to (P,) where a position reads and writes   off, shift (T,)   gate (T, P) int8, -1 = nothing
y[to[p] + shift[t] + o] += sum_c w[gate[t, p], t, c, o] x[at[p] + off[t] + c]   for 0 <= c < C, 0 <= o < O
Weights lie in panels: see `pack`.  Per tap and plane the positions are listed, and M of them share what is loaded of w.
One sum per output, t and then c ascending: its bits depend on nothing else.   Imports: simd, gather.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from . import simd
from .gather import cross, drop, grade, lift, mix, note, pick
from .simd import least, most, put_more, sized, stay_whole, zeros

PANEL = 1 << 14
"""Bytes of a panel of weights: half of a first-level cache, beside the rows of x and y that pass by."""

TOGETHER = 64
"""Positions whose outer products are summed in registers."""

HEIGHT = {4: {1: 8, 2: 8, 3: 8, 4: 6}, 2: {1: 8, 2: 6}}
"""M for each N: as many accumulators as leave room for N vectors and a factor, and addresses for 16 registers."""


class Panel(NamedTuple):
    """Outputs first to first + many * N * lanes, N vectors at a time; M x N accumulators."""

    first: int
    many: int
    cols: tuple[int, ...]
    rows: tuple[int, ...]


def panels(O: int, itemsize: int) -> tuple[Panel, ...]:
    """O outputs in panels of at most 4 vectors (2 where 16 vector registers exist), as even as can be."""
    size = simd.block(itemsize)
    return _panels(O, len(size.lanes), 4 if len(size.rows) == 4 else 2)


@cache
def _panels(O: int, lanes: int, wide: int) -> tuple[Panel, ...]:
    vectors = -(-O // lanes)
    pieces = -(-vectors // wide)
    low, wider = divmod(vectors, max(pieces, 1))
    found, first = [], 0
    for n, count in ((low + 1, wider), (low, pieces - wider)):
        if count:
            found.append(Panel(first, count, (0,) * n, (0,) * HEIGHT[wide][n]))
            first += count * n * lanes
    return tuple(found)


def pitch(O: int, itemsize: int) -> int:
    """O made a whole number of vectors: the least room for a row of y or z."""
    lanes = len(simd.block(itemsize).lanes)
    return -(-O // lanes) * lanes


def pack(w: Any) -> Any:
    """(L, T, C, O) to flat panels: for each plane and tap, and each panel of W outputs, (C, W); zeros past O."""
    L, T, C, O = w.shape
    flat = np.zeros((L, T, C * pitch(O, w.itemsize)), w.dtype)
    for start, stop, W in _strips(O, w.itemsize):
        flat[:, :, C * start : C * (start + W)].reshape(L, T, C, W)[..., : stop - start] = w[..., start:stop]
    return flat.reshape(-1)


def unpack(flat: Any, w: Any) -> None:
    """pack backwards, into w."""
    L, T, C, O = w.shape
    flat = flat.reshape(L, T, C * pitch(O, w.itemsize))
    for start, stop, W in _strips(O, w.itemsize):
        w[..., start:stop] = flat[:, :, C * start : C * (start + W)].reshape(L, T, C, W)[..., : stop - start]


def _strips(O: int, itemsize: int) -> list[tuple[int, int, int]]:
    lanes = len(simd.block(itemsize).lanes)
    found = []
    for first, many, cols, _ in panels(O, itemsize):
        W = len(cols) * lanes
        found += [(first + i * W, min(first + (i + 1) * W, O), W) for i in range(many)]
    return found


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def listed(gate: Any, g: int, l: int, P: int, who: Any, more: int) -> int:
    """who = the positions p with gate[g + p] = l; the last of them `more` times again, not counted."""
    n = 0
    for p in range(P):
        n = note(gate, g + p, l, p, who, n)
    if n:
        for i in range(n, n + more):
            who[i] = who[n - 1]
    return n


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def collect(
    x: Any, w: Any, y: Any, gate: Any, at: Any, off: Any, to: Any, shift: Any, who: Any,
    g0: int, gp: int, L: int, C: int, chunk: int, first: int, last: int, O: int, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """Outputs first to last, M positions times N vectors at a time, `chunk` channels of a panel while they are near."""
    stay_whole()
    M, W, T = len(rows), len(lanes) * len(cols), len(off)
    for t in range(T):
        for l in range(L):
            n = listed(gate, g0 + t * gp, l, len(at), who, M - 1)
            for c0 in range(0, C, chunk):
                c1 = least(c0 + chunk, C)
                for o in range(first, last, W):
                    panel = ((l * T + t) * O + o) * C
                    for r in range(0, n, M):
                        spots, goals = pick(at, who, r, rows), pick(to, who, r, rows)
                        acc = lift(y, goals, shift[t] + o, lanes, cols)
                        acc = mix(acc, x, spots, off[t] + c0, w, panel + c0 * W, c1 - c0)
                        drop(y, goals, shift[t] + o, acc)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def outer(
    x: Any, z: Any, gw: Any, gate: Any, at: Any, off: Any, to: Any, shift: Any, who: Any,
    g0: int, gp: int, L: int, C: int, chunk: int, first: int, last: int, O: int, lanes: Any, cols: Any, rows: Any,
) -> None:  # fmt: skip
    """Outputs first to last, M channels times N vectors at a time, summed over `chunk` positions.  Needs C >= M."""
    stay_whole()
    M, W, T = len(rows), len(lanes) * len(cols), len(off)
    for t in range(T):
        for l in range(L):
            n = listed(gate, g0 + t * gp, l, len(at), who, 0)
            for r0 in range(0, n, chunk):
                r1 = least(r0 + chunk, n)
                for o in range(first, last, W):
                    panel = ((l * T + t) * O + o) * C
                    for c0 in range(0, C, M):
                        c = least(c0, C - M)
                        acc = zeros(x, lanes, cols, rows)
                        acc = cross(acc, x, off[t] + c, at, z, shift[t] + o, to, who, r0, r1 - r0, rows)
                        put_more(gw, panel + c * W, W, acc, cols, c0 - c, 0)


def forward(
    x: Any, w: Any, y: Any, gate: Any, at: Any, off: Any, to: Any, shift: Any, g0: int, gp: int, L: int, C: int, O: int,
) -> None:  # fmt: skip
    """Adds to y; gate[g0 + t gp + p], w as `pack` gives it.  No two positions may share a place in y."""
    size = simd.block(x.itemsize)
    who, O = np.empty(len(at) + 16, np.int32), pitch(O, x.itemsize)
    for first, many, cols, rows in panels(O, x.itemsize):
        W = len(cols) * len(size.lanes)
        chunk = max(PANEL // (W * x.itemsize), 1)
        where = (g0, gp, L, C, chunk, first, first + many * W, O)
        sized(collect, size.lanes, cols, rows)(x, w, y, gate, at, off, to, shift, who, *where)


def weigh(
    x: Any, z: Any, gw: Any, gate: Any, at: Any, off: Any, to: Any, shift: Any, g0: int, gp: int, L: int, C: int, O: int,
) -> None:  # fmt: skip
    """gw[gate[t, p], t, c, o] += x[at[p] + off[t] + c] z[to[p] + shift[t] + o], summed over p; gw lies as `pack` lays w."""
    size = simd.block(x.itemsize)
    who, O = np.empty(len(at) + 16, np.int32), pitch(O, x.itemsize)
    for first, many, cols, rows in panels(O, x.itemsize):
        where = (g0, gp, L, C, TOGETHER, first, first + many * len(cols) * len(size.lanes), O)
        sized(outer, size.lanes, cols, rows[:C])(x, z, gw, gate, at, off, to, shift, who, *where)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True)
def graded(
    depth: Any, gate: Any, edge: Any, line: Any, level: Any, g0: int, gp: int, gw: int,
    top: int, bottom: int, left: int, right: int, H: int, W: int, down: Any, across: Any, missing: int, bins: Any, lanes: Any,
) -> None:  # fmt: skip
    """As planes, the edges at centre depth z being z level[m].   edge (L + 2, n), line (n,): room for one row of outputs."""
    stay_whole()
    L, B, n = len(lanes), len(bins), right - left
    sy, dy, by, ky = down
    sx, dx, bx, kx = across
    middle = left * sx - bx + (kx - 1) // 2 * dx
    for oy in range(top, bottom):
        y = oy * sy - by
        cy = y + (ky - 1) // 2 * dy
        for q in range(n):
            cx, centre = middle + q * sx, np.nan
            if 0 <= cy < H and 0 <= cx < W:
                z = np.float64(depth[cy * W + cx])
                if 0 < z < np.inf:
                    centre = z
            edge[(B + 1) * n + q] = centre
        for m in range(B + 1):
            for q in range(n):
                edge[m * n + q] = edge[(B + 1) * n + q] * level[m]
        for u in range(ky):
            row = y + u * dy
            for v in range(kx):
                g = g0 + (u * kx + v) * gp + (oy - top) * gw
                # Outputs a to b have this tap inside the image.
                x = left * sx - bx + v * dx
                a, b = least(most(-(x // sx), 0), n), most(least((W - 1 - x) // sx + 1, n), 0)
                if not 0 <= row < H:
                    b = a
                for q in range(a):
                    gate[g + q] = -1
                for q in range(most(a, b), n):
                    gate[g + q] = -1
                x += row * W
                if b <= a:
                    continue
                if sx > 1:
                    for q in range(a, b):
                        line[q] = depth[x + q * sx]
                source, x = (line, 0) if sx > 1 else (depth, x)
                if b - a < L:
                    grade(source, x + a, edge, a, n, bins, missing, gate, g + a, b - a, lanes)
                    continue
                for q0 in range(a, b, L):
                    q = least(q0, b - L)
                    grade(source, x + q, edge, q, n, bins, missing, gate, g + q, None, lanes)


def planes(
    depth: Any, gate: Any, g0: int, gp: int, gw: int, rows: tuple[int, int], cols: tuple[int, int], size: tuple[int, int],
    down: tuple[int, int, int, int], across: tuple[int, int, int, int], ratio: float, L: int, missing: int,
) -> None:  # fmt: skip
    """gate[g0 + t gp + (i - rows[0]) gw + j - cols[0]] of the outputs i in rows and j in cols, for all taps t.

    depth: one image of `size`, flat.  down, across: stride, dilation, padding before, and taps.  With z of the centre tap,
    (k - 1) // 2 along either axis, plane l takes the depths from z (1 + (l - L/2) ratio) to z (1 + (l + 1 - L/2) ratio), the
    latter left out.  `missing` where the centre or the tap has no depth that is finite and above 0; -1 outside the image.
    """
    n = cols[1] - cols[0]
    level = 1 + (np.arange(L + 1) - L / 2) * ratio
    depth = depth if depth.flags.writeable else depth.copy()  # of one type with the room for a row
    edge, line = np.empty((L + 2) * n), np.empty(n, depth.dtype)
    kernel = sized(graded, (0,) * L, simd.block(depth.itemsize).lanes)
    kernel(depth, gate, edge, line, level, g0, gp, gw, *rows, *cols, *size, down, across, missing)
