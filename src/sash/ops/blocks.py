"""Blocks of a score: how large they are, how many are made at a time, and how long all of it would take.

A score is made of sums over windows (`moments`), of whole numbers (`exactly`), or window by window (`singly`).
Imports: exactly, singly, planning, plans, methods, machine, problem, tiles, wisdom.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import inf, prod
from typing import Any

import numpy as np

from sash.arrays.numpy_ import Array
from sash.errors import MemoryLimit
from sash.machine import by_rates, machine
from sash.methods import CHOICES, bytes_, direct, named
from sash.ops import exactly, singly
from sash.ops.singly import few
from sash.planning import choose
from sash.plans import Plan, describe
from sash.problem import Box, Problem
from sash.tiles import workers
from sash.wisdom import told

HELD = 14 << 20
"""Bytes that the arrays of one block may take, unless the template is nearly as large; there is a block per thread."""

ENGINE = 24 << 20
"""Bytes that the engine may use within all blocks that are being made, unless told otherwise."""

PASSES = 40
"""Copies of a sample that take as long as all that is done to it beside the correlation."""

SAMPLES = 1024
"""Samples of a block that its centre and its typical size are taken from."""

COLUMNS = 256
"""Columns that sums over boxes are made of at a time, at most (see kernels/cpu/boxes.py)."""

TRIED = 1 << 16
"""Shapes of blocks that are compared, at most."""

ROW = 64
"""Samples that a row takes as long as, beside its own."""


def correlation(problem: Problem) -> Problem:
    """The sum of products at the heart of these scores."""
    as_floats = problem._replace(dtype="float64", source="float64", result="float64", bytewise=False)
    return as_floats._replace(reduce="product", finite=True, straight=True)


def worth_expanding(problem: Problem, method: str, summed: str) -> bool:
    """Whether (x-t)^2 is better summed as x^2 - 2xt + t^2: where a fast correlation beats summing differences, in the type `summed`."""
    if problem.elementwise:
        return False
    if method not in CHOICES:
        return bool(named(method).refuses(problem)) and not named(method).refuses(correlation(problem))
    cores = machine().cores  # not `workers()`: fewer threads must give the same bits
    return _expected(problem, "auto", None, cores) < choose(problem._replace(dtype=summed), "auto", None, cores).seconds


def _expected(problem: Problem, method: str, max_memory: int | None, cores: int) -> float:
    """Seconds that sums over windows are predicted to take, with all that is done beside the correlation."""
    tile, rest, boxes = cut(problem, max_memory)
    if not boxes:
        return inf
    crew, turns = _turns(problem, len(boxes), crew_of(problem, tile, max_memory, cores))
    block = choose(filled(problem.part(boxes.at(0))[1]), method, rest, cores if crew == 1 else 1)
    return turns * (block.seconds + _passes(problem, tile))


def _passes(problem: Problem, tile: tuple[int, ...]) -> float:
    """Seconds of what is done to a block beside the correlation."""
    return problem.reads(tile) * PASSES * machine().rates["copy.sample"]


@by_rates(256)
def whole_numbers(problem: Problem, method: str, max_memory: int | None, crew: int) -> Plan | None:
    """The plan of sums of whole numbers, where they are asked for or predicted to be faster, which depends on no number of threads."""
    if method not in (*CHOICES, bytes_.NAME) or not problem.bytewise or not problem.results:
        return None
    if method != bytes_.NAME:
        if exactly.refuses(problem) or few(problem):
            return None
        cores = machine().cores
        try:
            seconds = exactly.planned(problem, max_memory, cores).seconds
        except MemoryLimit:
            return None
        if _fits(problem, method, max_memory) and seconds >= _expected(problem, method, max_memory, cores):
            return None
    return exactly.planned(problem, max_memory, crew)


def _turns(problem: Problem, blocks: int, crew: int) -> tuple[int, float]:
    """(threads that make blocks, how many times as long as one block they take)."""
    crew = crew if blocks > 1 else 1
    return crew, max(blocks / crew, 1) * (1 + (crew - 1) * machine().rates["crew"])


class Grid:
    """The blocks of an output, each made when its turn comes: of little ones a list takes more memory than they do."""

    def __init__(self, problem: Problem, tile: tuple[int, ...]) -> None:
        self.cuts = [[box[i] for box in problem.grid(slab)] for i, slab in enumerate(_slabs(problem, tile))]

    def __len__(self) -> int:
        return prod([len(cuts) for cuts in self.cuts])

    def __iter__(self) -> Iterator[Box]:
        return map(self.at, range(len(self)))  # which, unlike a generator, several threads may draw from

    def at(self, n: int) -> Box:
        box = []
        for cuts in reversed(self.cuts):
            n, i = divmod(n, len(cuts))
            box.append(cuts[i])
        return tuple(reversed(box))


def _slabs(problem: Problem, tile: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The tile as it cuts each axis alone."""
    whole = (problem.batch, *problem.out)
    return [(*whole[:i], tile[i], *whole[i + 1 :]) for i in range(len(tile))]


