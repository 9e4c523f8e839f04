"""Direct sums: every output from its own taps, on SIMD kernels that read rows in place.

    x (N, C, *S)   w (O, C/G, *K)   y (N, O, *out)
Blocks inside the array are read where they lie; only blocks that touch a boundary are copied, a block each, through
`Axis.runs`.  Where many channels share what is copied, blocks are bands, copied one by one, that caches hold.
Imports: arrays, borders, channels, offsets, phases.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, cut, fill, readable, storable
from sash.arrays.weights import Weights
from sash.machine import Machine, machine
from sash.methods import borders, channels
from sash.methods.method import GATED, ON_CPU, Cost
from sash.methods.offsets import STRIP, Kernel, banks, joins, last_axis, plain, shares_rows, shares_samples, slide
from sash.methods.phases import apart, used
from sash.problem import Box, Problem

NAME = "direct"
WORK, PIECES = 1 << 24, 32
"""Blocks that read in place have at least this many terms (half a millisecond; with a quarter of that, 2048² by 5² took
8 % longer), and there are at most so many."""

SHARE = 1 << 21
"""Terms of a block at least where there would be fewer than `EACH` for each core: 40 us, of which handing it over takes 5."""

LONG = 8
"""Shares of each core from which it has several blocks: the first to finish helps the other.  Of less work each has one: at the
end of a block a thread may wait for Python's lock (3 -> 16 channels of 224², stride 2: 120 us, then 99)."""

STORED, ALONE = 32, 8
"""Terms that a result counts as where outputs share samples, and where they do not; a sample more that is read in place too."""

EACH, CACHES = 2, 4
"""Blocks of each core, at least where there is so much work (see `LONG`); what a band reads takes so many caches (64 -> 64 channels of
112²: 2 rows at once 17.8 ms, 8 rows 13.4, all 11.5)."""

HEAVY, SPREAD, ALIKE = 1 << 17, 4, 8
"""Bytes of weights, and samples for each, where a core makes some of the outputs, not of the rows (1024 -> 256 channels of 14² by 1:
1.39 ms, then 0.95; 256 -> 256 of 28²: 1.00, then 0.81; 24 -> 144 of 56², which is beyond: 0.19, would be 0.36), a multiple of so many."""

FAR = 1.3
"""... and how many times as long its terms take, which read all samples (13 shapes of 7² to 28²: 1.1 to 1.7)."""

KEPT, PART, UNBOUND = 5000, 8, 4
"""Bytes that Python keeps for a bound block; where memory is limited, all blocks of a problem may take this part of it; and what one
takes that is not kept, of a bound one's time (4 blocks of 4 -> 2 channels of 23 x 65 by 2², stride 3: 186 us)."""

AHEAD = 4
"""A block that is copied reads at least this many times what one row of outputs does: with less, most of it is copied
again for the next (480 x 640 x 3 by 24 x 24: 2.5 copies of the image, then 1.35)."""

MANY = 8
"""Outputs that share what they load; two of them take nearly twice as long for a term (32 and 66 thousand million a second)."""

SIDE_BY_SIDE = 3
"""Vectors that are made together where eight outputs share what they load, on processors with many registers: of four, two turns."""

DEALT = 12
"""Tenths of the time that terms take of samples that were dealt out by phases: they lie on more lines of the cache."""

NARROW = 4
"""Outputs of a row at least that they do so for."""

ROW = 30
"""Samples that a row takes as long as to copy, beside its own, where rows are dealt out: rows of 5 and 10 took 20 ns each."""

MOST = 1 << 25
"""Bytes of a strided block at most, read or not."""

SMALL = 1 << 14
"""Problems that read and make fewer numbers than this are one block ..."""

BOUND = 1 << 14
"""Samples, and results, of a problem that is bound to its shapes are fewer: its tables take memory, and its loop the time; ..."""

SHARED, APART = 1 << 16, 1 << 17
"""... where tables are of rows, those of outputs that share samples, and those of transposed problems, whose classes are made
together (4 to 8 channels of 50²: 32 us, then 26; transposed with stride 2, of 24²: 77, then 18)."""

LIGHT, FEW = 1 << 19, 1 << 22
"""... and of fewer terms than FEW those below LIGHT: a copy of x takes less time than blocks along its ends (300² by 3²
with padding: 440 us, then 120; 500²: 440, then 230)."""


def refuses(problem: Problem) -> str:
    if problem.home == "cuda":
        return ON_CPU
    return GATED if problem.planes else ""


