"""Weights that vary from place to place, in a GPU's terms: per tap and plane, rows are gathered, multiplied and put back.

    x (N, C, H, W)   w (L, O, C/G, h, w)   gate (N, h, w, OH, OW)   y, z (N, O, OH, OW)
No two outputs share a row for one tap, so nothing is added by two at once: the same bits every time.
Imports: pixels, arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from math import prod
from typing import Any

from sash.accuracy import CHUNK
from sash.arrays import family
from sash.arrays.weights import Weights
from sash.machine import Machine
from sash.methods.method import Cost
from sash.methods.pixels import buffers, pieces, sum_up
from sash.problem import Box, Problem

NAME = "gather"


def refuses(problem: Problem) -> str:
    if not problem.planes:
        return "weights are the same everywhere"
    if problem.home != "cuda":
        return "on the CPU the kernels of 'gated' read rows where they lie"
    if len(problem.axes) != 2 or any(a.boundary != "zero" for a in problem.axes):
        return "planes are chosen on two axes that are padded with zeros"
    return ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    places = prod(problem.out) * problem.axes[0].size * problem.axes[1].size
    frame = prod([a.stop - a.start for a in problem.axes])
    work = {
        f"gemm.{problem.dtype}": problem.results * problem.taps,
        "gemm.window": problem.batch * places * (problem.inputs + problem.outputs),
        "gather.block": problem.batch * problem.planes * problem.axes[0].size * problem.axes[1].size,
    }
    taps = problem.axes[0].size * problem.axes[1].size
    held = buffers(taps, problem.inputs // problem.groups, problem.elementwise)
    numbers = 2 * frame * problem.inputs + prod(problem.out) * (problem.inputs + (2 + held) * problem.outputs)
    scratch = (numbers + problem.planes * problem.taps * problem.outputs // problem.groups) * problem.itemsize
    return Cost(work, scratch, 0, (1, *problem.out))


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return [problem.whole]


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Weights:
    return weights


def run(problem: Problem, x: Any, prepared: Weights, y: Any, cval: float) -> None:
    f = family(x)
    for n, xs, ys, at in _groups(problem, x):
        w = f.cast(prepared.dense[:, ys], problem.dtype).permute(0, 3, 4, 2, 1).contiguous()
        pixels = _pixels(problem, f, x[n : n + 1, xs])
        total = _multiply(problem, f, pixels, w, prepared.gate[n], at, len(at), False)  # type: ignore[index]
        f.give(total.T.reshape(y[n, ys].shape), y[n, ys])


def backward_x(problem: Problem, weights: Weights, z: Any, x: Any) -> None:
    """Write x's side."""
    f = family(x)
    x[...] = 0
    extents = [a.stop - a.start for a in problem.axes]
    for n, xs, ys, at in _groups(problem, x):
        w = f.cast(weights.dense[:, ys], problem.dtype).permute(0, 3, 4, 1, 2).contiguous()
        rows = f.cast(z[n, ys], problem.dtype).reshape(-1, at.shape[0]).T
        found = _multiply(problem, f, rows, w, weights.gate[n], at, prod(extents), True)  # type: ignore[index]
        frame = found.T.reshape(-1, *extents)
        for i, a in enumerate(problem.axes, start=1):
            low, high = max(-a.start, 0), min(a.n - a.start, a.stop - a.start)
            frame = frame.narrow(i, low, max(high - low, 0))
        place = tuple([slice(max(a.start, 0), max(min(a.stop, a.n), max(a.start, 0))) for a in problem.axes])
        f.give(frame, x[(n, xs, *place)])


def _multiply(problem: Problem, f: Any, rows: Any, w: Any, gate: Any, at: Any, count: int, back: bool) -> Any:
    """(count, columns of w): for each tap and plane, rows (*, R) times w (L, h, w, R, columns), from pixels or back to them."""
    taps = list(_taps(problem))

    def piece(first: int, many: int, channel: int, channels: int) -> Any:
        wide = slice(channel, channel + channels)
        sums = f.zeros((count, w.shape[-1]), rows)
        for u, v, off in taps[first : first + many]:
            for level, here in _levels(problem, gate[u, v]):
                there = at[here] + off
                sums[there if back else here] += rows[here if back else there, wide] @ w[level, u, v, wide]
        return sums

    return sum_up(starmap(piece, pieces(len(taps), rows.shape[1], problem.elementwise)), problem.elementwise)


def backward_w(problem: Problem, x: Any, z: Any, gate: Any, w: Any) -> None:
    """Write w's side (L, O, C/G, h, w)."""
    f = family(x)
    w[...] = 0
    for n, xs, ys, at in _groups(problem, x):
        pixels = _pixels(problem, f, x[n : n + 1, xs])
        rows = f.cast(z[n, ys], problem.dtype).reshape(-1, at.shape[0]).T.contiguous()
        for u, v, off in _taps(problem):
            for level, here in _levels(problem, gate[n, u, v]):
                w[level, ys, :, u, v] += _outer(rows[here], pixels[at[here] + off], CHUNK[problem.elementwise])


def _outer(a: Any, b: Any, most: int) -> Any:
    """a (P, M) and b (P, C) to (M, C), summed over P in pieces of at most so many."""
    whole = len(a) // most * most
    parts = a[:whole].reshape(-1, most, a.shape[1]).swapaxes(1, 2) @ b[:whole].reshape(-1, most, b.shape[1])
    return parts.sum(0) + a[whole:].T @ b[whole:]


def _groups(problem: Problem, x: Any) -> Iterator[tuple[int, slice, slice, Any]]:
    """For each image and group its number, the group's channels of x and of y, and the pixel of the frame that each output stands on."""
    lib = family(x).lib
    y, c = problem.axes
    width = c.stop - c.start
    rows = lib.arange(y.out, device=x.device) * (y.stride * width)
    at = (rows[:, None] + lib.arange(c.out, device=x.device) * c.stride).reshape(-1)
    each, made = problem.inputs // problem.groups, problem.outputs // problem.groups
    for n in range(problem.batch):
        for g in range(problem.groups):
            yield n, slice(g * each, (g + 1) * each), slice(g * made, (g + 1) * made), at


def _pixels(problem: Problem, f: Any, x: Any) -> Any:
    """The frame of one image's channels, pixel by pixel: (pixels, C)."""
    tile = f.fill(x, problem.axes, problem.dtype, 0)
    return tile.reshape(tile.shape[1], -1).T.contiguous()


def _taps(problem: Problem) -> Iterator[tuple[int, int, int]]:
    y, c = problem.axes
    for u in range(y.size):
        for v in range(c.size):
            yield u, v, u * y.dilation * (c.stop - c.start) + v * c.dilation


def _levels(problem: Problem, gate: Any) -> Iterator[tuple[int, Any]]:
    """Each plane, and the outputs that read it."""
    flat = gate.reshape(-1)
    for level in range(problem.planes):
        yield level, (flat == level).nonzero().reshape(-1)
