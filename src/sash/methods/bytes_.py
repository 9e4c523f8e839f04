"""Bytes as they are: sums of |x - w| or of (x - w)^2 of uint8 images and templates, on kernels that never leave integers.

    x (N, C, *S) uint8   tile (N, C, *T) uint8   w (O, C, *K) uint8   sums (O', N, *out) uint32   y (N, O, *out)
A float32 lane holds one sample, its bytes four: 10 times the speed of `direct` where the processor adds absolute
differences of bytes, 5 times elsewhere (one core with 64-byte registers).  Every block is copied, with room behind it for
what whole vectors read.  Squares are sum x^2 - 2 sum x w + sum w^2, modulo 2^32, which holds the result; sums of products take
signed weights, w - 128 (64 slices of 512² by 32²: 240 ms by transforms, then 90).  Scores are made of the same three
sums (`ops/exactly`).   Imports: arrays, kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, fill
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import GATED, ON_CPU, Cost
from sash.methods.phases import offsets
from sash.problem import REDUCTIONS, Box, Problem

if TYPE_CHECKING:
    from sash.kernels.cpu.bytes_ import Course

NAME = "bytes"
ONLY = "it sums differences and products of uint8, without a mask"
"""Why it refuses other types, in the same words for scores."""

LANES, WORD = 64, 4
"""Positions of a block of a row, and taps of a term: what is not a multiple takes as long as one (nearly)."""

ROWS = 4
"""A block reads at least this many times what one row of outputs does: with less, most of a tile is read again by the next."""

SUMS = 1 << 18
"""Bytes of sums that are made by one call, where that is more than one output's."""

LINE, WIDE = 64, 512
"""Rows of WIDE bytes and more begin an odd number of cache lines apart: the rows of a window share the sets of the cache
evenly (1920 bytes apart, 30 lines, they would use half: 6 % slower)."""


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if not problem.bytewise:
        return ONLY
    if problem.home == "cuda":
        return ON_CPU
    if problem.groups > 1 or any([a.dilation > 1 and a.size > 1 for a in problem.axes]):
        return "its windows are neither dilated nor grouped"
    power = REDUCTIONS.index(problem.reduce)
    if problem.taps * 255**power >= 1 << 32:
        return f"{problem.taps} differences of up to {255**power} do not fit 32 bits"
    if _squares(problem) and not _multiplies():
        return "the processor has no instruction for sums of products of bytes"
    return ""


def _squares(problem: Problem) -> bool:
    return problem.reduce == "squared"