@lru_cache(maxsize=256)
def cut(problem: Problem, max_memory: int | None) -> tuple[tuple[int, ...], int | None, Grid]:
    """The block of a score, what the engine may use within it, and which blocks there are."""
    tile, rest = _blocks(problem, max_memory)
    return tile, rest, Grid(problem, tile)


@lru_cache(maxsize=256)
def filled(problem: Problem) -> Problem:
    """The sum of products over a block whose padding is filled in."""
    extents = [a.stop - a.start for a in problem.axes]
    return correlation(problem)._replace(axes=tuple([a.moved(n, 0, n) for a, n in zip(problem.axes, extents, strict=True)]))


def _blocks(problem: Problem, max_memory: int | None) -> tuple[tuple[int, ...], int | None]:
    """The block of the output that is made at a time, and what the engine may use for it."""
    if max_memory is None:
        least = 8 * problem.taps * 8 * (2 + 8 * problem.outputs / problem.inputs)
        return _tile(problem, max(HELD, least)), None if least > HELD else ENGINE
    cores = machine().cores
    tile = _tile(problem, max_memory / 2 / cores)
    return tile, max_memory // 2 // (cores if problem.count(tile) > 1 else 1)


def _tile(problem: Problem, room: float) -> tuple[int, ...]:
    """The block whose arrays fit that reads the fewest samples again for its neighbours, a row counted as so many more;
    the smallest, where none fits."""
    if not problem.results:
        return (1, *problem.out)
    choices = [_parts(n) for n in problem.out]
    while prod([len(parts) for parts in choices]) > TRIED:
        i = max(range(len(choices)), key=lambda i: len(choices[i]))
        choices[i] = np.union1d(choices[i][::2], choices[i][-1:])[::-1]
    grid = np.ix_(*choices)
    spans = [(n - 1) * a.stride + a.reach for n, a in zip(grid, problem.axes, strict=True)]
    reads = problem.inputs * prod(spans, start=np.float64(1))
    counts = prod([-(-a.out // n) for n, a in zip(grid, problem.axes, strict=True)], start=np.float64(1))
    held = _bytes(problem, spans, prod(grid, start=np.float64(1)))
    rows = reads * counts * (1 + ROW / spans[-1])
    fits = held <= room
    best = np.unravel_index(np.argmin(np.where(fits, rows, np.inf) if fits.any() else held), held.shape)
    return (1, *[int(sizes[i]) for sizes, i in zip(choices, best, strict=True)])


def _parts(n: int) -> Array:
    """Even parts of so many positions, largest first, each about an eighth smaller than the one before."""
    found, parts = [n], 1
    while found[-1] > 1:
        parts += max(parts // 8, 1)
        found.append(-(-n // parts))
    return np.unique(found)[::-1]


def crew_of(problem: Problem, tile: tuple[int, ...], max_memory: int | None, most: int) -> int:
    """Blocks made at a time: one per thread, as far as memory allows."""
    room = most if max_memory is None else max_memory // 2 // max(_held(problem, tile), 1)
    return max(min(most, problem.count(tile), room), 1)


def _fits(problem: Problem, method: str, max_memory: int | None) -> bool:
    """Half of `max_memory` is for blocks, half for the engine."""
    if max_memory is None:
        return True
    tile, rest, _ = cut(problem, max_memory)
    try:
        choose(correlation(problem), method, rest, workers())
    except MemoryLimit:
        return False
    return 2 * _held(problem, tile) <= max_memory


def check_room(problem: Problem, method: str, max_memory: int | None) -> None:
    """Refuse before any work what does not fit."""
    if _fits(problem, method, max_memory):
        return
    least = 2 * _held(problem, (1,) * (len(problem.axes) + 1))
    try:
        choose(correlation(problem), method, 1, workers())
    except MemoryLimit as limit:
        least = max(least, 2 * limit.least * machine().cores)
    if method in CHOICES and problem.bytewise:
        least = min(least, exactly.candidate(problem, 1).scratch or least)
    raise MemoryLimit(f"max_memory={max_memory} bytes is too little: the least that would do is about {least} bytes.", least)


def _held(problem: Problem, tile: tuple[int, ...]) -> int:
    """Bytes of a block's arrays."""
    return int(_bytes(problem, [(n - 1) * a.stride + a.reach for n, a in zip(tile[1:], problem.axes, strict=True)], prod(tile)))


def _bytes(problem: Problem, spans: list[Any], made: Any) -> Any:
    """x, its sums and squares with memory for theirs, five of the result's size, what its level is found from, and what sums over
    boxes are made in: a row of each power of two, or rows of columns."""
    lines, inner = np.float64(0), np.float64(1)
    for a, span in zip(reversed(problem.axes), reversed(spans), strict=True):
        if a.size > 1 or a.stride > 1:
            made_in = np.where(inner == 1, (a.size.bit_length() + 2) * span, (a.size + 2) * np.minimum(inner, COLUMNS))
            lines = np.maximum(lines, made_in)
        inner = inner * span
    reads = problem.inputs * inner
    return 8 * (reads + 4 * -(-reads // problem.inputs) + 5 * problem.outputs * made + 5 * np.minimum(reads, 2 * SAMPLES) + lines)


def planned(problem: Problem, method: str, max_memory: int | None, normalised: bool) -> Plan:
    """The plan of ncc or zncc (`normalised`) or of squares by products: of sums over windows as they are run on the blocks, and of what
    is done instead."""
    exact = single = None
    if normalised and few(problem) and max_memory is None and method in (CHOICES[0], direct.NAME):
        single = singly.planned(correlation(problem))
    elif normalised:
        exact = whole_numbers(problem, method, max_memory, workers())
    if exact is not None and (method == bytes_.NAME or not _fits(problem, method, max_memory)):
        return exact
    product = correlation(problem)
    tile, rest, boxes = cut(problem, max_memory)
    check_room(problem, method, max_memory)
    if not boxes:
        return choose(product, method, rest, workers())
    crew, turns = _turns(problem, len(boxes), crew_of(problem, tile, max_memory, workers()))
    block = choose(filled(problem.part(boxes.at(0))[1]), method, rest, workers() if crew == 1 else 1)
    if method == "measure":  # each block is tried by itself: the first speaks for all
        block = told(block, rest)
    held, alone = _held(problem, tile) * crew, len(boxes) == 1
    candidates = {
        c.name: replace(
            c,
            seconds=turns * (c.seconds + _passes(problem, tile)),
            scratch=c.scratch * crew + held,
            workers=max(c.workers, crew),
            measured=c.measured if alone else None,
        )
        for c in block.candidates
    }
    if normalised and bytes_.NAME in candidates:
        candidates[bytes_.NAME] = exactly.candidate(problem, max_memory)
    title = f"{describe(product)}, in blocks of {'x'.join(map(str, tile[1:]))}"
    found = Plan(title, product, block.method, block.reason, tuple(candidates.values()))
    other = single or exact
    if other is None:
        return found
    candidates[other.method] = other.chosen
    return replace(found, title=other.title, method=other.method, reason=other.reason, candidates=tuple(candidates.values()))
