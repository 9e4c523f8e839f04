"""How alike a template and each window of an image are: absolute or squared differences, or (centred) correlation.

    image (*B, *S), one of the last axes may be channels    template (*K), or a bank (T, *K)    score (*B, [T,] *out)
No array of patches is made: SAD is a reduction of the engine, the others are sums of products (`moments`) combined in
bounded blocks.  Definitions: with n = sum m, R = data_range
    sad = 1 - sum m|x-t| / (n R)    ssd = 1 - sum m(x-t)^2 / (n R^2)    ncc = sum m x t / sqrt(sum m x^2 * sum m t^2)
and zncc is ncc after the weighted means are taken away.   Imports: blocks, moments, running, problem, arrays, filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import frexp, ldexp
from typing import Any

import numpy as np

from sash.accuracy import EXACT_BITS
from sash.arrays import tensors
from sash.arrays.numpy_ import FEW, Array, asarray, readable, settle_number, sound
from sash.arrays.weights import Weights
from sash.errors import ArgumentError, KindError, unknown
from sash.machine import by_rates
from sash.ops.blocks import worth_expanding
from sash.ops.filters import all_axes
from sash.ops.gaussian import settle_blur_type
from sash.ops.integers import type_range
from sash.ops.moments import score_by_moments
from sash.problem import REDUCTIONS, Problem
from sash.running import check_settings, run
from sash.window import Window, ints, settle_padding

METRICS = ("sad", "ssd", "ncc", "zncc")
ONE = np.ones((), np.float64)

USUAL = {"float32": 40, "float64": 300}
"""Powers of two up to which squares of samples, and products of sums of them, stay far from the ends of floats."""


def similarity(
    image: Any,
    template: Any,
    *,
    metric: str = "sad",
    stride: Any = 1,
    padding: Any = "valid",
    channel_axis: int | None = None,
    mask: Any = None,
    data_range: float | None = None,
    bank: bool = False,
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Score how alike a template and every window of an image are; 1 is equal, for black on black too.

    Parameters
    ----------
    image : array, real
        Its last axes are the template's; axes before those are batch.
    template : array, real
        One axis per axis that it slides over, and the channel axis if there is one; with ``bank=True`` one more in
        front, for many templates at once.
    metric : {"sad", "ssd", "ncc", "zncc"}, default "sad"
        1 - mean absolute difference / R; 1 - mean squared difference / R^2; normalised correlation; and that after
        the means are taken away (blind to brightness and contrast; 0 where a side has no variance; as "ncc" is 0
        where a side is all 0).
    stride, padding : as in `correlate`
        One value, or one per slid axis. Padding reads 0.
    channel_axis : int, optional
        The axis of one template that is summed over, not slid over (0 for C, H, W; -1 for H, W, C).
    mask : array, optional
        Weight of each template element, at least 0: of the shape of the template (a bank's too), of one template of
        a bank, or of one without its channel axis. Default: 1 for all.
    data_range : float, optional
        R for "sad" and "ssd". Default: 1 for floats, the range of the type for integers (255 for uint8).
    bank : bool, default False
        The template's first axis counts templates.
    method, accuracy, max_memory
        As in `correlate`.

    Returns
    -------
    array
        (*batch, [templates,] *output extents); float images keep their type, integers give float32 (up to 16 bits)
        or float64.

    Raises
    ------
    ArgumentError, KindError
        A template that does not fit the image, channels that disagree, a mask of another shape or with negative
        weights or none, an unknown metric; complex numbers.
    MemoryLimit
        No method fits `max_memory`.

    Examples
    --------
    >>> import numpy as np, sash
    >>> image = np.zeros((3, 20, 20), np.uint8)                       # black, C, H, W
    >>> black = np.zeros((3, 5, 5), np.uint8)
    >>> float(sash.similarity(image, black, metric="sad", stride=2, channel_axis=0).min())
    1.0

    Sources: Briechle & Hanebeck 2001, doi:10.1117/12.421129; masks: Padfield 2012, doi:10.1109/TIP.2011.2181402.
    """
    check_settings(method, accuracy, max_memory)
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if tensors(image, template, mask):
        from sash.ops import scores

        told = scores.Told(metric, stride, padding, channel_axis, data_range, bank, method, accuracy, max_memory)
        return scores.similarity(image, template, mask, told, similarity, settle)
    image, template = asarray("image", image), asarray("template", template)
    if channel_axis is not None and not isinstance(ints("channel_axis", channel_axis), int):
        raise ArgumentError(f"channel_axis={channel_axis!r} must be one axis of the template.")
    stride = stride if type(stride) is int else ints("stride", stride)
    padding = padding if type(padding) in (int, str) else settle_padding(padding)
    match = settle(image.shape, image.dtype, template.shape, template.dtype, metric, stride, padding, channel_axis, bank)
    weights = _settle_mask(mask, template, channel_axis, bank)
    span = _settle_range(data_range, image.dtype)
    score = np.empty(match.shape, np.float32 if match.result == np.float16 else match.result)
    channel = None if channel_axis is None else match.lead + channel_axis % match.count
    x = image[None, None] if channel is None else np.moveaxis(image, channel, 0)[None]
    y = np.moveaxis(score, match.lead, 0)[None] if bank else score[None, None]
    if not score.size:
        return score.astype(match.result, copy=False)
    x, template, span = _scaled(metric, match.problem.dtype, x, template, span)
    t, m = _as_weights(template, match, channel_axis, bank), _as_weights(weights, match, channel_axis, bank)
    problem, expanded = chosen(match.problem, accuracy, metric, x.dtype, t.dtype, *_bounds(t), mask is None, sound(x), method)
    if expanded:
        score_by_moments(metric, problem, x, t, m, y, span, method=method, max_memory=max_memory)
    else:
        _score_by_differences(metric, problem, x, t, m, y, span, mask is None, method, max_memory)
    return score.astype(match.result, copy=False)