def cost(problem: Problem, machine: Machine, limit: float) -> Cost:
    if problem.woven or _joined(problem, (problem.batch, *problem.out), machine):  # results wait beside what is read
        limit = limit / (1 + 2 * problem.results / max(problem.samples, 1))
    item, source = problem.itemsize, _bytes(problem.source)
    # A strided block is dealt out once and read once: calls cost more than leaving the second-level cache, and what no
    # tap reads takes no room there.
    strided = problem.axes[last_axis(problem.axes)].stride > 1
    read = prod([len(used(a)) / a.stride for a in problem.axes])
    room = min(machine.cache * 2 / read, max(MOST, machine.cache * 2)) if strided else machine.cache / 2
    if not strided and not problem.straight:
        room = max(room, AHEAD * problem.reads((*[1] * len(problem.axes), problem.out[-1])) * item)
    tile = problem.tile(max(int(min(room, limit / 2) / item), 1))
    filled = _filled(problem, tile, machine.side)
    if problem.reads(filled) * item <= limit / 2:
        tile = filled
    whole = tuple([p for _, p in problem.whole])
    lies = channels.frameless(problem) and problem.straight and not problem.woven  # arrays that kernels reach as they lie
    if _banded(problem):
        most = min(machine.cache * CACHES, limit / 2) / item
        tile = _band(problem, float("inf") if lies and channels.tables_of(problem, whole) <= limit / 2 else most, machine.cores * EACH)
    if _light(problem) and problem.reads(whole) * item <= limit / 2 and _shares(problem, 2) == 1:
        tile = whole
    alone, last = _alone(problem, tile), last_axis(problem.axes)
    inner, edges = problem.frame(STRIP) if _in_place(problem) and not _banded(problem) and not alone else (None, [problem.whole])
    some = by_outputs(problem, machine.cores) if limit == float("inf") and problem.count(tile) > 1 else 0
    cut = inner is None and not alone and not some  # into tiles, which read some samples more than once
    times = machine.cores if some else 1  # that samples are copied
    once = problem.dtype != "int64" and borders.suits(problem.axes)  # copied and dealt out in one pass
    copied = "copy.near" if problem.samples * item <= machine.cache else "copy.sample"
    work: dict[str, float] = {copied: 0, "split.sample": 0}
    for box in edges if inner is None else (inner, *edges):
        block = tile if cut else tuple([p - o for o, p in box])
        count = problem.count(tile) if cut else 1
        for kind, made in _made(problem, block, last, machine).items():
            name, stored = (
                f"direct.{kind}.{problem.reduce}.{problem.dtype}",
                f"direct.{'rows' if kind == 'rows' else 'result'}.{_stored(problem)}",
            )
            work[name] = work.get(name, 0) + count * made * problem.taps * (FAR if some else 1)
            work[stored] = work.get(stored, 0) + count * made
        if lies:  # read once, while it is dealt out
            work[copied] += count * problem.reads(block) // 2
            continue
        if box is not inner and not (problem.straight and all([a.plain for a in problem.axes]) and not (strided and once)):
            work[copied] += times * count * problem.reads(block)
        if strided:
            row = (block[last + 1] - 1) * problem.axes[last].stride + problem.axes[last].reach
            work[copied] += times * count * problem.reads(block) / row * ROW
        if strided and not once:
            read = times * count * problem.reads(block) * prod([len(used(a)) / a.stride for a in problem.axes[:last]])
            work["split.sample"] += read * apart(problem.axes[last])
            if problem.samples * source > 2 * machine.cache:  # dealing it out waits for memory
                work["far.sample"] = work.get("far.sample", 0) + read * source / 4
    if problem.outputs > problem.groups and problem.results * item > 2 * machine.cache:  # as many streams as outputs are written
        work["far.sample"] = work.get("far.sample", 0) + problem.results * item / 16
    blocks = machine.cores if some else len(boxes_of(problem, tile)) if problem.count(tile) < 4096 else problem.count(tile)
    if blocks == 1 and binds(problem):
        work["direct.bound"] = 1
    else:
        work["direct.block"] = blocks * (UNBOUND if blocks > max(kept_blocks(limit * machine.cores), 1) else 1)
        work["split.call"] = blocks * problem.axes[last].stride if strided and not once else 0
    if shares_samples(problem):  # weights are laid out, those of sums in pieces once more for each block, and each block reads all
        weights = problem.taps * problem.outputs
        once_more = not one_pass(problem) and (limit < float("inf") or not in_pieces(problem))
        work[copied] += weights * (min(machine.cores, blocks) + (blocks if once_more else 0))  # by one thread, before there are others
        if weights * item > machine.cache:
            work["far.sample"] = work.get("far.sample", 0) + blocks * weights * item / 4
    part, outputs = (whole, some) if some else (tile, problem.outputs)  # by one thread at a time
    rows = prod(part[: last + 1]) * 16
    held = problem.reads(part) * item * (2 if problem.axes[last].stride > 1 else 1)
    scratch = (channels.tables_of(problem, part) if lies else held) + rows + problem.taps * 24
    if joined := _joined(problem, part, machine):
        scratch += prod(part[:-2]) * outputs * (joined + part[-1] + problem.axes[-1].reach) * item
    if _long(problem):  # totals, pieces and what was lost
        scratch += 3 * prod(part) * outputs * item
    if problem.woven or not storable(problem.dtype, np.dtype(problem.result), problem.bits > 0):
        scratch += prod(part) * outputs * item
    # Sums of what registers hold wait for nobody: each of two threads made 48 of the 50 thousand million terms a second of one.
    busy = work.get(f"direct.bank.product.{problem.dtype}", 0) * machine.rates.get(f"direct.bank.product.{problem.dtype}", 0)
    waits = 1 + (min(machine.cores, blocks) - 1) * machine.rates["crew"] if busy > machine.seconds(work) / 2 else 1.0
    return Cost(work, scratch, problem.taps * problem.outputs * item * 2, tile, crowded=1 / waits, blocks=blocks)