@cache
def _multiplies() -> bool:
    """The processor multiplies bytes and adds them up, four at a time.  (Asked of kernels, where nothing else leads to them.)"""
    from sash.kernels.cpu.quads import available

    return available()


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    samples = max(machine.cache // 2, ROWS * problem.reads((*[1] * len(problem.axes), problem.out[-1])))
    tile = _tile(problem, samples)
    while _scratch(problem, tile) > limit and max(tile) > 1:
        samples //= 2
        tile = _tile(problem, samples)
    lines, n = problem.batch * prod(problem.out[:-1]), _dense(problem.axes[-1])
    size = problem.axes[-1].size
    count = problem.count(tile)
    work = {
        "bytes.terms": lines * (-(-n // LANES) * LANES) * problem.outputs * (problem.taps // size * -(-size // WORD) * WORD),
        "bytes.sample": count * problem.reads(tile) * (3 if _squares(problem) else 1),
        "bytes.result": lines * n * (problem.outputs + (2 if _squares(problem) else size % WORD > 0)),
        "bytes.block": count,
    }
    return Cost(work, _scratch(problem, tile), problem.outputs * (problem.taps // size * (size + WORD) + 4), tile)


def _tile(problem: Problem, samples: int) -> tuple[int, ...]:
    """Whole rows for as long as there is more than one."""
    return problem.tile(samples, length=1 << 40)


def _dense(axis: Axis) -> int:
    """Positions of a row that are computed: those between the outputs too."""
    return (axis.out - 1) * axis.stride + 1


def _scratch(problem: Problem, tile: tuple[int, ...]) -> int:
    last = problem.axes[-1]
    n = -(-((tile[-1] - 1) * last.stride + 1) // 128) * 128
    places = prod(tile[:-2]) * _whole_rows(tile[-2] if len(tile) > 2 else 1) * n
    reads = problem.reads(tile)
    width = (tile[-1] - 1) * last.stride + last.reach
    row = reads // (tile[0] * problem.inputs)
    # The tile twice (as it is filled, where a boundary is, and at its pitch), one row of each block more, sums and totals, tables.
    laid = reads // width * _pitch(width) + 2 * row
    copies = reads + laid * (3 if _squares(problem) else 1)  # of squares two bytes each
    return copies + 4 * places * (_together(problem.outputs, places) + 2) + problem.taps * 16 + prod(tile[:-1]) * 16 + (1 << 14)


def _pitch(width: int) -> int:
    return (-(-width // LINE) | 1) * LINE if width >= WIDE else width


def _whole_rows(m: int) -> int:
    """Rows of outputs that are made to have m: blocks have up to four."""
    return -(-m // 4) * 4 if m > 1 else 1


def _together(outputs: int, places: int) -> int:
    """Outputs that one call makes."""
    return max(min(outputs, SUMS // (4 * max(places, 1))), 1)


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return problem.grid(cost.tile)


class Prepared(NamedTuple):
    """Templates as the kernel reads them, and what they add up to."""

    terms: Array
    """Flat (O, E, H, W): bytes, or words whose last bytes are 0; of squares words of signed bytes, 128 less."""
    total: Array
    """(O,) uint32: of squares the sum of theirs."""


def prepare(problem: Problem, weights: Weights, cost: Cost) -> Prepared:
    from sash.kernels.cpu.bytes_ import word

    size, step = problem.axes[-1].size, word()
    w = weights.dense.reshape(problem.outputs, -1, size)
    if _squares(problem):
        signed = np.zeros((*w.shape[:2], -(-size // WORD) * WORD), np.int8)
        signed[..., :size] = w.astype(np.int16) - 128
        return Prepared(signed.reshape(-1).view(np.int32), (w.astype(np.uint32) ** 2).sum((1, 2), dtype=np.uint32))
    terms = np.zeros((*w.shape[:2], -(-size // step) * step), np.uint8)
    terms[..., :size] = w
    return Prepared(terms.reshape(-1).view(np.uint32 if step == WORD else np.uint8), w.sum((1, 2), dtype=np.uint32))


def run(problem: Problem, x: Array, prepared: Prepared, y: Array, cval: float) -> None:
    from sash.kernels.cpu.bytes_ import sums, totals, word

    if _squares(problem):
        _square(problem, x, prepared, y, cval)
        return
    step, size = word(), problem.axes[-1].size
    t, room = _laid(problem, x, cval)
    # Of words: what the bytes behind the template's rows added.  Of bytes: all samples of each window.
    start, wide = (size, -size % WORD) if step == WORD else (0, size)
    total = np.zeros(t.places, np.uint32) if wide else None
    if total is not None:
        totals(room[start:], total, t.at, t.to, t.off, t.n, t.m, t.h, wide, t.xp, t.yp)
    many = _together(problem.outputs, t.places)
    for first in range(0, problem.outputs, many):
        count = min(many, problem.outputs - first)
        found = np.zeros((count, t.places), np.uint32)
        made, k = found.reshape(-1), -(-size // step)
        sums(room, prepared.terms, made, t.at, t.to, t.way, t.n, t.m, k, t.xp, t.yp, first, count, t.places, len(t.off) * t.h * k)
        if total is not None and step == WORD:
            found -= total
        elif total is not None:
            found *= 2
            np.subtract(total, found, out=found)
            found += prepared.total[first : first + count, None]
        _store(problem, t, found, first, y)


def _laid(problem: Problem, x: Array, cval: float) -> tuple[_Tables, Array]:
    """The sizes of a block, and its samples as kernels read them."""
    from sash.kernels.cpu.bytes_ import span, word

    t = _tables(problem.axes, problem.batch, problem.inputs, word(), span())
    room = np.empty(t.room, np.uint8)
    tile = room[: prod(t.tile)].reshape(t.tile)
    tile[..., : t.width] = fill(x, problem.axes, "uint8", cval)
    return t, room


def _square(problem: Problem, x: Array, prepared: Prepared, y: Array, cval: float) -> None:
    """`run` of squares."""
    t, once, twice, products = moments(problem, x, prepared, cval)
    once <<= 7
    for o, made in enumerate(products):
        found = made.view(np.uint32)
        found += once
        found <<= 1
        np.subtract(twice, found, out=found)
        found += prepared.total[o]
        _store(problem, t, found[None], o, y)


def moments(problem: Problem, x: Array, prepared: Prepared, cval: float) -> tuple[_Tables, Array, Array, Iterator[Array]]:
    """For every window of a problem of squares: sum x and sum x^2, uint32, and of each output sum x (w - 128), one by one:
    int32, modulo 2^32."""
    from sash.kernels.cpu.bytes_ import totals
    from sash.kernels.cpu.quads import products

    k, size = -(-problem.axes[-1].size // WORD), problem.axes[-1].size
    t, room = _laid(problem, x, cval)
    squares = np.multiply(room, room, dtype=np.uint16)
    once, twice = np.zeros(t.places, np.uint32), np.zeros(t.places, np.uint32)
    for total, samples in ((once, room), (twice, squares)):
        totals(samples, total, t.at, t.to, t.off, t.n, t.m, t.h, size, t.xp, t.yp)
    taps = len(t.off) * t.h * k

    def each() -> Iterator[Array]:
        for o in range(problem.outputs):
            made = np.empty(t.places, np.int32)
            products(room, prepared.terms, made, t.at, t.to, t.off, o * taps, t.n, t.m, t.h, k, t.xp, t.yp)
            yield made

    return t, once, twice, each()


def _store(problem: Problem, t: _Tables, found: Array, first: int, y: Array) -> None:
    """Sums (count, places) of outputs from `first` on, as y's numbers."""
    if problem.taps * 255 ** REDUCTIONS.index(problem.reduce) < 1 << 31:
        found = found.view(np.int32)  # becomes float in vectors everywhere; uint32 only with AVX-512
    store(problem, t, found, first, y)


def store(problem: Problem, t: _Tables, found: Array, first: int, y: Array) -> None:
    """What was found of every place (count, places), for outputs from `first` on, where y has it."""
    count = len(found)
    kept = found.reshape(count, *t.sums)[..., : t.m, : t.n : problem.axes[-1].stride]
    np.copyto(np.moveaxis(y, 1, 0)[first : first + count], kept.reshape(count, *y.shape[:1], *y.shape[2:]), casting="unsafe")


class _Tables(NamedTuple):
    """Sizes and offsets for the kernels (see kernels/cpu/bytes_.py for the letters)."""

    at: Array
    to: Array
    off: Array
    n: int
    m: int
    h: int
    xp: int
    yp: int
    tile: tuple[int, ...]
    """Shape of the tile, the last axis at its pitch."""
    width: int
    room: int
    """Bytes that are read, or at least lie there."""
    sums: tuple[int, ...]
    """Shape of one output's sums, the last two axes in whole blocks."""
    places: int
    way: Course


@lru_cache(maxsize=64)
def _tables(axes: tuple[Axis, ...], batch: int, inputs: int, step: int, span: int) -> _Tables:
    extents = [a.stop - a.start for a in axes]
    width = extents[-1]
    pitch = _pitch(width)
    tile = (batch, inputs, *extents[:-1], pitch)
    pitches = [prod(tile[i + 1 :]) for i in range(len(tile))]
    # (outputs, samples from one to the next, taps, samples from one to the next) of the batch and all axes but the last
    dims = [(batch, pitches[0], 1, 0)] + [(a.out, a.stride * p, a.size, p) for a, p in zip(axes[:-1], pitches[2:], strict=False)]
    *lead, (m, xp, h, every) = dims
    taps = [(inputs, pitches[1])] + [(size, p) for _, _, size, p in lead]
    if every != xp and h > 1:  # rows of outputs share no row of samples in order: their taps are listed too
        taps, h = [*taps, (h, every)], 1
    n = _dense(axes[-1])
    from sash.kernels.cpu.bytes_ import course

    yp, rows = -(-n // span) * span, _whole_rows(m)
    sums = (*[d[0] for d in lead], rows, yp)
    at, off = offsets([(d[0], d[1]) for d in lead]), offsets(taps)
    to = np.arange(len(at)) * (rows * yp)
    farthest = int(at[-1] + off[-1]) + (rows + h - 2) * xp + yp + axes[-1].size + 128
    way = course(off, m, h, -(-axes[-1].size // step), xp)
    return _Tables(at, to, off, n, m, h, xp, yp, tile, width, max(farthest, prod(tile)), sums, prod(sums), way)
