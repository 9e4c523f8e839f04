"""Problems bound to their shapes: everything but the operands is settled once, and a block of the output is a kernel or two.

    x (N, C, *S)   y (N, O, *out), both contiguous   kernel: as `direct` prepares it
Between two kernels a thread holds Python's lock, and others wait for it: bound, a block takes a tenth of the time there that
it takes otherwise (3 -> 16 channels of 224², two threads: 0.93 ms, then 0.62).  The sums and their order are those of
`direct`.   Imports: planning, crew, machine, methods, kernels, arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.accuracy import CHUNK
from sash.arrays.numpy_ import Array, lies_well, packed, readable
from sash.arrays.weights import Weights
from sash.axis import Axis, Run
from sash.crew import share
from sash.machine import by_rates, machine
from sash.methods import CHOICES, borders, channels, direct, fused, little, separable
from sash.methods.little import Call, Windows
from sash.methods.offsets import Kernel, joins, last_axis, settled_rows, shares_samples
from sash.methods.phases import offsets
from sash.methods.transposed import Together, cross, together
from sash.planning import choose
from sash.problem import Box, Problem

Made = Callable[[Array, Any, Array, Any], None]
"""made(x, kernel, y, cval), x and y flat, writes a block of y."""

Way = Callable[[Problem, "tuple[int, ...]", int, "tuple[int, ...]", int], "Made | None"]
"""way(part, steps, first, goals, goal): samples lie `steps` apart in x from `first` on, results `goals` apart in y."""

TABLES = 1 << 15
"""Entries of all tables of a problem, at most: rows of its blocks."""


WINDOWS = 1 << 20
"""Terms of a little problem whose windows are asked for, at most."""

MANY = 64
"""Blocks of fused passes, at most: what is kept of each takes memory, and many are made where there is little."""


class Bound(NamedTuple):
    """`call(x, prepared(weights), y, cval, bias)` writes y, to which `bias` is added, if any."""

    call: Call
    prepared: Callable[[Weights], Any]
    factored: bool = False
    """The weights must be known as products of 1-D kernels."""


@by_rates(256)
def bind(problem: Problem, method: str, max_memory: int | None, workers: int) -> Bound | None:
    """The problem on contiguous arrays of its types, with nothing left to settle; None where another way may be taken."""
    if not problem.results:
        return None
    whole = direct.one_pass(problem) or (max_memory is None and direct.in_pieces(problem))
    fuses, sums = separable.fuses(problem), not direct.refuses(problem) and whole
    if not {CHOICES[0]: fuses or sums, direct.NAME: sums, separable.NAME: fuses}.get(method):
        return None
    plan = choose(problem, method, max_memory, workers)
    if fuses and plan.method == separable.NAME:
        return passes(problem._replace(finite=True, mirrored=False), plan.boxes or (problem.whole,), plan.workers, plan.seconds)
    if not sums or plan.method != direct.NAME:
        return None
    limit = float("inf") if max_memory is None else max_memory
    way = together(problem, limit, machine().cores) if problem.upsampled and not little.spreads(problem, limit) else None
    made = plan.boxes or (problem.whole,)
    return settle(problem._replace(finite=True, mirrored=False), made, plan.workers, plan.seconds, way, direct.kept_blocks(limit))


@by_rates(256)
def settle(
    problem: Problem, boxes: tuple[Box, ...], workers: int, seconds: float, way: Together | None, most: float = float("inf")
) -> Bound | None:
    """The same for these blocks, whatever it was that chose them; a transposed problem that is not little has a `way` of its own.

    None for more than one block where those are more than `most`.
    """
    if little.takes(problem) and way is None and boxes == (problem.whole,):
        return Bound(*little.bound(problem))
    if (
        len(boxes) > max(most, 1)
        or not readable(np.dtype(problem.source), problem.dtype)
        or sum([prod([p - o for o, p in box[:-1]]) for box in boxes]) > TABLES
    ):
        return None
    phases = [(phases, part) for phases, part in problem.phases() if part is not None]
    if way:
        found = _crossed(problem, *way.tile) if way.crossed else _woven(problem, way.tile)
    else:
        each = direct.by_outputs(problem, machine().cores) if len(boxes) > 1 and most == float("inf") else 0
        found = [_some(problem, o, o + each) for o in range(0, problem.outputs, each)] if each else []
        if not found or None in found:
            found = [_block(problem, box, _made) for box in boxes]
    blocks: list[Call] = [block for block in found if block is not None]
    if len(blocks) < len(found) or len(blocks) > max(most, 1):
        return None

    def call(x: Array, kernel: Any, y: Array, cval: Any, bias: Array | None) -> None:
        if len(blocks) == 1:
            blocks[0](x, kernel, y, cval, bias)
        else:
            share(lambda block: block(x, kernel, y, cval, bias), blocks, workers, seconds)

    if way and not way.crossed:
        return Bound(call, lambda weights: {at: direct.prepare(part, weights.phase(at), None) for at, part in phases})
    return Bound(call, lambda weights: direct.prepare(problem, weights, None))


@by_rates(256)
def passes(problem: Problem, boxes: tuple[Box, ...], workers: int, seconds: float) -> Bound | None:
    """A product of 1-D kernels, in fused passes."""
    if not readable(np.dtype(problem.source), problem.dtype) or len(boxes) > MANY:
        return None
    blocks = [_block(problem, box, fused.settled) for box in boxes]
    if None in blocks:
        return None

    def call(x: Array, terms: Any, y: Array, cval: Any, bias: Array | None) -> None:
        share(lambda block: block(x, terms, y, cval, bias), blocks, workers, seconds)

    return Bound(call, lambda weights: separable.prepare(problem, weights, None), factored=True)


@by_rates(256)
def windows(problem: Problem, method: str) -> Windows | None:
    """Where the windows of a little problem lie; None where it is not bound."""
    if not little.takes(problem) or problem.results * problem.taps > WINDOWS or bind(problem, method, None, 1) is None:
        return None
    return little.windows(problem)


def _block(problem: Problem, box: Box, way: Way) -> Call | None:
    """How one block is made in a way; None: it needs more than kernels do."""
    goals = packed((1, problem.outputs, *problem.out), 1)
    goal = sum([o * step for (o, _), step in zip(box, (goals[0], *goals[2:]), strict=True)])
    made, where = _piece(problem, box, goals, goal, way), (slice(*box[0]), slice(None), *[slice(o, p) for o, p in box[1:]])
    if made is None:
        return None

    def call(x: Array, kernel: Any, y: Array, cval: Any, bias: Array | None) -> None:
        made(x.reshape(-1), kernel, y.reshape(-1), cval)
        if bias is not None:
            with np.errstate(all="ignore"):
                y[where] += bias

    return call


def _some(problem: Problem, first: int, last: int) -> Call | None:
    """How outputs `first` to `last` are made of all windows."""
    goals = packed((1, problem.outputs, *problem.out), 1)
    made = _piece(problem._replace(outputs=last - first), problem.whole, goals, first * goals[1], _made)
    if made is None:
        return None

    def call(x: Array, kernel: Kernel, y: Array, cval: Any, bias: Array | None) -> None:
        a, b = [o * len(kernel.banks[0]) // problem.outputs for o in (first, last)]
        some = Kernel(kernel.w[first:last], None, tuple([bank[a:b] for bank in kernel.banks]))
        made(x.reshape(-1), some, y.reshape(-1), cval)
        if bias is not None:
            with np.errstate(all="ignore"):
                y[:, first:last] += bias[first:last]

    return call


def _crossed(problem: Problem, each: int) -> list[Call | None]:
    """How `each` channels at a time of a transposed problem are made, which do not see each other."""
    images, found = problem.batch * problem.outputs, list[Call | None]()
    for first in range(0, images, each):
        last = min(first + each, images)
        found.append(_channels(problem, cross(problem, first, last), first, last))
    return found


def _channels(problem: Problem, make: Callable[[Array, Array, Array], None], first: int, last: int) -> Call:
    """One block of channels."""

    def call(x: Array, kernel: Kernel, y: Array, cval: Any, bias: Array | None) -> None:
        make(x.reshape(-1), kernel.w.reshape(-1), y.reshape(-1))
        if bias is not None:
            with np.errstate(all="ignore"):
                y.reshape(-1, *problem.out)[first:last] += bias.take(np.arange(first, last) % problem.outputs, 0)

    return call


def _woven(problem: Problem, tile: tuple[int, ...]) -> list[Call | None]:
    """How the blocks of a transposed problem are made: the classes of a row side by side, then one sample of each in turn."""
    steps, count = packed((1, problem.outputs, *problem.out), 1), len(problem.axes[-1].phases())
    every = problem.phases()
    found: list[Call | None] = []
    for first in range(0, len(every), count):
        classes = every[first : first + count]  # of the last axis, all else alike
        *lead, _ = classes[0][0]
        out = [-(-(a.out - p.first) // p.step) for a, p in zip(problem.axes, lead, strict=False)]
        goals = (steps[0], steps[1], *[p.step * step for p, step in zip(lead, steps[2:], strict=False)])
        start = sum([p.first * step for p, step in zip(lead, steps[2:], strict=False)])
        whole = ((0, problem.batch), *[(0, n) for n in out])
        for box in problem.grid(tile, whole):
            goal = start + sum([o * step for (o, _), step in zip(box, (goals[0], *goals[2:]), strict=True)])
            found.append(_weft(problem, classes, box, goals, goal))
    return found


def _weft(problem: Problem, classes: Any, box: Box, goals: tuple[int, ...], goal: int) -> Call | None:
    """One block of rows, `goals` apart in y from `goal` on."""
    from sash.kernels.cpu.simd import sized
    from sash.kernels.cpu.weave import woven

    counts = np.array([-(-(problem.out[-1] - at[-1].first) // at[-1].step) for at, _ in classes])
    shape = (box[0][1] - box[0][0], problem.outputs, *[p - o for o, p in box[1:]])
    rows, weave, kind = prod(shape), sized(woven, (0,) * len(classes)), np.dtype(problem.result)
    size, to = rows * int(counts[0]), offsets(list(zip(shape, goals, strict=True))) + goal
    zero, made = [], list[tuple[Any, Made]]()
    for c, (n, (at, part)) in enumerate(zip(counts.tolist(), classes, strict=True)):
        if part is None:  # no tap meets a sample
            zero.append(slice(c * size, (c + 1) * size))
            continue
        piece = _piece(part, (*box, (0, n)), packed((*shape, n), 1), c * size, _made)
        if piece is None:
            return None
        made.append((at, piece))

    def call(x: Array, kernels: Any, y: Array, cval: Any, bias: Array | None) -> None:
        t = np.empty(len(classes) * size, kind)
        for where in zero:
            t[where] = 0
        for at, piece in made:
            piece(x.reshape(-1), kernels[at], t, cval)
        if bias is not None:
            with np.errstate(all="ignore"):
                for c, n in enumerate(counts.tolist()):
                    t[c * size : c * size + rows * n].reshape(*shape, n)[...] += bias
        weave(t, size, counts, y.reshape(-1), to)

    return call


def _piece(problem: Problem, box: Box, goals: tuple[int, ...], goal: int, way: Way) -> Made | None:
    """How a block is made whose results lie `goals` apart from `goal` on."""
    runs, part = problem.part(box)
    if not all([len(r) == 1 and r[0].step == 1 and r[0].first >= 0 for r in runs]):  # both ends, say: all of x, of which it reads some
        if way is not _made:  # fused passes go along one run
            return None
        ends = [(a.start + o * a.stride, a.start + (p - 1) * a.stride + a.reach) for a, (o, p) in zip(problem.axes, box[1:], strict=True)]
        part = part._replace(axes=tuple([a.moved(a.n, *end) for a, end in zip(problem.axes, ends, strict=True)]))
        runs = tuple([(Run(a.n, 0, 1),) for a in problem.axes])
    steps = packed((1, problem.inputs, *[a.n for a in problem.axes]), 1)
    first = sum([at * step for at, step in zip((box[0][0], *[r[0].first for r in runs]), (steps[0], *steps[2:]), strict=True)])
    return way(part, steps, first, goals, goal)


def _made(part: Problem, steps: tuple[int, ...], first: int, goals: tuple[int, ...], goal: int) -> Made | None:
    """A kernel or two for flat x, whose samples lie `steps` apart from `first` on, and flat y, the same with `goals`."""
    last, floats = last_axis(part.axes), part.dtype != "int64"
    if floats and borders.suits(part.axes) and channels.apart(part):
        slide = channels.settled(part, steps, first, goals, goal)
        return lambda x, kernel, y, cval: slide(x, kernel.w, y, cval)
    out, cut = (part.batch, part.outputs, *part.out), (part.batch, part.inputs, *[a.stop - a.start for a in part.axes])
    in_place = part.axes[last].stride == 1 and all([a.plain for a in part.axes]) and lies_well(cut, steps, 1, last + 2)
    if not in_place:  # with a border, channels lie between the last axis and the others
        last = len(part.axes) - 1
    if not lies_well(out, goals, 1, last + 2):  # a row of results ends before the next begins
        return None
    if in_place:
        shape, lies = cut, steps
        first += sum([a.start * step for a, step in zip(part.axes, steps[2:], strict=True)])
    elif floats and part.axes[last].stride in borders.STRIDES:
        pitch = part.axes[last].stop - part.axes[last].start
        apart = last > 0 and shares_samples(part) and joins(part, part.out[last - 1], part.out[last], pitch)
        enter, shape, lies = borders.settled(part.axes, (part.batch, part.inputs), part.dtype, steps, first, apart)
        first = 0
    else:
        return None
    told = (part, part.axes, shape, lies, out)
    if not direct.one_pass(part) and prod(out[last + 2 :]) < direct.NARROW:  # their weights are not laid out
        return None
    made = settled_rows(*told, goals, last, first, goal) if direct.one_pass(part) else _pieces(*told, goals, last, first, goal)
    if in_place:
        return lambda x, kernel, y, cval: made(x, kernel, y)
    return lambda x, kernel, y, cval: made(enter(x, cval), kernel, y)


def _pieces(
    part: Problem, axes: tuple[Axis, ...], shape: tuple[int, ...], lies: tuple[int, ...], out: tuple[int, ...], goals: tuple[int, ...],
    last: int, first: int, goal: int,
) -> Callable[[Array, Kernel, Array], None]:  # fmt: skip
    """`settled_rows` of a long sum: its pieces are added up, with what each addition loses."""
    from sash.kernels.cpu.moves import added
    from sash.kernels.cpu.simd import block, sized

    most, own, kind = CHUNK[part.elementwise], packed(out, 1), np.dtype(part.dtype)
    sums = [settled_rows(part, axes, shape, lies, out, own, last, first, 0, slice(i, i + most)) for i in range(0, part.taps, most)]
    add, size, steps = sized(added, block(kind.itemsize).lanes), prod(out), tuple([step * kind.itemsize for step in goals])

    def made(x: Array, kernel: Kernel, y: Array) -> None:
        total, piece, lost = np.empty(size, kind), np.empty(size, kind), np.zeros(size, kind)
        for i, some in enumerate(sums):
            some(x, kernel._replace(banks=kernel.banks[i : i + 1]), piece if i else total)
            if i:
                add(total, piece, lost)
        np.add(total.reshape(out), lost.reshape(out), out=as_strided(y[goal:], out, steps))

    return made