def _bytes(source: str) -> int:
    """Of a sample as it lies; bfloat16 is widened before."""
    return 4 if source == "bfloat16" else np.dtype(source).itemsize


def _made(problem: Problem, counts: tuple[int, ...], last: int, machine: Machine) -> dict[str, int]:
    """The kernels that make a block of the output, and how many results that is as good as: vectors are filled or not.

    bank: blocks of outputs that share what they load; rows: blocks of rows that do; taps: blocks along a row; apart: what is
    left of some rows at a time.
    """
    behind = prod(counts[last + 2 :])
    row, lines = counts[last + 1] * behind, prod(counts[: last + 1]) * problem.outputs
    lanes, side = machine.vector // problem.itemsize, machine.side
    if shares_samples(problem) and row >= NARROW:
        each, filled = min(problem.outputs // problem.groups, MANY), min(lanes, 1 << row.bit_length() - 1)
        joined = _joined(problem, counts, machine)
        planes = lines // problem.outputs
        vectors = planes // counts[last] * joined // lanes if joined else planes * -(-row // filled)
        made = _whole(vectors, SIDE_BY_SIDE if side > 3 else SIDE_BY_SIDE - 1) * problem.outputs * lanes * each // (each - 1)
        return {"bank": made if problem.axes[last].stride == 1 else made * DEALT // 10}
    shared = problem.dtype != "int64" and shares_rows(problem.axes) and counts[last + 1] >= STRIP
    if shared and counts[last] >= side and row >= side * lanes and problem.axes[last - 1].size >= side - 1:
        return {"rows": lines // counts[last] * _whole(counts[last], side) * _whole(row, side * lanes)}
    left = row % (side * lanes)
    return {"taps": lines * (row - left), "apart": _whole(lines, side) * _whole(left, lanes)}


def _joined(problem: Problem, counts: tuple[int, ...], machine: Machine) -> int:
    """Lanes of all vectors of an output's rows in a plane of a block, where they are made as one (see `joins`); else 0."""
    *_, rows, n = counts
    across, lanes = problem.axes[-1], machine.vector // problem.itemsize
    pitch = across.n if problem.straight and all([a.plain for a in problem.axes]) else n - 1 + across.reach
    if len(counts) < 3 or not shares_samples(problem) or not joins(problem, rows, n, pitch, lanes):
        return 0
    return _whole((rows - 1) * pitch + n, lanes)


def _stored(problem: Problem) -> str:
    """The type whose results take as long to write."""
    return "float64" if problem.dtype == "float32" and np.dtype(problem.result).itemsize == 8 else problem.dtype


def _whole(n: int, of: int) -> int:
    """n, filled up to a multiple."""
    return -(-n // of) * of


def one_pass(problem: Problem) -> bool:
    """Sums are not made of pieces, and kernels write the result as it is stored."""
    return not _long(problem) and storable(problem.dtype, np.dtype(problem.result), problem.bits > 0)


def in_pieces(problem: Problem) -> bool:
    """Sums of products that share what they load are made of pieces, each by the kernels, and added up exactly."""
    plain = not problem.upsampled and not problem.woven and problem.result == problem.dtype
    return _long(problem) and shares_samples(problem) and plain


def kept_blocks(limit: float) -> float:
    """Bound blocks that may be kept within this memory."""
    return limit / PART / KEPT


def _long(problem: Problem) -> bool:
    return problem.taps > CHUNK[problem.elementwise] and problem.dtype != "int64"


def by_outputs(problem: Problem, cores: int) -> int:
    """Outputs that each core makes of all windows, where many weights are to be read and few rows shared; 0: it makes some of the rows.

    (Of a multiple of so many outputs the blocks that kernels make are those of all, so the weights are laid out alike.)
    """
    weights, each = problem.taps * problem.outputs, problem.outputs // cores
    if problem.groups > 1 or problem.upsampled or not shares_samples(problem) or not (one_pass(problem) or in_pieces(problem)):
        return 0
    heavy = weights * problem.itemsize >= HEAVY and weights * SPREAD >= problem.samples
    return each if heavy and cores > 1 and problem.outputs % (cores * ALIKE) == 0 else 0


def binds(problem: Problem) -> bool:
    """The problem is little, and one kernel makes all of it: see `little`."""
    rows = problem.axes[last_axis(problem.axes)].stride == 1 and all([a.boundary in ("zero", "constant") for a in problem.axes])
    most = BOUND if not rows else APART if problem.upsampled else SHARED if shares_samples(problem) else BOUND
    return 0 < problem.samples < most and 0 < problem.results < most and one_pass(problem)


def boxes(problem: Problem, cost: Cost) -> list[Box]:
    return boxes_of(problem, cost.tile)


@lru_cache(maxsize=512)
def boxes_of(problem: Problem, tile: tuple[int, ...]) -> list[Box]:
    """Blocks that read in place, and blocks along the boundary."""
    if _alone(problem, tile):
        return [problem.whole] if problem.results else []
    if not _in_place(problem) or _banded(problem):
        return problem.grid(tile)
    inner, edges = problem.frame(STRIP)
    if inner is None:
        return problem.grid(tile)
    pieces = min(max(problem.results * problem.taps // WORK, _shares(problem, EACH * machine().cores)), PIECES)
    found = problem.grid(_slabs(inner, pieces), inner)
    samples = problem.reads(tile)
    return found + [box for edge in edges for box in problem.grid(problem.tile(samples, edge), edge)]


def _banded(problem: Problem) -> bool:
    """Blocks are bands: what is copied of x serves many channels, or is little, or ends of rows would be most of the output."""
    return shares_samples(problem) or problem.groups > 1 or channels.frameless(problem) or (_light(problem) and _shares(problem, 2) > 1)


def _band(problem: Problem, samples: float, most: int) -> tuple[int, ...]:
    """A tile that reads so many samples at most, cut along its first axes into about `most` if there is enough work: where it
    may read any number, into whole images."""
    pieces, band = _shares(problem, most), list(problem.tile(max(samples, 1)))
    while 2 * problem.count(tuple(band)) <= pieces:
        i = 0 if samples == float("inf") and band[0] > 1 else max(range(max(len(band) - 1, 1)), key=band.__getitem__)
        if band[i] == 1:
            i = len(band) - 1  # of one long row
        if band[i] < (2 * STRIP if i == len(band) - 1 else 2):
            break
        band[i] = -(-band[i] // 2)
    return tuple(band)


def _shares(problem: Problem, most: int) -> int:
    """Blocks that are worth handing to another thread, at most so many: an even number, so that two take as many."""
    cores = machine().cores
    terms = problem.results * (problem.taps + (STORED if shares_samples(problem) else ALONE))
    found = (terms + (max(problem.samples - problem.results, 0) * ALONE if channels.frameless(problem) else 0)) // SHARE
    return (min(found - found % 2, most if found >= LONG * cores else max(cores, 2)) or 1) if cores > 1 else 1


def _light(problem: Problem) -> bool:
    size = problem.samples + problem.results
    return size < SMALL or (size < LIGHT and problem.results * problem.taps < FEW)


def _alone(problem: Problem, tile: tuple[int, ...]) -> bool:
    """One block is all: a copy of what it reads fits the memory and takes less time than more blocks."""
    return _light(problem) and problem.count(tile) <= 1


def _filled(problem: Problem, tile: tuple[int, ...], side: int) -> tuple[int, ...]:
    """The tile, with as many rows as blocks of rows fill: 15 rows take as long as 16."""
    last = last_axis(problem.axes)
    if not shares_rows(problem.axes) or tile[last] < side:
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


def prepare(problem: Problem, weights: Weights, cost: Cost | None) -> Kernel:
    key = (NAME, problem.dtype, problem.elementwise)
    found: Kernel | None = weights.kept.get(key)
    if found is None:
        kernel = plain(problem, weights)
        found = weights.kept[key] = kernel._replace(banks=banks(problem, kernel.w))
    return found


def run(problem: Problem, x: Array, prepared: Kernel, y: Array, cval: float) -> None:
    if channels.takes(problem, x, y):
        channels.slide(problem, x, prepared.w, y, cval)
        return
    plain = all([a.plain for a in problem.axes])
    if (problem.axes[-1].stride > 1 or not plain) and borders.takes(x, problem.axes, problem.dtype):
        slide(problem, borders.tile(x, problem.axes, problem.dtype, cval), prepared, y, dealt=True)
    elif plain and readable(x.dtype, problem.dtype) and x.flags.aligned:
        tile = cut(x, [slice(a.start, a.stop) for a in problem.axes])
        slide(problem, tile, prepared, y)
    else:
        slide(problem, fill(x, problem.axes, problem.dtype, cval), prepared, y)
