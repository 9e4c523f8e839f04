"""Matrix products over pixels that are only pointed at: what `indirect` and `gated` share.

    x (C, *S)   block (pixels, C)   w (L, T, C/G, O/G) of each group   sums (positions, G, step), O/G <= step   y (O, *out)
The channels of a pixel are neighbours; every position is a row of a matrix that nobody lays out.  Long sums are made of
pieces (see `accuracy.CHUNK`), each in a buffer of its own.   Imports: kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays import family
from sash.arrays.numpy_ import Array, flat, give, lies_well
from sash.axis import Axis
from sash.problem import Problem


class Piece(NamedTuple):
    """Terms that are summed in one go: `taps` from `tap` on, `channels` from `channel` on; the panels of each group."""

    tap: int
    taps: int
    channel: int
    channels: int
    panels: tuple[Array, ...]


def pieces(taps: int, channels: int, elementwise: bool) -> list[tuple[int, int, int, int]]:
    """(tap, taps, channel, channels) of each piece."""
    most = CHUNK[elementwise]
    step, deep = max(most // channels, 1), min(most, channels)
    return [(t, min(step, taps - t), c, min(deep, channels - c)) for t in range(0, taps, step) for c in range(0, channels, deep)]


def buffers(taps: int, channels: int, elementwise: bool) -> int:
    """Arrays of sums that are held at once, `sum_up`'s own among them."""
    return 1 if len(pieces(taps, channels, elementwise)) == 1 else 7 if elementwise else 2


def pack(w: Sequence[Array], elementwise: bool) -> tuple[Piece, ...]:
    """The weights (L, T, C/G, O/G) of each group as the kernels want them."""
    from sash.kernels.cpu.gated import pack as panels

    _, taps, channels, _ = w[0].shape
    cuts = pieces(taps, channels, elementwise)
    return tuple([Piece(t, n, c, m, tuple([panels(part[:, t : t + n, c : c + m]) for part in w])) for t, n, c, m in cuts])


def pitch(problem: Problem) -> int:
    """Elements that the sums of one position take."""
    from sash.kernels.cpu.gated import pitch

    return problem.groups * pitch(problem.outputs // problem.groups, problem.itemsize)


class Places(NamedTuple):
    """Where positions read and write, and where taps lie, in elements."""

    at: Array
    off: Array
    to: Array
    still: Array
    pitch: int
    """Of the sums of one position: G times step."""


@lru_cache(maxsize=256)
def places(axes: tuple[Axis, ...], steps: tuple[int, ...], pitch: int, merged: bool = False) -> Places:
    """Those of pixels `steps` apart; `merged`: the taps of the last axis count as channels of one."""
    at, off = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for i, (a, step) in enumerate(zip(axes, steps, strict=True)):
        at = np.add.outer(at, np.arange(a.out) * (a.stride * step)).reshape(-1)
        if i + 1 < len(axes) or not merged:
            off = np.add.outer(off, np.arange(a.size) * (a.dilation * step)).reshape(-1)
    return Places(at, off, np.arange(len(at)) * pitch, np.zeros(len(off), np.int64), pitch)


def multiply(problem: Problem, block: Array, packed: tuple[Piece, ...], gate: Array, t: Places) -> Array:
    """The sums of all positions, flat.   gate (T, positions)"""
    from sash.kernels.cpu.gated import forward

    groups, each, made = problem.groups, problem.inputs // problem.groups, problem.outputs // problem.groups
    step, count = t.pitch // groups, len(t.to)

    def one(piece: Piece) -> Array:
        first, last = piece.tap, piece.tap + piece.taps
        sums = np.zeros(count * t.pitch, problem.dtype)
        for g in range(groups):
            forward(
                block[g * each + piece.channel :], piece.panels[g], sums[g * step :], gate, t.at, t.off[first:last], t.to,
                t.still[first:last], first * count, count, max(problem.planes, 1), piece.channels, made,
            )  # fmt: skip
        return sums

    return sum_up(map(one, packed), problem.elementwise)


def sum_up(sums: Iterator[Array], exactly: bool) -> Array:
    """The sum of pieces (at least one); `exactly`: as if no addition rounded, until the last."""
    total = next(sums)
    f, rest = family(total), None
    for piece in sums:
        if exactly:
            rest = f.zeros(total.shape, total) if rest is None else rest
            f.add_exactly(total, piece, rest)
        else:
            total += piece
    if rest is not None:
        total += rest
    return total


def ready(x: Array, dtype: str) -> Array:
    """x as the kernels read it: of the type computed in, each row and plane without gaps, writable (they are compiled for that)."""
    if x.dtype == dtype and x.flags.writeable and lies_well(x.shape, x.strides, x.itemsize, max(x.ndim - 2, 2)):
        return x
    return np.array(x, dtype, order="C")


@lru_cache(maxsize=256)
def spans(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """Positions of each axis from the first that a window reads to the last."""
    return tuple([(a.out - 1) * a.stride + a.reach for a in axes])


def enter(x: Array, start: Sequence[int], spans: Sequence[int], block: Array, pitch: int) -> None:
    """The positions start to start + spans of x (C, *S), which is `ready`, pixel by pixel, `pitch` apart; zeros outside."""
    from sash.kernels.cpu.layout import enter

    shape, strides = x.shape[1:], [s // x.itemsize for s in x.strides]
    if len(shape) == 1:
        shape, start, spans = (1, *shape), (0, *start), (1, *spans)
    size, source = spans[-2] * spans[-1] * pitch, flat(x)
    for number, place in enumerate(product(*map(range, spans[:-2]))):
        at, to = [p + a for p, a in zip(place, start, strict=False)], number * size
        if not all([0 <= p < n for p, n in zip(at, shape, strict=False)]):
            block[to : to + size] = 0
            continue
        i = sum([p * s for p, s in zip(at, strides[1:], strict=False)])
        enter(source, i, strides[0], block, to, pitch, x.shape[0], *shape[-2:], *start[-2:], *spans[-2:])


def leave(sums: Array, groups: int, pitch: int, y: Array) -> None:
    """Sums, `pitch` elements each, to y (O, *out)."""
    from sash.kernels.cpu.layout import leave

    inside = y.dtype == sums.dtype and lies_well(y.shape, y.strides, y.itemsize, y.ndim - 1)
    target = y if inside else np.empty(y.shape, sums.dtype)
    made, height, width = y.shape[0] // groups, (y.shape[-2] if y.ndim > 2 else 1), y.shape[-1]
    goal, strides = flat(target), [s // target.itemsize for s in target.strides]
    row = strides[-2] if y.ndim > 2 else width
    for number, place in enumerate(product(*map(range, y.shape[1:-2]))):
        at = sum([p * s for p, s in zip(place, strides[1:], strict=False)])
        for g in range(groups):
            first = number * height * width * pitch + g * (pitch // groups)
            leave(sums, first, pitch, goal, at + g * made * strides[0], strides[0], made, row, 0, 0, height, width)
    if target is not y:
        give(target, y)
