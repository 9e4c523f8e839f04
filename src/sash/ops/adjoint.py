"""The other two sides of T(x, w, z) = <z, y>, which is linear in each: what a result's weights z make of x and of w.

    x (N, C, *S)   w (O, C/G, *K)   z (N, O, *out)        frame: the positions of x and of its extension that are read
Both are problems of the engine (`Problem.adjoint_x`, `adjoint_w`), so methods, blocks and limits serve them too; what
lands on the extension is folded back to the samples that it repeats.   Imports: arithmetic, planning, problem, methods, arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from sash.arrays import family
from sash.arrays.numpy_ import Array, cut, finite, readable, sound
from sash.arrays.weights import Weights
from sash.axis import Axis, Run
from sash.crew import share
from sash.errors import MemoryLimit, OverflowRisk
from sash.methods import gated, gather
from sash.methods.gemm import rows
from sash.ops.arithmetic import How, carry_out
from sash.planning import choose
from sash.plans import size
from sash.problem import Problem
from sash.tiles import workers

BUFFERS = 3 << 13
"""Elements that NumPy holds while it adds arrays whose rows lie apart: three of its buffers."""

HELD = 16
"""Sums of blocks that wait to be added."""


def turned(w: Array, groups: int, axes: int) -> Array:
    """(..., O, C/G, *K) to (..., C, O/G, *K), turned round along every kernel axis."""
    at = w.ndim - axes - 2
    lead, (o, c), sizes = w.shape[:at], w.shape[at : at + 2], w.shape[at + 2 :]
    w = w.reshape(*lead, groups, o // groups, c, *sizes).swapaxes(at + 1, at + 2).reshape(*lead, groups * c, o // groups, *sizes)
    return cut(w, [slice(None, None, -1)] * axes) if isinstance(w, np.ndarray) else w.flip(list(range(-axes, 0)))


def reverse(problem: Problem, z: Array, kernel: Weights, x: Array, exact: bool, how: How) -> None:
    """Write x, the transposed operation on z; `kernel` is already turned (that of a gated problem is as it is)."""
    if problem.planes:
        _reverse_gated(problem, z, kernel, x, how)
        return
    problem_x, folding = back(problem)
    if not exact and isinstance(z, np.ndarray) and not finite(kernel.dense):
        _tap_by_tap(problem, z, kernel, x, how)
        return
    if not any(folding):
        carry_out(problem_x, z, kernel, x, 0, exact, how)
        return
    if exact:
        least = prod([1 + len(f) for f in folding]) * int(np.abs(z).max(initial=0)) * int(np.abs(kernel.array).max(initial=0))  # type: ignore[arg-type]
        if least * problem.taps * problem.outputs >= 1 << 63:
            raise OverflowRisk("sums of what the boundary folds back might not fit int64 for this data; use floats, or smaller numbers.")
    bias, kernel = kernel.bias, Weights(kernel.array, kernel.terms, spread=kernel.spread, gate=kernel.gate)
    f = family(x)
    with beside(x.itemsize * frame_size(problem), how.max_memory) as left:
        frame = f.empty((*x.shape[:2], *problem_x.out), x)
        carry_out(problem_x, z, kernel, frame, 0, exact, how._replace(max_memory=left))
    with np.errstate(all="ignore"):
        folded = fold(problem, frame)
        if bias is not None:
            folded += bias.reshape(-1, *[1] * len(problem.axes))
        f.give(folded, x)


@lru_cache(maxsize=512)
def back(problem: Problem) -> tuple[Problem, list[tuple[tuple[int, Run], ...]]]:
    """The problem that makes x's side, and what it must fold back of each axis."""
    return problem.adjoint_x(), [a.folds() for a in problem.axes]


