"""Scores made of sums over windows: of the image, of its square, and of its product with the template.

    x (1, C, *S)   t, m (O, C, *K), m or one number   y (1, O, *out)
Every block of the output is made on its own: its part of x is copied in float64 and centred on its median, which no
difference and no variance can feel, so large offsets cost no digits.   Imports: blocks, exactly, singly, running, arrays.
Source: Lewis 1995, Fast Normalized Cross-Correlation, with weights as in Padfield 2012, doi:10.1109/TIP.2011.2181402.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from sash import bound
from sash.arrays.numpy_ import Array, fill, take
from sash.arrays.weights import Weights
from sash.crew import share
from sash.methods import CHOICES, direct
from sash.ops.blocks import SAMPLES, check_room, correlation, crew_of, cut, filled, whole_numbers
from sash.ops.exactly import score_exactly
from sash.ops.singly import few, score_blocks, score_windows
from sash.problem import Box, Problem
from sash.running import run
from sash.tiles import threads, workers

EPS = float(np.finfo(np.float64).eps)
ONE = np.ones(())

SPREAD, MASKED_SPREAD = 1e6, 1e4
"""Largest sample of a block, in units of the typical one, up to which transforms are used: their error is eps times
the largest for sums of products, and eps times its square for sums of squares under a mask."""

NOISE = 64 * EPS
"""Variance below this share of the mean square is rounding: the side has none."""


def score_by_moments(
    metric: str, problem: Problem, x: Array, t: Array, m: Array, y: Array, span: float, *, method: str, max_memory: int | None
) -> None:
    """Write ssd, ncc or zncc, block by block."""
    if not x.shape[2:]:
        x, y = x[..., None], y[..., None]
    if metric != "ssd" and _score_otherwise(problem, metric == "zncc", x, t, m, y, method, max_memory):
        return
    tile, rest, boxes = cut(problem, max_memory)
    check_room(problem, method, max_memory)
    template = _template(metric, t, m)

    def one(box: Box) -> None:
        runs, part = problem.part(box)
        out = y[(slice(None), slice(None), *(slice(o, p) for o, p in box[1:]))]
        with np.errstate(all="ignore"):  # NaN and infinities are results like others
            _block(metric, part, take(x, runs), template, span, method, rest, out)

    def alone(box: Box) -> None:
        with threads(1):
            one(box)

    crew = crew_of(problem, tile, max_memory, workers()) if len(boxes) > 1 else 1
    share(alone if crew > 1 else one, boxes, crew)


def _score_otherwise(problem: Problem, centred: bool, x: Array, t: Array, m: Array, y: Array, method: str, max_memory: int | None) -> bool:
    """Write ncc or zncc without sums over windows of floats, where those would take longer; whether that was so."""
    plan = whole_numbers(problem, method, max_memory, workers())
    if plan is not None:
        score_exactly(plan, centred, x, t, y)
        return True
    if max_memory is not None:
        return False
    product = correlation(problem)
    found = bound.windows(product, method) if y.flags.c_contiguous else None
    if found is not None:
        score_windows(found, centred, x, t, m, y)
    elif few(problem) and method in (CHOICES[0], direct.NAME):
        score_blocks(product, centred, x, t, m, y)
        return True
    return found is not None


class Template(NamedTuple):
    """What is the same for every block: m, sums of m and m t^2 (t centred), one per template, and the products' weights."""

    dense: Array
    """Centred on its mean, but for ncc."""
    mean: Array
    """(O, 1...), what it was centred on."""
    weights: Array
    masked: bool
    alike: bool
    """All channels have the same mask."""
    n: Array
    power: Array
    product: Weights
    """m t."""
    mask: Weights


def _template(metric: str, t: Array, m: Array) -> Template:
    inner = tuple(range(1, t.ndim))
    if not m.ndim:
        dense, size, each = t.astype(np.float64), float(t[0].size), (len(t), *[1] * (t.ndim - 1))
        mean = np.zeros(each) if metric == "ncc" else dense.sum(axis=inner, keepdims=True) / size
        dense -= mean
        power = np.einsum("oi,oi->o", *[dense.reshape(len(t), -1)] * 2)
        power[power <= size * (8 * EPS * mean.reshape(-1)) ** 2] = 0
        return Template(dense, mean, ONE, False, False, np.full(len(t), size), power, Weights(dense), Weights(ONE))
    weights = np.broadcast_to(m.astype(np.float64), t.shape)
    n = weights.sum(axis=inner, keepdims=True)
    dense = t.astype(np.float64)
    mean = np.zeros_like(n) if metric == "ncc" else (weights * dense).sum(axis=inner, keepdims=True) / n
    dense = dense - mean
    power = (weights * dense**2).sum(axis=inner, keepdims=True)
    power[power <= n * (8 * EPS * mean) ** 2] = 0  # all that is left of a constant template is rounding
    alike = bool((weights == weights[:, :1]).all())
    mask = Weights(weights[:, :1] if alike else weights)
    return Template(dense, mean, weights, True, alike, n.reshape(-1), power.reshape(-1), Weights(weights * dense), mask)


