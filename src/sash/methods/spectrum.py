"""Blocks through the frequency domain: what fft and polyphase share.

    tile (N, C, *T)   phases (N, C*P, *L)   spectrum (O, C/G*P, *F)   y (N, O, *out)
Per axis that is transformed: s phases (1 for fft), A = samples that the kernel reaches in one phase, L = a fast
length of at least m + A - 1 for m outputs.  Circular correlation of length L is right at its first L - A + 1
positions (overlap-save: Oppenheim & Schafer, Discrete-Time Signal Processing, section 8.7.3).
Imports: arrays, SciPy's transforms.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import frexp, inf, log2, nan, prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.arrays import family
from sash.arrays.numpy_ import Array, cut
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.machine import Machine
from sash.methods.method import GATED, Cost
from sash.problem import Problem

EXACT = 36
"""Integer results of up to this many bits are recovered by rounding: the error of blocks of up to 2**22 samples,
eps * log2(2**22) * sqrt(2**22) * 2**36 < 1/4 in float64."""

SIDE, SLOW = 8, 2.5
"""Lines transformed side by side where only one axis is; fewer take so many times as long each."""

CROWDED = 1.25
"""Transforms leave the second-level cache, and threads share what lies behind it (two cores: 1.2 to 1.5)."""

LITTLE = 4
"""Length of the shortest axis of a transform at which each sample takes twice as long."""

SHORT = 16
"""Samples of the last axis at which dealing out phases, a row at a time, takes twice as long for each."""

TOGETHER = 1 << 16
"""Samples that one call transforms, about, where there are more channels."""


def refuses(problem: Problem) -> str:
    if problem.planes:
        return GATED
    if problem.reduce != "product":
        return f"{problem.reduce} differences have no transform"
    if problem.elementwise:
        return "a transform spreads rounding errors over the block: no elementwise bound"
    if not problem.finite:
        return "the kernel may hold NaN or infinity, which a transform would spread"
    if problem.bits > EXACT:
        return f"results may need {problem.bits} bits, and rounding recovers {EXACT}"
    if all(a.size == 1 for a in problem.axes):
        return "the kernel has one tap: there is nothing to transform"
    return ""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How one axis goes through the transform."""

    axis: int
    phases: tuple[int, ...]
    """Which phases any tap reads."""
    s: int
    stride: int
    """Stride that is left to take after the inverse."""
    reach: int
    length: int


def _fold(axis: Axis, phased: bool) -> tuple[int, int, int]:
    """(s, A, stride left over)."""
    s = axis.stride if phased else 1
    return s, (axis.reach - 1) // s + 1, axis.stride // s


def _length(axis: Axis, m: int, phased: bool) -> int:
    """The fast transform length for m outputs of this axis."""
    _, reach, stride = _fold(axis, phased)
    return fast_length((m - 1) * stride + reach)


