"""Scores made of sums over windows: of the image, of its square, and of its product with the template.

    x (1, C, *S)   t, m (O, C, *K), m or one number   y (1, O, *out)
Every block of the output is made on its own: its part of x is copied in float64 and centred on its median, which no
difference and no variance can feel, so large offsets cost no digits.   Imports: running, planning, problem, arrays.
Source: Lewis 1995, Fast Normalized Cross-Correlation, with weights as in Padfield 2012, doi:10.1109/TIP.2011.2181402.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, fill, take
from sash.arrays.weights import Weights
from sash.errors import MemoryLimit
from sash.machine import machine
from sash.methods import named
from sash.planning import choose
from sash.plans import Plan
from sash.problem import Problem
from sash.running import run
from sash.tiles import workers

HELD = 20 << 20
"""Bytes that the arrays of one block may take, unless the template is nearly as large."""

ENGINE = 12 << 20
"""Bytes that the engine may use within a block, unless told otherwise."""

EPS = float(np.finfo(np.float64).eps)

SPREAD, MASKED_SPREAD = 1e6, 1e4
"""Largest sample of a block, in units of the typical one, up to which transforms are used: their error is eps times
the largest for sums of products, and eps times its square for sums of squares under a mask."""

SAMPLES = 4096
"""Samples of a block that its centre and its typical size are taken from."""

NOISE = 64 * EPS
"""Variance below this share of the mean square is rounding: the side has none."""


def correlation(problem: Problem) -> Problem:
    """The sum of products at the heart of these scores."""
    return problem._replace(reduce="product", dtype="float64", source="float64", result="float64", finite=True, straight=True)


def worth_expanding(problem: Problem, method: str) -> bool:
    """Whether (x-t)^2 is better summed as x^2 - 2xt + t^2: where a fast correlation beats summing differences."""
    if problem.elementwise:
        return False
    if method != "auto":
        return bool(named(method).refuses(problem))
    cores = machine().cores  # not `workers()`: fewer threads must give the same bits
    differences = choose(problem, "auto", None, cores)
    return 1.5 * choose(correlation(problem), "auto", None, cores).seconds < differences.seconds


def score_by_moments(
    metric: str, problem: Problem, x: Array, t: Array, m: Array, y: Array, span: float, *, method: str, max_memory: int | None
) -> None:
    """Write ssd, ncc or zncc, block by block."""
    if not x.shape[2:]:
        x, y = x[..., None], y[..., None]
    tile, rest = _blocks(problem, max_memory)
    _check_room(problem, tile, method, max_memory, rest)
    weights = np.broadcast_to(m.astype(np.float64), t.shape)
    inner = tuple(range(1, t.ndim))
    n = weights.sum(axis=inner, keepdims=True)
    dense = t.astype(np.float64)
    mean = (weights * dense).sum(axis=inner, keepdims=True) / n if metric == "zncc" else np.zeros_like(n)
    dense = dense - mean
    power = (weights * dense**2).sum(axis=inner, keepdims=True)
    power[power <= n * (8 * EPS * mean) ** 2] = 0  # all that is left of a constant template is rounding
    template = Template(dense, weights, m.ndim > 0, n.reshape(-1), power.reshape(-1))
    for box in problem.grid(tile):
        runs, part = problem.part(box)
        out = y[(slice(None), slice(None), *(slice(o, p) for o, p in box[1:]))]
        with np.errstate(all="ignore"):  # NaN and infinities are results like others
            out[...] = _block(metric, part, take(x, runs), template, span, method, rest)


class Template(NamedTuple):
    """What is the same for every block: t (centred for zncc), m, and sums of m and m t^2, one per template."""

    dense: Array
    weights: Array
    masked: bool
    n: Array
    power: Array


def _block(metric: str, problem: Problem, x: Array, t: Template, span: float, method: str, max_memory: int | None) -> Array:
    """The scores of one block, whose part of x is `x`."""
    block = fill(x, problem.axes, "float64", 0.0)
    if np.may_share_memory(block, x):  # it is centred in place
        block = block.copy()
    valid = correlation(problem)._replace(axes=tuple(a.moved(k, 0, k) for a, k in zip(problem.axes, block.shape[2:], strict=True)))
    centre = 0.0 if metric == "ncc" else _centre(block)
    block -= centre
    if _spread(block) > (MASKED_SPREAD if t.masked else SPREAD):  # a transform would drown the small in the large
        valid = valid._replace(elementwise=True)
    kernel = t.dense - centre if metric == "ssd" else t.dense
    product = _slide(valid, block, Weights(t.weights * kernel), method, max_memory)
    n = _along(t.n, product)
    squares = _window_sums(valid, block, t, method, max_memory, squared=True)
    if metric == "ssd":  # both sides about the same centre, which their difference cannot feel
        total = squares - 2 * product + _along((t.weights * kernel**2).sum(axis=tuple(range(1, kernel.ndim))), product)
        alike: Array = 1 - np.maximum(total, 0, out=total) / (n * span**2)
        return alike
    if metric == "zncc":
        sums = _window_sums(valid, block, t, method, max_memory)
        variance = squares - sums * sums / n
        variance[variance <= NOISE * squares] = 0
    else:
        variance = squares
        scale = float(np.max(np.abs(block), initial=0.0, where=np.isfinite(block))) ** 2 if t.masked and not valid.elementwise else 0.0
        variance[variance <= NOISE * scale] = 0
    spread = variance * _along(t.power, product)
    score = product / np.sqrt(spread)
    score[spread == 0] = 0
    clipped: Array = np.clip(score, -1, 1, out=score)
    return clipped


def _blocks(problem: Problem, max_memory: int | None) -> tuple[tuple[int, ...], int | None]:
    """The block of the output that is made at a time, and what the engine may use for it."""
    per_sample = 8 * (2 + 8 * problem.outputs / problem.inputs)
    if max_memory is None:
        least = 8 * problem.taps * per_sample
        return problem.tile(max(HELD, least) / per_sample, length=1), None if least > HELD else ENGINE
    tile = problem.tile(max_memory / 2 / per_sample, length=1)
    return tile, max_memory // 2


def _check_room(problem: Problem, tile: tuple[int, ...], method: str, max_memory: int | None, rest: int | None) -> None:
    """Refuse before any work what does not fit: half of `max_memory` is for blocks, half for the engine."""
    if max_memory is None:
        return
    one_window = (1,) * (len(problem.axes) + 1)
    try:
        choose(correlation(problem), method, rest, workers())
        fits = 2 * _held(problem, tile) <= max_memory
    except MemoryLimit:
        fits = False
    if not fits:
        least = 2 * _held(problem, one_window)
        try:
            choose(correlation(problem), method, 1, workers())
        except MemoryLimit as limit:
            least = max(least, 2 * limit.least)
        raise MemoryLimit(f"max_memory={max_memory} bytes is too little: the least that would do is about {least} bytes.", least)


def _held(problem: Problem, tile: tuple[int, ...]) -> int:
    """Bytes of a block's arrays: x and its square, and eight of the result's size (sums, scores, and steps between)."""
    return 8 * (2 * problem.reads(tile) + 8 * problem.outputs * prod(tile))


def planned(problem: Problem, method: str, max_memory: int | None) -> Plan:
    """The plan of the correlation, as it is run on the blocks of the whole."""
    tile, rest = _blocks(problem, max_memory)
    _check_room(problem, tile, method, max_memory, rest)
    whole = choose(correlation(problem), method, rest, workers())
    held = _held(problem, tile)
    candidates = tuple(c if c.cost is None else c.beside(held) for c in whole.candidates)
    return Plan(f"{whole.title}, in blocks of {'x'.join(map(str, tile[1:]))}", whole.problem, whole.method, whole.reason, candidates)


def _sample(block: Array) -> Array:
    """Some finite samples of a block, spread evenly."""
    flat = block.reshape(-1)
    some = flat[:: max(flat.size // SAMPLES, 1)]
    return some[np.isfinite(some)]


def _centre(block: Array) -> float:
    """The median of some samples: unlike the mean, a few samples without bounds do not move it."""
    some = _sample(block)
    return float(np.median(some)) if some.size else 0.0


def _spread(block: Array) -> float:
    """The largest finite sample of a centred block, in units of the typical size of some."""
    some = np.abs(_sample(block))
    typical = float(np.mean(np.minimum(some, 3 * np.median(some)))) if some.size else 0.0
    largest = float(np.max(np.abs(block), initial=0.0, where=np.isfinite(block)))
    return largest / typical if typical else 0.0


def _along(values: Array, like: Array) -> Array:
    """One value per template, beside (1, O, *out)."""
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def _slide(problem: Problem, block: Array, weights: Weights, method: str, max_memory: int | None) -> Array:
    y = np.empty((problem.batch, problem.outputs, *problem.out))
    run(problem, block, weights, y, method=method, max_memory=max_memory)
    return y


def _window_sums(problem: Problem, block: Array, t: Template, method: str, max_memory: int | None, squared: bool = False) -> Array:
    """sum m x (or m x^2) over every window: without a mask a sum over channels, then one pass per axis."""
    if t.masked:
        return _slide(problem, block * block if squared else block, Weights(t.weights), method, max_memory)
    once = np.einsum("nc...,nc...->n...", block, block) if squared else block.sum(axis=1)
    ones = tuple(np.ones(a.size) for a in problem.axes)
    single = problem._replace(inputs=1, outputs=1, groups=1, rank=1)
    return _slide(single, once[:, None], Weights(None, (ones,)), "auto", max_memory)