def _block(metric: str, problem: Problem, x: Array, t: Template, span: float, method: str, max_memory: int | None, out: Array) -> None:
    """Write the scores of one block, whose part of x is `x`."""
    from sash.kernels.cpu.boxes import centred
    from sash.kernels.cpu.scored import differed, scored

    found = fill(x, problem.axes, x.dtype.name, 0.0)
    block, once, squared, spare, product = _room(found.shape, (1, problem.outputs, *problem.out))
    np.copyto(block, found)
    valid = filled(problem)
    # Both sides about the mean of an only template: then their difference needs no sums.
    own = float(t.mean.item()) if metric == "ssd" and t.mean.size == 1 and not t.masked and np.isfinite(t.mean).all() else None
    centre, typical = _level(block, metric != "ncc", own)
    largest = centred(block.reshape(-1), centre, once.reshape(-1), squared.reshape(-1))
    if largest > typical * (MASKED_SPREAD if t.masked else SPREAD) and typical:  # a transform would drown the small in the large
        valid = valid._replace(elementwise=True)
    run(valid, block, t.product, product, method=method, max_memory=max_memory)
    if t.masked and not t.alike:
        squares = _slide(valid, block * block, t.mask, method, max_memory)
        sums = None if metric == "ncc" else _slide(valid, block, t.mask, method, max_memory)
    else:
        squares = _window_sums(valid, squared, spare[0], t, method, max_memory)
        sums = None if metric == "ncc" or own is not None else _window_sums(valid, once, spare[1], t, method, max_memory)
    n = _along(t.n, product)
    if own is not None:
        score = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
        differed(product, squares, float(t.power.item()), float(t.n.item()) * span**2, score)
        if score is not out:
            out[...] = score
        return
    if metric == "ssd":  # both sides about the same centre, which their difference cannot feel
        apart = t.mean - centre
        product += _along(apart, product) * sums
        product *= -2
        product += squares
        product += _along((t.weights * (t.dense + apart) ** 2).sum(axis=tuple(range(1, t.dense.ndim))), product)
        np.maximum(product, 0, out=product)
        product /= -n * span**2
        product += 1
        out[...] = product
        return
    least = NOISE * largest**2 if metric == "ncc" and t.masked and not valid.elementwise else 0.0
    sums = squares if sums is None else sums
    score = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    noise = NOISE if metric == "zncc" else 0.0
    scored(product, squares, sums, squares.shape[1], t.power, t.n, metric == "zncc", noise, least, score)
    if score is not out:
        out[...] = score


def _room(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[Array, Array, Array, tuple[Array, Array], Array]:
    """The block, its sums over channels and those of its squares, memory for the sums of each, and the products' sums.

    All of it at once, so that it lies on large pages: arrays of their own took 10 ms where this takes 1.3.
    """
    plane = (1, 1, *shape[2:])
    sizes = [shape, *[plane] * 4, out]
    ends = np.cumsum([prod(size) for size in sizes])
    parts = np.split(np.empty(ends[-1]), ends[:-1])
    block, once, squared, first, second, product = [part.reshape(size) for part, size in zip(parts, sizes, strict=True)]
    return block, once, squared, (first, second), product


def _level(block: Array, middle: bool, own: float | None) -> tuple[float, float]:
    """(`own`, or the median of some samples, or 0; the typical size of the rest about it): unlike the mean, a few samples
    without bounds do not move them."""
    flat = block.reshape(-1)
    some = flat[:: max(flat.size // SAMPLES, 1)]
    some = some[np.isfinite(some)]
    if not some.size:
        return own or 0.0, 0.0
    centre = own if own is not None else _middle(some) if middle else 0.0
    some = np.abs(some - centre)
    return centre, float(np.minimum(some, 3 * _middle(some)).sum()) / some.size


def _middle(values: Array) -> float:
    """The upper median."""
    half = values.size // 2
    return float(np.partition(values, half)[half])


def _along(values: Array, like: Array) -> Array:
    """One value per template, beside (1, O, *out)."""
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def _slide(problem: Problem, block: Array, weights: Weights, method: str, max_memory: int | None) -> Array:
    y = np.empty((problem.batch, problem.outputs, *problem.out))
    run(problem, block, weights, y, method=method, max_memory=max_memory)
    return y


def _window_sums(problem: Problem, once: Array, spare: Array, t: Template, method: str, max_memory: int | None) -> Array:
    """Sums of what was summed over channels over every window, weighed by the mask that all channels share.

    `once` and `spare` are written over.
    """
    if t.masked:
        return _slide(problem._replace(inputs=1), once, t.mask, method, max_memory)
    from sash.kernels.cpu.boxes import boxes

    found: Array = boxes(once, spare, tuple([a.size for a in problem.axes]), tuple([a.stride for a in problem.axes]))
    return found