@dataclass(frozen=True, slots=True)
class Match:
    """A similarity in shapes and types: the Problem of its differences, and the score's shape and type."""

    problem: Problem
    shape: tuple[int, ...]
    result: np.dtype[Any]
    lead: int
    """Batch axes of the image."""
    count: int
    """Axes of one template, channels included."""


@lru_cache(maxsize=1024, typed=True)
def settle(
    image: tuple[int, ...],
    image_type: np.dtype[Any],
    template: tuple[int, ...],
    template_type: np.dtype[Any],
    metric: str,
    stride: Any,
    padding: Any,
    channel_axis: int | None,
    bank: bool,
) -> Match:
    """From shapes and types to a Match; refuses what does not fit."""
    for name, kind in (("image", image_type), ("template", template_type)):
        if kind.kind == "c":
            raise KindError(f"{name} is {kind}; similarity compares real numbers (compare abs, real or imag).")
    if bank and not template:
        raise ArgumentError("bank=True needs a template with one more axis in front, but it is a scalar.")
    outputs, one = (template[0], template[1:]) if bank else (1, template)
    count = len(one)
    if not one:
        raise ArgumentError("template is a scalar: it needs at least one axis to slide along, or to be compared over (channel_axis=0).")
    if 0 in template:
        raise ArgumentError(f"template has shape {template}: it has no elements to compare.")
    if count > len(image):
        raise ArgumentError(f"template has {count} axes and image {len(image)}: it cannot have more (bank=True takes a bank of them).")
    lead, inputs = len(image) - count, 1
    sizes, extents = list(one), list(image[lead:])
    if channel_axis is not None:
        if not -count <= channel_axis < count:
            raise ArgumentError(f"channel_axis={channel_axis} is no axis of the template, which has {count} axes.")
        c = channel_axis % count
        inputs = sizes.pop(c)
        found = extents.pop(c)
        if inputs != found:
            raise ArgumentError(f"template has {inputs} channels (axis {channel_axis}) and image {found}; they must agree.")
    shape = (*image[:lead], *extents)
    slid = tuple(range(lead, lead + len(sizes)))
    if padding in (0, "valid"):
        for axis, (size, extent) in enumerate(zip(sizes, extents, strict=True)):
            if size > extent:
                raise ArgumentError(
                    f"template has {size} samples along axis {axis} and image {extent}: give them the other way round, "
                    f'or use padding (padding="same").'
                )
    axes = all_axes(shape, slid, Window(tuple(sizes), stride=stride, padding=padding), "zero")
    if not axes:  # nothing to slide over: one window
        axes = all_axes((1,), (0,), Window((1,)), "zero")
    out = tuple(a.out for a in axes) if shape else ()
    result = settle_blur_type(image_type if image_type.kind == "f" else np.result_type(image_type, template_type))
    problem = Problem(
        axes,
        inputs=inputs,
        outputs=outputs,
        reduce="absolute" if metric == "sad" else "squared",
        dtype="float64" if result == np.float64 else "float32",
        source=image_type.name,
        result="float64" if result == np.float64 else "float32",
        finite=True,
        straight=False,
    )
    return Match(problem, (*out[:lead], *((outputs,) if bank else ()), *out[lead:]), result, lead, count)


def _settle_mask(mask: Any, template: Array, channel_axis: int | None, bank: bool) -> Array:
    """Weights of the template's shape."""
    if mask is None:
        return ONE
    weights = asarray("mask", mask)
    one = template.shape[1:] if bank else template.shape
    flat = one if channel_axis is None else tuple(np.delete(one, channel_axis % len(one)))
    if weights.shape == flat != one:
        weights = np.expand_dims(weights, channel_axis % len(one))  # type: ignore[operator]
    elif weights.shape not in (one, template.shape):
        raise ArgumentError(
            f"mask has shape {weights.shape} and the template {template.shape}; a mask weighs each of its elements, so give {one}."
        )
    if weights.dtype.kind == "c":
        raise KindError(f"mask is {weights.dtype}; weights are real numbers of at least 0.")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ArgumentError(f"mask holds weights from {weights.min()} to {weights.max()}; they must be finite and at least 0.")
    weights = np.broadcast_to(weights, template.shape)
    if not weights.reshape(len(template) if bank else 1, -1).any(axis=1).all():
        raise ArgumentError("mask is 0 everywhere: no element of the template is left to compare; give some a weight above 0.")
    return weights