@lru_cache(maxsize=4096)
def fast_length(n: int) -> int:
    """The least 2^a 3^b 5^c times 1, 7, 11, 49, 77, 121 or 343 of at least n.

    >>> [fast_length(n) for n in (1, 13, 97, 1000, 1025)]
    [1, 14, 98, 1000, 1029]
    """
    n = max(n, 1)
    best = 1 << (n - 1).bit_length()
    for odd in (1, 7, 11, 49, 77, 121, 343):
        five = odd
        while five < best:
            three = five
            while three < best:
                rest = -(-n // three)
                best = min(best, three << (rest - 1).bit_length())
                three *= 3
            five *= 5
    return best


def cost(problem: Problem, machine: Machine, limit: float, phased: bool) -> Cost:
    """The cheapest block, among some sizes per axis, that fits into the limit (else the smallest)."""
    dtype = "float64" if problem.bits else problem.dtype
    item = 4 if dtype == "float32" else 8
    folds = {i: _fold(a, phased) for i, a in enumerate(problem.axes) if a.size > 1}
    channels = problem.inputs // problem.groups * prod(len(_used(problem.axes[i], f[0])) for i, f in folds.items())
    pairs = channels * problem.outputs
    choices = [_candidates(axis, *folds[i]) if i in folds else [1] for i, axis in enumerate(problem.axes)]
    best: tuple[bool, float, Cost] | None = None
    for block in product(*choices):
        points = transform = prod(_length(problem.axes[i], block[i], phased) for i in folds)
        tile = _with_idle(
            problem, (1, *block), folds.keys(), machine.cache / (4 * points * item * (channels * problem.groups + problem.outputs))
        )
        idle = prod(n for i, n in enumerate(tile) if i - 1 not in folds)
        parts = 1
        if len(folds) == 1 and idle < SIDE and problem.home != "cuda":
            block, tile, parts = _side_by_side(problem, block, tile, *folds)
            transform = prod(_length(problem.axes[i], block[i], phased) for i in folds)
        points = transform * idle * parts
        volume = problem.groups * channels + problem.outputs
        read = problem.groups * channels * (2 if phased else 1)  # samples, and their phases
        scratch = points * item * (read + 3 * _together(problem.groups * channels, points) + 4 * problem.outputs)
        shared = (pairs + 4 * _together(pairs, transform)) * transform * item
        tiles = problem.count(tile)
        place = "fft" if transform * item * 4 < machine.cache else "fft.large"
        slow = (
            SLOW
            if len(folds) == 1 and idle * parts < SIDE
            else 1 + LITTLE / min([_length(problem.axes[i], block[i], phased) for i in folds])
        )
        work = {
            f"{place}.{dtype}": (tiles * volume * points * slow + pairs * transform) * log2(max(transform, 2)),
            f"fft.multiply.{dtype}": tiles * pairs * points,
            "fft.call": tiles * (2 * pairs - 1),
            "fft.phase": problem.samples * (1 + SHORT / problem.axes[-1].n) if phased else 0,
            "copy.sample": problem.samples,
            "fft.block": tiles + 1,  # and one for the kernel
        }
        seconds = machine.seconds(work)
        note = "x".join(str(_length(problem.axes[i], block[i], phased)) for i in folds) + (f", {parts} side by side" if parts > 1 else "")
        found = Cost(work, scratch, shared, tile, note, parts, CROWDED)
        fits = scratch + shared <= limit
        rank = (fits, -seconds if fits else -float(scratch + shared), found)
        if best is None or rank[:2] > best[:2]:
            best = rank
    assert best is not None
    return best[2]


def _side_by_side(problem: Problem, block: tuple[int, ...], tile: tuple[int, ...], i: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(block, tile of so many of them, how many): lines of one axis, which SciPy makes several of at a time."""
    out = problem.axes[i].out
    parts = min(SIDE, -(-out // block[i]))
    whole = -(-out // -(-out // (parts * block[i])))
    each = -(-whole // parts)
    return (*block[:i], each, *block[i + 1 :]), (*tile[: i + 1], whole, *tile[i + 2 :]), parts


def _together(count: int, points: int) -> int:
    """Channels transformed at a time: few enough to stay in cache, many enough that calls cost little."""
    return min(count, max(TOGETHER // points, 1))


def _used(axis: Axis, s: int) -> tuple[int, ...]:
    """Phases that some tap reads."""
    return tuple(sorted({t * axis.dilation % s for t in range(min(axis.size, s))}))


def _candidates(axis: Axis, s: int, reach: int, stride: int) -> list[int]:
    """Numbers of outputs per block worth trying, each filling its transform."""
    full = (axis.out - 1) * stride + 1
    found = set()
    for factor in (2, 3, 5, 8, 16, 0):
        length = fast_length(max(factor * reach, 32)) if factor else full + reach - 1
        dense = min(length - reach + 1, full)
        count = -(-axis.out // ((dense - 1) // stride + 1))
        found.add(-(-axis.out // count))
    return sorted(found)


def _with_idle(problem: Problem, block: tuple[int, ...], folded: Collection[int], room: float) -> tuple[int, ...]:
    """The block, with as many positions of the axes that are not transformed as there is room for."""
    tile = list(block)
    for i, n in reversed(list(enumerate((problem.batch, *problem.out)))):
        if i - 1 not in folded:
            tile[i] = max(min(n, int(room)), 1)
            room /= tile[i]
    return tuple(tile)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The kernel's conjugate spectrum for blocks of one length, and the kernel itself for repairs."""

    values: Array
    geometry: tuple[Geometry, ...]
    w: Array
    dtype: str
    """Computed in."""
    each: int
    """Outputs of each of the pieces that are transformed side by side; 0: a block is one piece."""


def prepare(problem: Problem, weights: Weights, cost: Cost, phased: bool) -> Spectrum:
    geometry, each = [], 0
    for i, axis in enumerate(problem.axes):
        if axis.size > 1:
            s, reach, stride = _fold(axis, phased)
            each = -(-cost.tile[i + 1] // cost.parts)
            geometry.append(Geometry(i, _used(axis, s), s, stride, reach, _length(axis, each, phased)))
    dtype = "float64" if problem.bits else problem.dtype
    w = weights.dense
    each = each if cost.parts > 1 else 0
    key = (tuple(geometry), dtype, each)
    found: Spectrum | None = weights.kept.get(key)
    if found is None:
        found = Spectrum(_spectrum(problem, family(w).cast(w, dtype), tuple(geometry)), tuple(geometry), w, dtype, each)
        if not weights.spread:  # those outlive the call, and spectra are large
            weights.kept[key] = found
    return found


def _spectrum(problem: Problem, w: Array, geometry: Sequence[Geometry]) -> Array:
    """w (O, C/G, *K) to its conjugate spectrum (O, C/G*P, *F)."""
    f = family(w)
    axes, lengths = _in_order(geometry)
    values: Any = None
    pairs = w.reshape(w.shape[0] * w.shape[1], 1, *w.shape[2:])
    step = _together(len(pairs), prod(lengths))
    for first in range(0, len(pairs), step):
        some = pairs[first : first + step]
        spread = f.zeros((*some.shape[:2], *_spans(problem, geometry)), w)
        cut(spread, [slice(0, a.reach, a.dilation) for a in problem.axes])[...] = some
        found = f.rfftn(_split(spread, geometry), lengths, axes)
        found.imag *= -1
        if step >= len(pairs):
            values = found
        else:
            values = f.empty((len(pairs), *found.shape[1:]), found) if values is None else values
            values[first : first + step] = found
    return values.reshape(w.shape[0], w.shape[1] * values.shape[1], *values.shape[2:])  # type: ignore[no-any-return]


def _in_order(geometry: Sequence[Geometry]) -> tuple[list[int], list[int]]:
    """(axes, lengths) as transforms want them: the last, which is the real one, is the longest."""
    ordered = sorted(geometry, key=lambda g: g.length)
    return [g.axis + 2 for g in ordered], [g.length for g in ordered]


def _spans(problem: Problem, geometry: Sequence[Geometry]) -> list[int]:
    spans = [1] * len(problem.axes)
    for g in geometry:
        spans[g.axis] = g.reach * g.s
    return spans


def _split(x: Array, geometry: Sequence[Geometry]) -> Array:
    """(N, C, *T) to its phases (N, C*P, *L); a view where there is one phase."""
    if all(g.s == 1 for g in geometry):
        return x
    shape = list(x.shape)
    for g in geometry:
        shape[g.axis + 2] = -(-x.shape[g.axis + 2] // g.s)
    count = prod(len(g.phases) for g in geometry)
    z: Array = family(x).zeros((shape[0], shape[1], count, *shape[2:]), x)
    for p, phases in enumerate(product(*(g.phases for g in geometry))):
        every: list[Any] = [slice(None)] * (x.ndim - 2)
        for g, b in zip(geometry, phases, strict=True):
            every[g.axis] = slice(b, None, g.s)
        piece = cut(x, every)
        cut(z[:, :, p], [slice(0, n) for n in piece.shape[2:]])[...] = piece
    return z.reshape(shape[0], shape[1] * count, *shape[2:])


def run(problem: Problem, x: Array, prepared: Spectrum, y: Array, cval: float) -> None:
    f = family(x)
    tile = f.fill(x, problem.axes, prepared.dtype, cval)
    tile = cut(tile, [slice(None, None, a.stride if a.size == 1 else 1) for a in problem.axes])
    if prepared.each:
        (g,) = prepared.geometry
        pieces, inner = _pieces(problem, tile, g.axis, prepared.each)
        aside = replace(prepared, geometry=(replace(g, axis=g.axis + 1),), w=prepared.w[:, :, None])
        result = f.lib.moveaxis(_sound(inner, pieces, aside), 2, g.axis + 2)
        shape = (*result.shape[: g.axis + 2], -1, *result.shape[g.axis + 4 :])
        result = cut(result.reshape(shape), [slice(0, n) for n in problem.out])
    else:
        result = _sound(problem, tile, prepared)
    f.give(result, y)


def _pieces(problem: Problem, tile: Array, i: int, each: int) -> tuple[Array, Problem]:
    """Pieces of `each` outputs along axis i, as an axis of their own in front, and the problem of them."""
    axis, at = problem.axes[i], i + 2
    count, length = -(-axis.out // each), (each - 1) * axis.stride + axis.reach
    missing = (count * each - axis.out) * axis.stride
    if missing:
        wide = np.zeros((*tile.shape[:at], tile.shape[at] + missing, *tile.shape[at + 1 :]), tile.dtype)
        cut(wide, [slice(0, n) for n in tile.shape[2:]])[...] = tile
        tile = wide
    shape = (*tile.shape[:2], count, *tile.shape[2:at], length, *tile.shape[at + 1 :])
    steps = (*tile.strides[:2], each * axis.stride * tile.strides[at], *tile.strides[2:])
    line = axis._replace(n=length, start=0, stop=length)
    axes = (Axis(count, 1, 1, 1, 0, count, "zero"), *problem.axes[:i], line, *problem.axes[i + 1 :])
    return as_strided(tile, shape, steps, writeable=False), problem._replace(axes=axes)


def _sound(problem: Problem, tile: Array, prepared: Spectrum) -> Array:
    """The block, its NaN and infinities where they belong."""
    result = _apply(problem, tile, prepared.values, prepared.geometry)
    return result if family(tile).lib.isfinite(result.sum()) else _repair(problem, tile, prepared)


def _apply(problem: Problem, tile: Array, values: Array, geometry: Sequence[Geometry]) -> Array:
    """Transform, multiply, sum over channels and phases, transform back: (N, O, *out)."""
    f = family(tile)
    axes, lengths = _in_order(geometry)
    split = _split(tile, geometry)
    channels, each = values.shape[1], problem.outputs // problem.groups
    if channels == problem.outputs == 1:
        total = f.rfftn(split, lengths, axes)
        total *= values
    else:
        total = term = None
        slid = {0, 1, *axes}
        step = _together(split.shape[1], prod(lengths) * split.shape[0] * prod([n for i, n in enumerate(split.shape) if i not in slid]))
        for first in range(0, split.shape[1], step):
            spectra = f.rfftn(split[:, first : first + step], lengths, axes)
            if total is None:
                total = f.empty((spectra.shape[0], problem.outputs, *spectra.shape[2:]), spectra)
                term = f.lib.empty_like(total[:, 0])
            for p in range(spectra.shape[1]):
                group, q = divmod(first + p, channels)
                for o in range(group * each, group * each + each):
                    if q:
                        total[:, o] += f.lib.multiply(spectra[:, p], values[o, q], out=term)
                    else:
                        f.lib.multiply(spectra[:, p], values[o, 0], out=total[:, o])
    valid = [slice(0, n) for n in problem.out]
    for g in geometry:
        valid[g.axis] = slice(0, (problem.out[g.axis] - 1) * g.stride + 1, g.stride)
    result: Array = f.irfftn(total, lengths, axes, [valid[i - 2].stop for i in axes])
    return cut(result, valid)


def _repair(problem: Problem, tile: Array, prepared: Spectrum) -> Array:
    """The block with its NaN and infinities kept where they belong, and without overflow.

    The finite samples go through in float64, scaled; then which outputs cover a NaN or an infinity of which sign is
    counted by transforms of zeros and ones, which rounding makes exact.
    """
    geometry, w = prepared.geometry, prepared.w

    def through(samples: Array, kernel: Array) -> Array:
        return _apply(problem, f.cast(samples, "float64"), _spectrum(problem, f.cast(kernel, "float64"), geometry), geometry)

    f = family(tile)
    lib = f.lib
    finite = lib.isfinite(tile)
    clean = f.cast(lib.where(finite, tile, 0), "float64")
    scale = 2.0 ** (frexp(float(abs(clean).max()))[1] - 1)
    tall = 2.0 ** (frexp(float(abs(w).max()))[1] - 1)
    result: Array = through(clean / scale, w / tall) * scale * tall
    if finite.all():
        return result
    plus, minus, lost = tile == inf, tile == -inf, lib.isnan(tile)
    up = through(plus, w > 0) + through(minus, w < 0) > 0.5
    down = through(plus, w < 0) + through(minus, w > 0) > 0.5
    lost_there = through(lost, lib.ones_like(w)) + through(plus | minus, w == 0) > 0.5
    result[up], result[down] = inf, -inf
    result[lost_there | (up & down)] = nan
    return result