def _tap_by_tap(problem: Problem, z: Array, kernel: Weights, x: Array, how: How) -> None:
    """The same for weights that are infinite or NaN, which touch what their taps meet: nothing else may be multiplied with them,
    the zeros beside z and between its samples neither.  In double precision, one channel after the other.
    """
    each, made = problem.outputs // problem.groups, problem.inputs // problem.groups
    ends, kind = [a.frame for a in problem.axes], np.result_type(x.dtype, np.float64)
    least = (4 * prod([b - a for a, b in ends]) + 2 * each * prod(problem.out)) * kind.itemsize  # z is widened, and may be copied
    if how.max_memory is not None and how.max_memory < least:
        raise MemoryLimit(
            f"max_memory={how.max_memory} bytes is too little: weights that are infinite or NaN take {least} bytes ({size(least)}).", least
        )
    w = turned(kernel.dense, problem.groups, len(problem.axes))
    for n, c in np.ndindex(problem.batch, problem.inputs):
        group = slice(c // made * each, (c // made + 1) * each)
        frame = np.zeros((1, 1, *[b - a for a, b in ends]), kind)
        with np.errstate(all="ignore"):
            for tap in np.ndindex(*[a.size for a in problem.axes]):
                source, goal = zip(*[_met(a, t) for a, t in zip(problem.axes, tap, strict=True)], strict=True)
                frame[(0, 0, *goal)] += np.tensordot(w[(group, c % made, *tap)].astype(kind), z[(n, group, *source)].astype(kind), 1)
            total = fold(problem, frame)[0, 0]
            x[n, c] = total if kernel.bias is None else total + kernel.bias[c]


def _met(axis: Axis, tap: int) -> tuple[slice, slice]:
    """The outputs that tap `tap` lays on the frame, and where they go."""
    (a, b), at = axis.frame, axis.start + tap * axis.dilation
    first, last = max(-((at - a) // axis.stride), 0), min((b - 1 - at) // axis.stride + 1, axis.out)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    goal = at + first * axis.stride - a
    return slice(first, last), slice(goal, goal + (last - first - 1) * axis.stride + 1, axis.stride)


def frame_size(problem: Problem) -> int:
    """Elements of what is made before it is folded back, and of the buffers that NumPy adds with; 0 where nothing is."""
    problem_x, folding = back(problem)
    return problem.batch * problem.inputs * prod(problem_x.out) + BUFFERS if any(folding) else 0


@contextmanager
def beside(held: int, max_memory: int | None) -> Iterator[int | None]:
    """What is left of the memory beside `held` bytes, 1 at least; a refusal tells of both."""
    try:
        yield None if max_memory is None else max(max_memory - held, 1)
    except MemoryLimit as error:
        if not held:
            raise
        least = error.least + held
        raise MemoryLimit(
            f"max_memory={max_memory} bytes is too little: the least that would do is {least} bytes ({size(least)}), {held} of them for "
            "what the boundary folds back.",
            least,
        ) from None


def fold(problem: Problem, frame: Any) -> Any:
    """The part of the frame that stands on samples, with all else added to the samples that it repeats (in place)."""
    lib = family(frame).lib
    for i, axis in enumerate(problem.axes, start=2):
        before = (slice(None),) * i
        start = -axis.frame[0]
        core = frame[(*before, slice(start, start + axis.n))]
        for at, run in axis.folds():
            piece = frame[(*before, slice(at, at + run.length))]
            if run.step == 0:
                core[(*before, slice(run.first, run.first + 1))] += piece.sum(i, keepdims=True)
            elif run.step == 1:
                core[(*before, slice(run.first, run.first + run.length))] += piece
            else:
                core[(*before, slice(run.first - run.length + 1, run.first + 1))] += lib.flip(piece, (i,))
        frame = core
    return frame


def weigh(problem: Problem, x: Array, z: Array, w: Array, cval: complex, how: How, gate: Array | None = None) -> None:
    """Write w (O, C/G, *K): what z makes of the kernel that slid over x.

    Either z slides over x as a kernel, or block by block of z its windows are multiplied with it, whichever is faster.
    """
    if problem.planes:
        assert gate is not None
        _weigh_gated(problem, x, z, gate, w, how)
        return
    f = family(x)
    if 0 in z.shape:
        w[...] = 0
        return
    across = problem.adjoint_w()
    crew = workers()
    slid, laid = choose(across._replace(finite=True), "auto", how.max_memory, crew), choose(problem, "gemm", how.max_memory, crew)
    if slid.seconds < laid.seconds:
        n, c = x.shape[:2]
        groups = problem.groups
        turned_x = x.reshape(n, groups, c // groups, *x.shape[2:]).swapaxes(0, 2).reshape(c // groups, groups * n, *x.shape[2:])
        across = across._replace(straight=isinstance(x, np.ndarray) and readable(x.dtype, across.dtype) and sound(turned_x))
        carry_out(across, turned_x, Weights(z.swapaxes(0, 1)), w.swapaxes(0, 1), cval, False, how)
        return
    each = problem.outputs // problem.groups
    boxes = laid.boxes or (problem.whole,)
    sums: dict[int, Array] = {}
    kind = f"complex{w.itemsize * 8}" if str(w.dtype).rpartition(".")[2].startswith("complex") else problem.dtype

    total = f.cast(f.zeros((problem.groups, each, problem.taps), w), kind)

    def one(number: int) -> None:
        runs, part = problem.part(boxes[number])
        (first, last), *rest = boxes[number]
        tile = f.fill(f.take(x[first:last], runs), part.axes, kind, cval)
        block = f.lib.moveaxis(cut(z[first:last], [slice(o, p) for o, p in rest]), 1, 0).reshape(problem.groups, each, -1)
        with np.errstate(all="ignore"):
            sums[number] = f.lib.stack([f.cast(block[g], kind) @ rows(part, tile, g) for g in range(problem.groups)])

    for start in range(0, len(boxes), HELD):  # in waves, each added up in order: the same bits on any number of threads
        wave = range(start, min(start + HELD, len(boxes)))
        share(one, wave, laid.workers)
        for number in wave:
            total += sums.pop(number)
    f.give(total.reshape(w.shape), w)


def _reverse_gated(problem: Problem, z: Array, kernel: Weights, x: Array, how: How) -> None:
    if problem.home == "cuda":
        gather.backward_x(problem, kernel, z, x)
        return
    plan = choose(problem, "gated", how.max_memory, workers())

    def bands(one: Callable[[int, int, int], None], rows: int) -> None:
        height = problem.axes[0].n
        places = [(n, top, min(top + rows, height)) for n in range(problem.batch) for top in range(0, height, rows)]
        share(lambda place: one(*place), places, plan.workers)

    gated.backward_x(problem, kernel, z, x, bands, how.max_memory is None)


def _weigh_gated(problem: Problem, x: Array, z: Array, gate: Array, w: Array, how: How) -> None:
    if problem.home == "cuda":
        gather.backward_w(problem, x, z, gate, w)
        return
    plan = choose(problem, "gated", how.max_memory, workers())

    def bands(one: Callable[[int, int, int, int], None], rows: int) -> None:
        height = problem.out[0]
        places = [(n, top, min(top + rows, height)) for n in range(problem.batch) for top in range(0, height, rows)]

        def several(into: int) -> None:
            for place in places[into :: gated.SUMS]:
                one(*place, into)

        share(several, range(gated.SUMS), plan.workers)

    gated.backward_w(problem, x, z, gate, w, bands, how.max_memory is None)
