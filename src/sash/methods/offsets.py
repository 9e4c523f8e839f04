"""Where a window's taps lie in a tile, as tables of offsets: rank, channels, stride and dilation, for one kernel each.

tile (N, C, *T)   w, v (O, taps)   y (N, O, *out)       Imports: arrays, kernels, phases.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.accuracy import CHUNK, EXACT_BITS
from sash.arrays import family
from sash.arrays.numpy_ import Array, flat, give, lies_well, packed, storable
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.methods.phases import offsets, phases
from sash.problem import REDUCTIONS, Problem

STRIP = 32
"""Blocks at the two ends of a row are at least this long: shorter ones waste the SIMD lanes."""

JOINED = 4
"""Outputs of rows that are joined, at least."""

DRAWN = 24
"""Vectors of terms that take as long as drawing a row out of joined ones."""

ALL = slice(None)

COUPLED = REDUCTIONS.index("absolute") + 2
"""Absolute differences that all weigh 1, of which `pairs` is asked."""

_ONES = {np.dtype(name).char: np.ones(1, name) for name in EXACT_BITS}


class Kernel(NamedTuple):
    """w and v, contiguous; v weighs the differences, None where all weigh 1.

    `banks`: the weights of blocks of outputs side by side, for every piece of a long sum; none where outputs are made one by one.
    """

    w: Array
    v: Array | None = None
    banks: tuple[Array, ...] = ()

    def piece(self, t: int, most: int) -> Kernel:
        """Taps t to t + most, t being a multiple of `most`."""
        w, v = [None if a is None else np.ascontiguousarray(a[:, t : t + most]) for a in (self.w, self.v)]
        assert w is not None
        return Kernel(w, v, self.banks[t // most : t // most + 1])


def plain(problem: Problem, weights: Weights) -> Kernel:
    """The weights as rows, for any family of arrays."""
    f = family(weights.dense)
    mask = None if weights.mask is None else _rows(f.cast(weights.mask, problem.dtype), problem.outputs)
    return Kernel(_rows(f.cast(weights.dense, problem.dtype), problem.outputs), mask)


def _rows(w: Array, outputs: int) -> Array:
    w = w.reshape(outputs, -1)
    return np.ascontiguousarray(w) if isinstance(w, np.ndarray) else w


def shares_samples(problem: Problem) -> bool:
    """Several outputs are sums of products of the same samples."""
    return problem.outputs > problem.groups and problem.reduce == "product" and problem.dtype != "int64"


def banks(problem: Problem, w: Array) -> tuple[Array, ...]:
    """`Kernel.banks` of w."""
    if not shares_samples(problem):
        return ()
    from sash.kernels.cpu.bank import pack

    most = CHUNK[problem.elementwise]
    return tuple([pack(w[:, t : t + most], problem.groups) for t in range(0, w.shape[1], most)])


def slide(problem: Problem, tile: Array, kernel: Kernel, y: Array, dealt: bool = False) -> None:
    """Write y from a tile that holds the extension of x, by phases if `dealt`; only sizes, strides and dilations are read."""
    from sash.kernels.cpu import bank

    w = kernel.w
    most = CHUNK[problem.elementwise]
    long = w.shape[1] > most and w.dtype != np.int64
    fits = not long and (y.dtype == w.dtype or storable(problem.dtype, y.dtype, problem.bits > 0))
    kept = (y.strides, y.itemsize) if fits else (None, w.itemsize)
    apart = long or w.dtype == np.int64 or len(kernel.banks) > 0
    how = _how(problem.axes, problem.groups, not apart, dealt, tile.itemsize, tile.shape, tile.strides, y.shape, *kept)
    if how.copies:
        tile = np.ascontiguousarray(tile)
    target = y if how.in_place else np.empty(y.shape, w.dtype)
    if problem.axes[how.last].stride > 1 and not dealt:
        tile = phases(tile, problem.axes, how.last, w.dtype)
    t = how.tables or tabulated(*how.geometry)
    source, goal = flat(tile), flat(target)
    banked = len(kernel.banks) > 0 and t.n >= bank.NARROW
    if not long:
        settled_sum(problem, t, banked)(source, kernel, goal)
    else:
        from sash.kernels.cpu.moves import added
        from sash.kernels.cpu.simd import block, sized

        rest, piece, add = np.zeros_like(goal), np.empty_like(goal), sized(added, block(goal.itemsize).lanes)
        for i in range(0, w.shape[1], most):
            some = settled_sum(problem, t._replace(off=t.off[i : i + most]), banked)
            some(source, kernel.piece(i, most), piece if i else goal)
            if i:
                add(goal, piece, rest)
        goal += rest
    if target is not y:
        give(target, y)


def settled_sum(problem: Problem, t: Tables, banked: bool) -> Callable[[Array, Kernel, Array], None]:
    """One running sum for every output, by the kernel that loads least: sum(x, kernel, y), x and y flat; `banked`: by `Kernel.banks`."""
    from sash.kernels.cpu import bank, couples
    from sash.kernels.cpu.rows import settled

    item, op = np.dtype(problem.dtype).itemsize, REDUCTIONS.index(problem.reduce)
    if banked:
        heads = bank.heads(len(t.step), problem.groups, item)
        where = (t.at, t.to, t.base[heads], t.step[heads], t.off)
        made = bank.settled(item, len(t.step) // problem.groups, where, int(t.step[1]), t.n)
        return lambda x, kernel, y: made(x, kernel.banks[0], y)
    one = _ONES[np.dtype(problem.dtype).char]
    ready: dict[bool, Callable[[Array, Array, Array, Array], None]] = {}

    def total(x: Array, kernel: Kernel, y: Array) -> None:
        w, v = kernel.w.reshape(-1), kernel.v
        plain = v is None
        if plain not in ready:  # weighed or not is seen at the first call
            kind = op + 2 if plain and op else op
            pair = kind == COUPLED and couples.available() and pairs(problem)
            ready[plain] = couples.settled(item, t) if pair else settled(item, t, kind)
        ready[plain](x, w, (one if op else w) if v is None else v.reshape(-1), y)

    return total


def settled_rows(
    problem: Problem, axes: tuple[Axis, ...], shape: tuple[int, ...], lies: tuple[int, ...], out: tuple[int, ...], goals: tuple[int, ...],
    last: int, first: int = 0, goal: int = 0, taps: slice = ALL,
) -> Callable[[Array, Kernel, Array], None]:  # fmt: skip
    """`settled_sum` where x lies as told from `first` on, and y from `goal` on; rows along `last`, joined where that is faster.

    taps: those of a piece of a long sum, in order.
    """
    from sash.kernels.cpu import bank
    from sash.kernels.cpu.simd import sized

    shares, n, rows, pitch = shares_samples(problem), prod(out[last + 2 :]), out[last + 1], lies[last + 1]
    item = np.dtype(problem.dtype).itemsize
    if not (shares and last and last == len(axes) - 1 and joins(problem._replace(axes=axes), rows, n, pitch)):
        rows_too = problem.dtype != "int64" and not shares and shares_rows(axes) and last == last_axis(axes) and n >= STRIP
        t = tabulated(axes, problem.groups, rows_too, shape, lies, out, goals, last)
        return settled_sum(problem, t._replace(at=t.at + first, to=t.to + goal, off=t.off[taps]), shares and n >= bank.NARROW)
    joined = (*out[: last + 1], 1, (rows - 1) * pitch + n)
    if pitch == n == goals[last + 1]:  # nothing lies between them
        t = tabulated(axes, problem.groups, False, shape, lies, joined, goals, last)
        return settled_sum(problem, t._replace(at=t.at + first, to=t.to + goal, off=t.off[taps]), True)
    images, *beside = packed((out[0], *out[2 : last + 2], pitch), 1)
    t = tabulated(axes, problem.groups, False, shape, lies, joined, (images, images * out[0], *beside), last)
    made, draw = settled_sum(problem, t._replace(at=t.at + first, off=t.off[taps]), True), sized(bank.drawn, bank.lanes(n, item))
    to = offsets([(out[0], goals[0]), *zip(out[2:-1], goals[2:-1], strict=True)]) + goal
    step, size = np.arange(out[1]) * goals[1], out[1] * len(to) * pitch

    def total(x: Array, kernel: Kernel, y: Array) -> None:
        held = np.empty(size, y.dtype)
        made(x, kernel, held)
        draw(held, pitch, y, to, step, n)

    return total


def joins(problem: Problem, rows: int, n: int, pitch: int, lanes: int = 0) -> bool:
    """Rows of n outputs, `pitch` samples apart, are made as one, with what lies between: of fewer vectors (14: 7 of 8 lanes filled,
    not 7 of 16), if they outweigh drawing the rows out of it."""
    axes, taps = problem.axes, problem.taps
    if len(axes) < 2 or rows < 2 or n < JOINED or not all([a.stride == a.upsample == 1 for a in axes[-2:]]):
        return False
    if not lanes:
        from sash.kernels.cpu.simd import block

        lanes = len(block(problem.itemsize).lanes)
    whole = (rows - 1) * pitch + n
    apart, joined = [-(-m // min(lanes, 1 << m.bit_length() - 1)) for m in (n, whole)]
    return (rows * apart - joined) * taps > DRAWN * rows * (pitch > n) and 9 * joined < 8 * rows * apart


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
    dealt: bool,
    item: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    out: tuple[int, ...],
    goal: tuple[int, ...] | None,
    stored: int,
) -> _How:
    last = last_axis(axes)
    copies = not lies_well(shape, strides, item, last + 2)
    if axes[last].stride > 1 and not dealt:
        s, at = axes[last].stride, last + 2
        shape = (*shape[:at], s, -(-shape[at] // s), *shape[at + 1 :])
        strides = packed(shape, item)
    elif copies:
        strides = packed(shape, item)
    in_place = goal is not None and lies_well(out, goal, stored, last + 2)
    ys = tuple([s // stored for s in goal]) if goal is not None and in_place else packed(out, 1)
    share = shares and shares_rows(axes) and out[last + 2] >= STRIP
    geometry = (axes, groups, share, shape, tuple([s // item for s in strides]), out, ys)
    small = prod(out[: last + 2 - share]) // (1 if share else out[1]) <= 8192
    return _How(copies, in_place, last, geometry, tabulated(*geometry) if small else None)


def tables(*told: Any) -> Tables:
    """Those of `slide`, which lie in memory as `told` to _how."""
    how = _how(*told)
    return how.tables or tabulated(*how.geometry)


def last_axis(axes: tuple[Axis, ...]) -> int:
    """The axis whose positions make up a row: the last one that the window slides over."""
    active = [i for i, a in enumerate(axes) if a.size > 1 or a.stride > 1]
    return active[-1] if active else len(axes) - 1


def shares_rows(axes: tuple[Axis, ...]) -> bool:
    """The last two axes slide by one and are not dilated across rows: neighbouring rows read the same samples."""
    last = last_axis(axes)
    return axes[last].stride == 1 and last > 0 and axes[last - 1].stride == axes[last - 1].dilation == 1 and axes[last - 1].size > 1


def pairs(problem: Problem) -> bool:
    """Absolute differences are summed two taps at a time: whatever the block, so that its size does not change the bits.

    Not where the stronger promise holds (x0 + x1 is rounded before w0 + w1 is taken away), nor in long sums, made of pieces.
    """
    last = last_axis(problem.axes)
    floats = problem.dtype != "int64" and not problem.elementwise and problem.taps <= CHUNK[problem.elementwise]
    return floats and shares_rows(problem.axes) and problem.axes[last - 1].size > 2 and problem.axes[last].size > 1


class Tables(NamedTuple):
    """Offsets for the kernels, in elements (see kernels/cpu/taps.py and rows.py for the letters)."""

    at: Array
    to: Array
    base: Array
    step: Array
    off: Array
    outer: Array
    n: int
    m: int
    h: int
    k: int
    d: int
    xp: int
    yp: int


def tabulated(
    axes: tuple[Axis, ...],
    groups: int,
    share: bool,
    shape: tuple[int, ...],
    xs: tuple[int, ...],
    out: tuple[int, ...],
    ys: tuple[int, ...],
    last: int | None = None,
) -> Tables:
    """For x and y of these shapes and steps; `last`: the axis that rows lie along, if not `last_axis`."""
    last = last_axis(axes) if last is None else last
    axis = axes[last]
    c = prod(out[last + 3 :])
    n = out[last + 2] * c
    # offsets of the taps of the last axis: phase t*d % s, sample t*d // s
    t = np.arange(axis.size) * axis.dilation
    if axis.stride > 1:
        columns = (t % axis.stride) * xs[last + 2] + (t // axis.stride) * c
    else:
        columns = t * c
    inputs, outputs = shape[1] // groups, out[1]
    leading = [(inputs, xs[1])] + [(a.size, a.dilation * xs[i + 2]) for i, a in enumerate(axes[:last])]
    off = offsets(leading)
    positions = [(out[0], xs[0], ys[0])] + [(out[i + 2], a.stride * xs[i + 2], ys[i + 2]) for i, a in enumerate(axes[:last])]
    if share:
        positions.pop()
    group = np.arange(outputs) // (outputs // groups)
    return Tables(
        at=offsets([(count, x) for count, x, _ in positions]),
        to=offsets([(count, y) for count, _, y in positions]),
        base=group * inputs * xs[1],
        step=np.arange(outputs) * ys[1],
        off=np.add.outer(off, columns).reshape(-1),
        outer=offsets(leading[:-1]) if share else off,
        n=n,
        m=out[last + 1] if share else 0,
        h=axes[last - 1].size if share else 1,
        k=axis.size,
        d=axis.dilation * c,
        xp=xs[last + 1] if share else 0,
        yp=ys[last + 1] if share else 0,
    )