def _settle_range(data_range: Any, image: np.dtype[Any]) -> float:
    """R: as given, 1 for floats and bool, the range of an integer type."""
    if data_range is None:
        low, high = type_range(image)
        return float(high - low)
    data_range = settle_number("data_range", data_range)
    if isinstance(data_range, complex) or not 0 < data_range < float("inf"):
        raise ArgumentError(f"data_range={data_range!r} must be a finite number above 0 (the span of image values).")
    return float(data_range)


def _scaled(metric: str, dtype: str, x: Array, t: Array, span: float) -> tuple[Array, Array, float]:
    """x, the template and the range, by powers of two where squares would leave the range of floats: no score changes by that."""
    if metric in ("ncc", "zncc"):
        return _near_one(x), _near_one(t), span
    power = -frexp(span)[1]
    if abs(power) <= USUAL[dtype] or not {x.dtype.name, t.dtype.name} <= set(USUAL):
        return x, t, span
    return np.ldexp(x, power), np.ldexp(t, power), ldexp(span, power)


def _near_one(a: Array) -> Array:
    """float64 whose largest finite value is neither huge nor tiny."""
    if a.dtype != np.float64 or not a.size:
        return a
    if a.size <= FEW and 2.0**-500 < np.vdot(a, a) < 2.0**500:  # as a rule, at a quarter of the time of what follows
        return a
    largest = max(np.fmax.reduce(a, axis=None), -np.fmin.reduce(a, axis=None))
    if largest == float("inf"):
        largest = np.abs(a[np.isfinite(a)]).max(initial=0)
    power = -frexp(largest)[1]
    return a if abs(power) <= USUAL["float64"] or not largest > 0 else np.ldexp(a, power)


def _as_weights(a: Array, match: Match, channel_axis: int | None, bank: bool) -> Array:
    """A template, a bank or a mask as (O, C, 1 per batch axis, *K)."""
    if not a.ndim:
        return a
    a = a if bank else a[None]
    if channel_axis is None:
        a = a[:, None]
    else:
        a = np.moveaxis(a, channel_axis % match.count + 1, 1)
    sizes = a.shape[2:] or (1,)
    return a.reshape(*a.shape[:2], *[1] * (len(match.problem.axes) - len(sizes)), *sizes)


def _score_by_differences(
    metric: str, problem: Problem, x: Array, t: Array, m: Array, y: Array, span: float, whole: bool, method: str, max_memory: int | None
) -> None:
    """1 - sum m |x-t|^p / (n R^p), summed by the engine; integers without a mask are summed exactly."""
    power = 1 if metric == "sad" else 2
    if not x.shape[2:]:
        x, y = x[..., None], y[..., None]
    run(problem, x, Weights(t, mask=None if whole else m), y, method=method, max_memory=max_memory)
    if whole:
        y /= -t[0].size * span**power
    else:
        weight = m.sum(axis=tuple(range(1, t.ndim)), dtype=np.float64) * span**power
        y /= -weight.astype(y.dtype).reshape(-1, *[1] * (y.ndim - 2))
    y += 1


def _bounds(t: Array) -> tuple[int, int]:
    """Least and largest of a template of integers."""
    return (int(t.min()), int(t.max())) if t.dtype.kind in "biu" else (0, 1)


@by_rates(1024)
def chosen(
    problem: Problem, accuracy: str, metric: str, x: np.dtype[Any], t: np.dtype[Any], low: int, high: int, whole: bool, straight: bool,
    method: str,
) -> tuple[Problem, bool]:  # fmt: skip
    """What is summed, in which type, and whether it is sums of products (`moments`); `low` and `high` bound an integer template.

    Integers without a mask (`whole`) are summed exactly: in float32 where 24 bits hold the sum, else in float64.
    """
    problem = summed = problem._replace(elementwise=accuracy == "elementwise")
    if whole and x.kind in "biu" and t.kind in "biu":
        least, most = type_range(x)
        span = max(most, high, 0) - min(least, low, 0)
        bits = (problem.taps * span ** REDUCTIONS.index(problem.reduce)).bit_length()
        summed = problem._replace(dtype="float32" if bits <= EXACT_BITS["float32"] else "float64")
    bytewise = whole and x == t == np.uint8
    if metric in ("ncc", "zncc"):
        return problem._replace(bytewise=bytewise), True
    if metric == "ssd" and worth_expanding(problem._replace(bytewise=bytewise), method, summed.dtype):
        return problem, True
    return summed._replace(bytewise=bytewise, straight=straight and readable(x, summed.dtype)), False
