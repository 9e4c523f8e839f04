"""Scores made of sums over windows: of the image, of its square, and of its product with the template.

    x (1, C, *S)   t, m (O, C, *K), m or one number   y (1, O, *out)
Every block of the output is made on its own: its part of x is copied in float64 and centred on its mean, which no
difference and no variance can feel, so large offsets cost no digits.   Imports: running, planning, problem, arrays.
Source: Lewis 1995, Fast Normalized Cross-Correlation, with weights as in Padfield 2012, doi:10.1109/TIP.2011.2181402.
"""

from __future__ import annotations

import numpy as np

from sash.arrays.numpy_ import Array, fill, take
from sash.arrays.weights import Weights
from sash.errors import MemoryLimit
from sash.methods import named
from sash.plans import Plan
from sash.planning import choose
from sash.problem import Problem
from sash.running import run
from sash.tiles import workers

BLOCK = 6 << 20
"""Bytes of one block of x in float64, unless the template is nearly as large; see FACTOR."""

ENGINE = 12 << 20
"""Bytes that the engine may use within a block, unless told otherwise."""

FACTOR = 4
"""All arrays of a block together, per byte of x: itself, its square, and a few of one channel each."""

NOISE = 64 * float(np.finfo(np.float64).eps)
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
    differences = choose(problem, "auto", None, workers())
    return 1.5 * choose(correlation(problem), "auto", None, workers()).seconds < differences.seconds


def score_by_moments(
    metric: str, problem: Problem, x: Array, t: Array, m: Array, y: Array, span: float, *, method: str, max_memory: int | None
) -> None:
    """Write ssd, ncc or zncc, block by block."""
    if not x.shape[2:]:
        x, y = x[..., None], y[..., None]
    tile, rest = _blocks(problem, max_memory)
    weights = np.broadcast_to(m.astype(np.float64), t.shape)
    inner = tuple(range(1, t.ndim))
    n = weights.sum(axis=inner, keepdims=True)
    dense = t.astype(np.float64)
    mean = (weights * dense).sum(axis=inner, keepdims=True) / n if metric == "zncc" else np.zeros_like(n)
    dense = dense - mean
    power = (weights * dense**2).sum(axis=inner, keepdims=True)
    power[power <= NOISE * (weights * (dense + mean) ** 2).sum(axis=inner, keepdims=True)] = 0
    for box in problem.grid(tile):
        runs, part = problem.part(box)
        block = fill(take(x, runs), part.axes, "float64", 0.0)
        if block.base is not None or block is x:  # it is centred in place
            block = block.copy()
        valid = correlation(part)._replace(axes=tuple(a.moved(k, 0, k) for a, k in zip(part.axes, block.shape[2:], strict=True)))
        centre = 0.0 if metric == "ncc" else _centre(block)
        block -= centre
        kernel = dense - centre if metric == "ssd" else dense
        product = _slide(valid, block, Weights(weights * kernel), method, rest)
        squares = _window_sums(valid, block * block, weights, m, method, rest)
        out = y[(slice(None), slice(None), *(slice(o, p) for o, p in box[1:]))]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if metric == "ssd":
                fixed = (weights * kernel**2).sum(axis=inner)
                total = squares - 2 * product + _along(fixed, product)
                np.maximum(total, 0, out=total)
                out[...] = 1 - total / _along(n.reshape(-1) * span**2, total)
                continue
            if metric == "zncc":
                sums = _window_sums(valid, block, weights, m, method, rest)
                variance = squares - sums * sums / _along(n.reshape(-1), squares)
                variance[variance <= NOISE * squares] = 0
            else:
                variance = squares
                scale = float(np.max(block * block, initial=0.0, where=np.isfinite(block)))
                variance[variance <= NOISE * scale * 1e-3] = 0
            spread = variance * _along(power.reshape(-1), variance)
            score = product / np.sqrt(spread)
            score[spread == 0] = 0
            out[...] = np.clip(score, -1, 1)


def _blocks(problem: Problem, max_memory: int | None) -> tuple[tuple[int, ...], int | None]:
    """The block of the output that is made at a time, and what the engine may use for it."""
    if max_memory is None:
        large = 8 * problem.taps > BLOCK // 8
        return problem.tile(max(BLOCK // 8, 8 * problem.taps)), None if large else ENGINE
    room = max_memory // (2 * FACTOR)
    tile = problem.tile(max(room // 8, 1))
    if problem.reads(tile) * 8 > room:
        least = 2 * FACTOR * 8 * problem.reads([1] * (len(problem.axes) + 1))
        raise MemoryLimit(f"max_memory={max_memory} bytes is too little: the least that would do is about {least} bytes (one window at a time).")
    return tile, max_memory // 2


def planned(problem: Problem, method: str, max_memory: int | None) -> Plan:
    """The plan of the correlation, as it is run on the blocks of the whole."""
    tile, rest = _blocks(problem, max_memory)
    box = problem.grid(tile)[0]
    whole = choose(correlation(problem), method, rest, workers())
    held = FACTOR * 8 * problem.reads([p - o for o, p in box])
    candidates = tuple(c if c.cost is None else c.beside(held) for c in whole.candidates)
    return Plan(f"{whole.title}, in blocks of {'x'.join(map(str, tile[1:]))}", whole.problem, whole.method, whole.reason, candidates)


def _centre(block: Array) -> float:
    """The mean of the finite samples."""
    total = block.mean()
    if np.isfinite(total):
        return float(total)
    finite = block[np.isfinite(block)]
    return float(finite.mean()) if finite.size else 0.0


def _along(values: Array, like: Array) -> Array:
    """One value per template, beside (1, O, *out)."""
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def _slide(problem: Problem, block: Array, weights: Weights, method: str, max_memory: int | None) -> Array:
    y = np.empty((problem.batch, problem.outputs, *problem.out))
    run(problem, block, weights, y, method=method, max_memory=max_memory)
    return y


def _window_sums(problem: Problem, block: Array, weights: Array, m: Array, method: str, max_memory: int | None) -> Array:
    """sum m x over every window: without a mask a sum over channels, then one pass per axis."""
    if m.ndim:
        return _slide(problem, block, Weights(weights), method, max_memory)
    ones = tuple(np.ones(a.size) for a in problem.axes)
    single = problem._replace(inputs=1, outputs=1, groups=1, rank=1)
    return _slide(single, block.sum(axis=1, keepdims=True), Weights(None, (ones,)), "auto", max_memory)
