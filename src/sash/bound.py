"""Problems bound to their shapes: everything but the operands is settled once, and a block of the output is a kernel or two.

    x (N, C, *S)   y (N, O, *out), both contiguous   kernel: as `direct` prepares it
Between two kernels a thread holds Python's lock, and others wait for it: bound, a block takes a tenth of the time there that
it takes otherwise (3 -> 16 channels of 224², two threads: 0.93 ms, then 0.45).  The sums and their order are those of
`direct`.   Imports: little, planning, tiles, methods, kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash import little
from sash.arrays.numpy_ import Array, packed, readable
from sash.little import Call, Windows
from sash.methods import CHOICES, borders, channels, direct
from sash.methods.offsets import STRIP, Kernel, last_axis, settled_sum, shares_rows, shares_samples, tabulated
from sash.planning import choose
from sash.problem import Box, Problem
from sash.tiles import share

TABLES = 1 << 16
"""Entries of all tables of a problem, at most: rows of its blocks."""


class Bound(NamedTuple):
    """`call(x, kernel, y, cval, bias)` writes y, to which `bias` is added, if any; where not `banked`, it looks at `kernel.w` and `kernel.v` alone."""

    call: Call
    banked: bool


@lru_cache(maxsize=1024)
def bind(problem: Problem, method: str, max_memory: int | None, workers: int) -> Bound | None:
    """The problem on contiguous arrays of its types, with nothing left to settle; None where another way may be taken."""
    if method not in CHOICES[:1] and method != direct.NAME:
        return None
    if direct.refuses(problem) or not direct.one_pass(problem):
        return None
    plan = choose(problem, method, max_memory, workers)
    if plan.method != direct.NAME:
        return None
    if little.takes(problem) and plan.boxes:
        return None
    return settle(problem._replace(finite=True, mirrored=False), plan.boxes or (problem.whole,), plan.workers)


@lru_cache(maxsize=1024)
def settle(problem: Problem, boxes: tuple[Box, ...], workers: int) -> Bound | None:
    """The same for these blocks, whatever it was that chose them."""
    if little.takes(problem):
        return Bound(*little.bound(problem))
    if problem.upsampled or not readable(np.dtype(problem.source), problem.dtype):
        return None
    if sum([prod([p - o for o, p in box[:-1]]) for box in boxes]) > TABLES:
        return None
    found = [_block(problem, box) for box in boxes]
    blocks: list[Call] = [block for block in found if block is not None]
    if len(blocks) < len(boxes):
        return None
    if len(blocks) == 1:
        return Bound(blocks[0], True)

    def call(x: Array, kernel: Kernel, y: Array, cval: Any, bias: Array | None) -> None:
        share(lambda block: block(x, kernel, y, cval, bias), blocks, workers)

    return Bound(call, True)


@lru_cache(maxsize=256)
def windows(problem: Problem, method: str) -> Windows | None:
    """Where the windows of a little problem lie; None where it is not bound."""
    if not little.takes(problem) or problem.results * problem.taps > little.FEW or bind(problem, method, None, 1) is None:
        return None
    return little.windows(problem, False)


def _block(problem: Problem, box: Box) -> Call | None:
    """How one block is made, of which each axis reads one forward run of samples; None: it needs more than kernels do."""
    runs, part = problem.part(box)
    if not all([len(r) == 1 and r[0].step == 1 and r[0].first >= 0 for r in runs]):
        return None
    (image, _), *places = box
    steps = packed((1, problem.inputs, *[a.n for a in problem.axes]), 1)
    goals = packed((1, problem.outputs, *problem.out), 1)
    first = image * steps[0] + sum([r[0].first * step for r, step in zip(runs, steps[2:], strict=True)])
    goal = image * goals[0] + sum([o * step for (o, _), step in zip(places, goals[2:], strict=True)])
    made, where = _made(part, steps, first, goals, goal), (slice(*box[0]), slice(None), *[slice(o, p) for o, p in places])
    if made is None:
        return None

    def call(x: Array, kernel: Kernel, y: Array, cval: Any, bias: Array | None) -> None:
        made(x.reshape(-1), kernel, y.reshape(-1), cval)
        if bias is not None:
            with np.errstate(all="ignore"):
                y[where] += bias

    return call


def _made(
    part: Problem, steps: tuple[int, ...], first: int, goals: tuple[int, ...], goal: int
) -> Callable[[Array, Kernel, Array, Any], None] | None:
    """A kernel or two for flat x, whose samples lie `steps` apart from `first` on, and flat y, the same with `goals`."""
    from sash.kernels.cpu import bank

    bordered, last = part.dtype != "int64" and borders.suits(part.axes), last_axis(part.axes)
    if bordered and channels.apart(part):
        slide = channels.settled(part, steps, first, goals, goal)
        return lambda x, kernel, y, cval: slide(x, kernel.w, y, cval)
    plain = part.axes[last].stride == 1 and all([a.plain for a in part.axes])
    if plain:
        shape, lies = (part.batch, part.inputs, *[a.stop - a.start for a in part.axes]), steps
        first += sum([a.start * step for a, step in zip(part.axes, steps[2:], strict=True)])
    elif bordered:
        enter, shape, lies = borders.settled(part, steps, first)
        first = 0
    else:
        return None
    shares = part.dtype != "int64" and not shares_samples(part) and shares_rows(part.axes) and part.out[last] >= STRIP
    out = (part.batch, part.outputs, *part.out)
    t = tabulated(part.axes, part.groups, shares, shape, lies, out, goals)
    made = settled_sum(part, t._replace(at=t.at + first, to=t.to + goal), shares_samples(part) and t.n >= bank.NARROW)
    if plain:
        return lambda x, kernel, y, cval: made(x, kernel, y)
    return lambda x, kernel, y, cval: made(enter(x, cval), kernel, y)
