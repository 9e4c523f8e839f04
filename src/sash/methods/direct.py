"""Direct sums: every output from its own taps, on SIMD kernels that read rows in place.

    x (N, C, *S)   w (O, C/G, *K)   y (N, O, *out)
Blocks inside the array are read where they lie; only blocks that touch a boundary are copied, a block each, through
`Axis.runs`.  Rank, channels, stride and dilation become tables of offsets, so one kernel serves them all.
Imports: arrays, kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.accuracy import CHUNK, EXACT_BITS
from sash.arrays import family
from sash.arrays.numpy_ import Array, add_exactly, cut, fill, flat, give, lies_well, packed, readable, storable
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import GATED, ON_CPU, Cost
from sash.methods.offsets import Tables, offsets, row_axis, tables
from sash.problem import REDUCTIONS, Box, Problem

NAME = "direct"
STRIP = 32
"""Blocks at the two ends of a row are at least this long: shorter ones waste the SIMD lanes."""

WORK, PIECES = 1 << 24, 32
"""Blocks that read in place have at least this many terms (half a millisecond; with a quarter of that, 2048² by 5² took
8 % longer), and there are at most so many."""

_ONES = {np.dtype(name).char: np.ones(1, name) for name in EXACT_BITS}

AHEAD = 4
"""A block that is copied reads at least this many times what one row of outputs does: with less, most of it is copied
again for the next (480 x 640 x 3 by 24 x 24: 2.5 copies of the image, then 1.35)."""

MASKED = 2
"""How many times longer vectors take of which only the first lanes are read."""

COUPLED = REDUCTIONS.index("absolute") + 2
"""Absolute differences that all weigh 1."""

SHUFFLED = (2, 3, 4)
"""Strides whose rows are dealt out by shuffles."""

MOST = 1 << 25
"""Bytes of a strided block at most, read or not."""

SMALL = 1 << 14
"""Problems that read and make fewer numbers than this are one block ..."""

LIGHT, FEW = 1 << 19, 1 << 22
"""... and of fewer terms than FEW those below LIGHT: a copy of x takes less time than blocks along its ends (300² by 3²
with padding: 440 us, then 120; 500²: 440, then 230)."""


def refuses(problem: Problem) -> str:
    if problem.home == "cuda":
        return ON_CPU
    return GATED if problem.planes else ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    item = problem.itemsize
    # A strided block is dealt out once and read once: calls cost more than leaving the second-level cache, and what no
    # tap reads takes no room there.
    strided = problem.axes[row_axis(problem.axes)].stride > 1
    read = prod([len(_used(a)) / a.stride for a in problem.axes])
    room = min(machine.cache * 2 / read, max(MOST, machine.cache * 2)) if strided else machine.cache / 2
    if not strided and not problem.straight:
        room = max(room, AHEAD * problem.reads((*[1] * len(problem.axes), problem.out[-1])) * item)
    tile = problem.tile(max(int(min(room, limit / 2) / item), 1))
    filled = _filled(problem, tile, machine.side)
    if problem.reads(filled) * item <= limit / 2:
        tile = filled
    whole = tuple([p for _, p in problem.whole])
    if _light(problem) and problem.reads(whole) * item <= limit / 2:
        tile = whole
    alone, last = _alone(problem, tile), row_axis(problem.axes)
    inner, edges = problem.frame(STRIP) if _in_place(problem) and not alone else (None, [problem.whole])
    cut = inner is None and not alone  # into tiles, which read some samples more than once
    work: dict[str, float] = {"copy.sample": 0, "split.sample": 0}
    for box in edges if inner is None else (inner, *edges):
        block = tile if cut else tuple([p - o for o, p in box])
        count = problem.count(tile) if cut else 1
        for kind, made in _made(problem, block, last, machine).items():
            name, stored = f"direct.{kind}.{problem.reduce}.{problem.dtype}", f"result.{_stored(problem)}"
            work[name] = work.get(name, 0) + count * made * problem.taps
            work[stored] = work.get(stored, 0) + count * made
        if box is not inner and not (problem.straight and all([a.plain for a in problem.axes])):
            work["copy.sample"] += count * problem.reads(block)
        if problem.axes[last].stride > 1:
            read = count * problem.reads(block) * prod([len(_used(a)) / a.stride for a in problem.axes[:last]])
            work["split.sample"] += read * _apart(problem.axes[last])
            if problem.samples * item > 2 * machine.cache:  # dealing it out waits for memory
                work["far.sample"] = work.get("far.sample", 0) + read * item / 4
    if problem.outputs > 1 and problem.results * item > 2 * machine.cache:  # as many streams as outputs are written
        work["far.sample"] = work.get("far.sample", 0) + problem.results * item / 4
    work["direct.block"] = blocks = len(boxes_of(problem, tile)) if problem.count(tile) < 4096 else problem.count(tile)
    work["split.call"] = blocks * problem.axes[last].stride if problem.axes[last].stride > 1 else 0
    rows = prod(tile[: last + 1]) * 16
    scratch = problem.reads(tile) * item * (2 if problem.axes[last].stride > 1 else 1) + rows + problem.taps * 24
    if not storable(problem.dtype, np.dtype(problem.result), problem.bits > 0):
        scratch += prod(tile) * problem.outputs * item
    return Cost(work, scratch, problem.taps * problem.outputs * item * 2, tile)


def _made(problem: Problem, counts: tuple[int, ...], last: int, machine: Machine) -> dict[str, int]:
    """The kernels that make a block of the output, and how many results that is as good as: vectors are filled or not.

    rows: blocks of rows that share what they load; taps: blocks along a row; apart: what is left of some rows at a time.
    """
    behind = prod(counts[last + 2 :])
    row, lines = counts[last + 1] * behind, prod(counts[: last + 1]) * problem.outputs
    lanes, side = machine.vector // problem.itemsize, machine.side
    shared = problem.dtype != "int64" and _shares_rows(problem.axes) and counts[last + 1] >= STRIP
    if shared and counts[last] >= side and row >= side * lanes and problem.axes[last - 1].size >= side - 1:
        return {"rows": lines // counts[last] * _whole(counts[last], side) * _whole(row, side * lanes)}
    left = row % (side * lanes)
    masked = MASKED if row < lanes else 1
    return {"taps": lines * (row - left), "apart": masked * _whole(lines, side) * _whole(left, lanes)}


def _apart(axis: Axis) -> float:
    """What dealing out a sample costs beside doing it by shuffles; phases that no tap reads are left out otherwise."""
    return 1.0 if axis.stride in SHUFFLED else 3.0 * len(_used(axis)) / axis.stride


def _stored(problem: Problem) -> str:
    """The type whose results take as long to write."""
    return "float64" if problem.dtype == "float32" and np.dtype(problem.result).itemsize == 8 else problem.dtype


def _whole(n: int, of: int) -> int:
    """n, filled up to a multiple."""
    return -(-n // of) * of


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return boxes_of(problem, cost.tile)


@lru_cache(maxsize=512)
def boxes_of(problem: Problem, tile: tuple[int, ...]) -> list[Box]:
    """Blocks that read in place, and blocks along the boundary."""
    if _alone(problem, tile):
        return [problem.whole] if problem.results else []
    if not _in_place(problem):
        return problem.grid(tile)
    inner, edges = problem.frame(STRIP)
    if inner is None:
        return problem.grid(tile)
    pieces = min(max(problem.results * problem.taps // WORK, 1), PIECES)
    found = problem.grid(_slabs(inner, pieces), inner)
    samples = problem.reads(tile)
    return found + [box for edge in edges for box in problem.grid(problem.tile(samples, edge), edge)]


def _light(problem: Problem) -> bool:
    size = problem.samples + problem.results
    return size < SMALL or (size < LIGHT and problem.results * problem.taps < FEW)


def _alone(problem: Problem, tile: tuple[int, ...]) -> bool:
    """One block is all: a copy of what it reads fits the memory and takes less time than more blocks."""
    size = problem.samples + problem.results
    return size < SMALL or (_light(problem) and problem.count(tile) <= 1)


def _filled(problem: Problem, tile: tuple[int, ...], side: int) -> tuple[int, ...]:
    """The tile, with as many rows as blocks of rows fill: 15 rows take as long as 16."""
    last = row_axis(problem.axes)
    if not _shares_rows(problem.axes) or tile[last] < side:
        return tile
    return (*tile[:last], min(_whole(tile[last], side), problem.out[last - 1]), *tile[last + 1 :])


def _slabs(box: Box, pieces: int) -> tuple[int, ...]:
    """The block's shape, cut along its first axes into about this many pieces; the last axis stays whole."""
    slab = [p - o for o, p in box]
    for i in range(max(len(slab) - 1, 1)):
        cut = min(pieces, slab[i])
        slab[i] = -(-slab[i] // cut)
        pieces = -(-pieces // cut)
    return tuple(slab)


def _in_place(problem: Problem) -> bool:
    return problem.straight and problem.axes[-1].stride == 1


def prepare(problem: Problem, weights: Weights, cost: Cost | None) -> tuple[Array, Array | None]:
    """(w, v), each (O, taps) and contiguous; v weighs the differences, None where all weigh 1."""
    key = (NAME, problem.dtype)
    found: tuple[Array, Array | None] | None = weights.kept.get(key)
    if found is None:
        f = family(weights.dense)
        mask = None if weights.mask is None else _rows(f.cast(weights.mask, problem.dtype), problem.outputs)
        found = weights.kept[key] = _rows(f.cast(weights.dense, problem.dtype), problem.outputs), mask
    return found


def _rows(w: Array, outputs: int) -> Array:
    w = w.reshape(outputs, -1)
    return np.ascontiguousarray(w) if isinstance(w, np.ndarray) else w


def run(problem: Problem, x: Array, prepared: tuple[Array, Array | None], y: Array, cval: float) -> None:
    if all([a.plain for a in problem.axes]) and readable(x.dtype, problem.dtype) and x.flags.aligned:
        tile = cut(x, [slice(a.start, a.stop) for a in problem.axes])
    else:
        tile = fill(x, problem.axes, problem.dtype, cval)
    slide(problem, tile, *prepared, y)


def slide(problem: Problem, tile: Array, w: Array, v: Array | None, y: Array) -> None:
    """Write y from a tile that already holds the extension of x; only sizes, strides and dilations are read."""
    chunk = CHUNK[problem.elementwise] if w.shape[1] > CHUNK[problem.elementwise] and w.dtype != np.int64 else 0
    fits = not chunk and (y.dtype == w.dtype or storable(problem.dtype, y.dtype, problem.bits > 0))
    shares = w.dtype != np.int64 and not chunk
    kept = (y.strides, y.itemsize) if fits else (None, w.itemsize)
    how = _how(problem.axes, problem.groups, shares, tile.itemsize, tile.shape, tile.strides, y.shape, *kept)
    if how.copies:
        tile = np.ascontiguousarray(tile)
    target = y if how.in_place else np.empty(y.shape, w.dtype)
    if problem.axes[how.last].stride > 1:
        tile = _phases(tile, problem.axes, how.last, w.dtype)
    t = how.tables or tables(*how.geometry)
    op = REDUCTIONS.index(problem.reduce)
    if v is None:
        v, op = (_ONES[w.dtype.char], op + 2) if op else (w, op)
    source, goal = flat(tile), flat(target)
    from sash.kernels.cpu import couples
    from sash.kernels.cpu.rows import rows
    from sash.kernels.cpu.taps import taps

    if op == COUPLED and not chunk and _couples(problem) and couples.available():
        if t.m:
            couples.rows(source, w, goal, t.at, t.to, t.base, t.step, t.outer, t.xp, t.yp, t.m, t.n, t.h, t.k, t.d)
        else:
            couples.taps(source, w, goal, t.at, t.to, t.base, t.step, t.off, t.n, t.k)
    elif chunk:
        rest, piece = np.zeros_like(goal), np.empty_like(goal)
        for i in range(0, w.shape[1], chunk):
            wi, off = (np.ascontiguousarray(a[..., i : i + chunk]) for a in (w, t.off))
            vi = v if v.size == 1 else np.ascontiguousarray(v[:, i : i + chunk])
            taps(source, wi, vi, piece if i else goal, t.at, t.to, t.base, t.step, off, t.n, 0, op)
            if i:
                add_exactly(goal, piece, rest)
        goal += rest
    elif t.m:
        rows(source, w, v, goal, t.at, t.to, t.base, t.step, t.outer, t.xp, t.yp, t.m, t.n, t.h, t.k, t.d, 0, op)
    else:
        taps(source, w, v, goal, t.at, t.to, t.base, t.step, t.off, t.n, 0, op)
    if target is not y:
        give(target, y)


class _How(NamedTuple):
    """What `slide` does with arrays of these shapes and strides."""

    copies: bool
    """The tile must be made contiguous first."""
    in_place: bool
    """The kernels can write y itself."""
    last: int
    geometry: tuple[Any, ...]
    tables: Tables | None
    """Kept where they are small."""


@lru_cache(maxsize=512)
def _how(
    axes: tuple[Axis, ...],
    groups: int,
    shares: bool,
    item: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    out: tuple[int, ...],
    goal: tuple[int, ...] | None,
    stored: int,
) -> _How:
    last = row_axis(axes)
    copies = not lies_well(shape, strides, item, last + 2)
    if axes[last].stride > 1:
        s, at = axes[last].stride, last + 2
        shape = (*shape[:at], s, -(-shape[at] // s), *shape[at + 1 :])
        strides = packed(shape, item)
    elif copies:
        strides = packed(shape, item)
    in_place = goal is not None and lies_well(out, goal, stored, last + 2)
    ys = tuple([s // stored for s in goal]) if goal is not None and in_place else packed(out, 1)
    share = shares and _shares_rows(axes) and out[last + 2] >= STRIP
    geometry = (axes, groups, share, shape, tuple([s // item for s in strides]), out, ys)
    small = prod(out[: last + 2 - share]) <= 8192
    return _How(copies, in_place, last, geometry, tables(*geometry) if small else None)


def _shares_rows(axes: tuple[Axis, ...]) -> bool:
    """The last two axes slide by one and are not dilated across rows: neighbouring rows read the same samples."""
    last = row_axis(axes)
    return axes[last].stride == 1 and last > 0 and axes[last - 1].stride == axes[last - 1].dilation == 1 and axes[last - 1].size > 1


def _couples(problem: Problem) -> bool:
    """Absolute differences go by pairs of taps: whatever the block, so that its size does not change the bits.

    Not where the stronger promise holds: x0 + x1 is rounded before w0 + w1 is taken away.
    """
    last = row_axis(problem.axes)
    floats = problem.dtype != "int64" and not problem.elementwise
    return floats and _shares_rows(problem.axes) and problem.axes[last - 1].size > 2 and problem.axes[last].size > 1


def _used(axis: Axis) -> list[int]:
    """The phases that some tap reads."""
    return sorted({t * axis.dilation % axis.stride for t in range(min(axis.size, axis.stride))})


def _rows_read(axes: Sequence[Axis]) -> list[tuple[slice, ...]]:
    """Which positions of leading axes some tap reads: all, or of each that its window skips samples on, phase by phase."""
    phases = [_used(a) for a in axes]
    each = [
        [slice(None)] if len(found) == a.stride else [slice(p, None, a.stride) for p in found]
        for a, found in zip(axes, phases, strict=True)
    ]
    return list(product([slice(None)], [slice(None)], *each))


def _phases(tile: Array, axes: tuple[Axis, ...], last: int, kind: Any) -> Array:
    """(..., T, *c) to (..., stride, ceil(T/stride), *c), as `kind`: samples that one tap reads become neighbours.

    What no tap reads is left out.
    """
    axis = axes[last]
    s, at = axis.stride, last + 2
    leads = _rows_read(axes[:last])
    n, length = tile.shape[at], -(-tile.shape[at] // s)
    phases = np.empty((*tile.shape[:at], s, length, *tile.shape[at + 1 :]), kind)
    if s in SHUFFLED and kind != np.int64 and prod(tile.shape[at + 1 :]) == 1 and tile.strides[at] == tile.itemsize:
        from sash.kernels.cpu.split import split

        rows = offsets([(m, step // tile.itemsize) for m, step in zip(tile.shape[:at], tile.strides[:at], strict=True)])
        to = np.arange(len(rows))
        if len(leads) > 1 or leads[0] != (slice(None),) * at:
            to = np.concatenate([to.reshape(tile.shape[:at])[lead].reshape(-1) for lead in leads])
            rows = rows[to]
        split(flat(tile), phases.reshape(-1), rows, to * (s * length), n, s, length)
        return phases
    for lead, p in product(leads, _used(axis)):
        phase = tile[(*lead, slice(p, None, s))]
        phases[(*lead, p, slice(0, phase.shape[at]))] = phase
    return phases
