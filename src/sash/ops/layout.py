"""How arrays of a convolution lie and which extents its results may have: from shapes, types and settings to a Problem.

    x (N, C, *S)   weight (O, C/groups, *K)   y (N, O, *out)       or channels last: x (N, *S, C), weight (*K, C/groups, O)
Everything that does not fit is refused here, before any work.   Imports: filters, window, problem, arrays.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, asarray, readable, settle_number, sound
from sash.axis import Axis
from sash.errors import ArgumentError, KindError, OverflowRisk, unknown
from sash.ops.filters import Types, check_boundary, fresh_axes, settle_cval, settle_types
from sash.problem import Problem
from sash.running import check_settings
from sash.window import Window, ints, settle_padding

FORMATS = {
    "channels_first": (False, 0),
    "channels_last": (True, 0),
    **{f"NC{s}": (False, len(s)) for s in ("L", "HW", "DHW")},
    **{f"N{s}C": (True, len(s)) for s in ("L", "HW", "DHW")},
}
"""Whether channels stand last, and the number of spatial axes (0: as many as there are)."""

MOST = 4
"""Spatial axes at most."""


class Settings(NamedTuple):
    """What both verbs can be told, as plain as they can be keys of a cache."""

    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: Any = 1
    boundary: Any = "constant"
    cval: Any = 0.0
    data_format: Any = "channels_first"
    method: Any = "auto"
    accuracy: Any = "normwise"
    max_memory: Any = None
    output_shape: Any = None
    output_padding: Any = 0

    def plain(self) -> Settings:
        """The same with sequences as tuples of ints, so that equal settings are equal keys; unknown names are refused."""
        check_settings(self.method, self.accuracy, self.max_memory)
        check_boundary(self.boundary)
        if not isinstance(self.data_format, str) or self.data_format not in FORMATS:
            raise unknown("data_format", self.data_format, FORMATS)
        stride, padding, dilation, groups, _, cval, _, _, _, _, output_shape, output_padding = self
        ints_alone = type(stride) is type(dilation) is type(groups) is type(output_padding) is int and output_shape is None
        if ints_alone and type(padding) in (int, str) and type(cval) is float:  # most often: 0.3 us less
            return self
        changes: dict[str, Any] = {}
        for name in ("stride", "dilation", "groups", "output_padding", "output_shape"):
            value = getattr(self, name)
            if type(value) is not int and value is not None:
                changes[name] = ints(name, value)
        if type(self.padding) not in (int, str):
            changes["padding"] = settle_padding(self.padding)
        if type(self.cval) not in (int, float):
            changes["cval"] = settle_number("cval", self.cval)
        return self._replace(**changes) if changes else self


class Fit(NamedTuple):
    """A convolution's geometry: the forward axes, and the counts of both sides."""

    axes: tuple[Axis, ...]
    batch: int
    inputs: int
    outputs: int
    groups: int
    last: bool
    """Channels stand last."""


def fit(x: tuple[int, ...], weight: tuple[int, ...], settings: Settings) -> Fit:
    """From shapes and settings to the geometry of `conv`; everything that does not fit is refused here."""
    last, (n, c, *extents), (o, each, *sizes) = _axes_first(x, weight, settings)
    groups = check_groups(settings.groups, o, "output channels of weight")
    if each * groups != c:
        raise ArgumentError(
            f"weight takes {each} channels in each of {groups} groups, {each * groups} in all, and x has {c}; they must agree."
        )
    window = Window(tuple(sizes), stride=settings.stride, dilation=settings.dilation, padding=settings.padding)
    where = tuple(range(1, 1 + len(extents))) if last else tuple(range(2, 2 + len(extents)))
    window.over(extents, names=where)
    zero = settings.boundary == "constant" and settings.cval == 0
    axes = fresh_axes(tuple(extents), tuple(range(len(extents))), window, "zero" if zero else settings.boundary)
    return Fit(axes, n, c, o, groups, last)


def fit_transposed(x: tuple[int, ...], weight: tuple[int, ...], settings: Settings) -> Fit:
    """The same for `conv_transpose`: the geometry of the forward operation on the result's shape."""
    last, (n, c, *extents), (o, each, *sizes) = _axes_first(x, weight, settings)
    groups = check_groups(settings.groups, o, f"channels of weight's {'last' if last else 'first'} axis")
    if o != c:
        raise ArgumentError(f"weight takes {o} channels and x has {c}; they must agree (weight is that of the forward operation).")
    window = Window(tuple(sizes), stride=settings.stride, dilation=settings.dilation, padding=settings.padding)
    shape = _transposed_extents(window, extents, sizes, settings)
    axes = fresh_axes(shape, tuple(range(len(shape))), window, "zero" if settings.boundary == "constant" else settings.boundary)
    # output_padding beyond the stride reaches positions that a longer forward result would read: not these outputs.
    axes = tuple([a._replace(stop=a.start + (m - 1) * a.stride + a.reach) for a, m in zip(axes, extents, strict=True)])
    return Fit(axes, n, each * groups, o, groups, last)


class Layout(NamedTuple):
    """A convolution in shapes and types: the forward Problem, and how the result is laid out."""

    problem: Problem
    types: Types
    shape: tuple[int, ...]
    """The result's."""
    channels: int
    """The result's."""
    last: bool
    """Channels stand last."""
    cval: complex
    stored: np.dtype[Any]
    """Type that results are summed into: float32 for float16, rounded once at the end."""


@lru_cache(maxsize=2048, typed=True)
def settle(x: tuple[int, ...], kind: np.dtype[Any], weight: tuple[int, ...], weight_kind: np.dtype[Any], settings: Settings) -> Layout:
    """From shapes, element types and settings to a Layout of `conv`."""
    found, types = fit(x, weight, settings), settle_types(kind, weight_kind, None)
    problem = _problem(found, kind, types, settings)
    cval = settle_cval(settings, kind, types)
    shape = _shape(found, found.outputs, problem.out)
    check_size(shape, types.result.itemsize)
    return Layout(problem, types, shape, found.outputs, found.last, cval, _stored(types))


@lru_cache(maxsize=2048, typed=True)
def settle_transposed(
    x: tuple[int, ...], kind: np.dtype[Any], weight: tuple[int, ...], weight_kind: np.dtype[Any], settings: Settings
) -> Layout:
    """The same for `conv_transpose`."""
    found, types = fit_transposed(x, weight, settings), settle_types(kind, weight_kind, None)
    problem = _problem(found, kind, types, settings)._replace(source=types.result.name)
    shape = _shape(found, found.inputs, tuple([a.n for a in found.axes]))
    check_size(shape, types.result.itemsize)
    return Layout(problem, types, shape, found.inputs, found.last, 0, _stored(types))


def _problem(found: Fit, kind: np.dtype[Any], types: Types, settings: Settings) -> Problem:
    return Problem(
        *found[:5], dtype=types.compute, source=kind.name, result=_stored(types).name, finite=types.exact,
        elementwise=settings.accuracy == "elementwise",
    )  # fmt: skip


def _axes_first(x: tuple[int, ...], weight: tuple[int, ...], settings: Settings) -> tuple[bool, tuple[int, ...], tuple[int, ...]]:
    """Whether channels stand last, and both shapes as if they stood first."""
    last, count = FORMATS[settings.data_format]
    told = f" with data_format={settings.data_format!r}"
    if count and len(x) != count + 2:
        raise ArgumentError(f"x has {len(x)} axes{told}, which names {count + 2}.")
    if not 3 <= len(x) <= MOST + 2:
        raise ArgumentError(f"x has {len(x)} axes; it needs a batch axis, a channel axis and 1 to {MOST} spatial axes.")
    if len(weight) != len(x):
        wanted = "(*K, C/groups, O)" if last else "(O, C/groups, *K)"
        raise ArgumentError(f"weight has {len(weight)} axes and x {len(x)}; for {len(x) - 2} spatial axes weight is {wanted}.")
    if 0 in weight:
        raise ArgumentError(f"weight has shape {weight}: it has no taps; every axis needs at least one.")
    if last:
        return True, (x[0], x[-1], *x[1:-1]), (weight[-1], weight[-2], *weight[:-2])
    return False, x, weight


def check_groups(groups: Any, channels: int, what: str) -> int:
    if not isinstance(groups, int) or groups < 1:
        raise ArgumentError(f"groups={groups!r} must be an int of at least 1.")
    if channels % groups:
        raise ArgumentError(f"groups={groups} must divide the {channels} {what}.")
    return groups


def _shape(found: Fit, channels: int, extents: tuple[int, ...]) -> tuple[int, ...]:
    return (found.batch, *extents, channels) if found.last else (found.batch, channels, *extents)


def _stored(types: Types) -> np.dtype[Any]:
    return np.dtype(np.float32) if types.result == np.float16 else types.result


def check_size(shape: tuple[int, ...], item: int) -> None:
    """Refuse a result that no memory holds; `item`: bytes of an element."""
    if prod(shape) * item >= 1 << 62:
        raise ArgumentError(f"the result would have the shape {shape}, more than any memory holds; use less padding, or a smaller stride.")


def _transposed_extents(window: Window, extents: list[int], sizes: list[int], settings: Settings) -> tuple[int, ...]:
    """The result's extents: as asked, where forward gives x's; else n * stride for "same", or the smallest and more."""
    count = len(extents)
    bounds = window.input_bounds(extents)
    stride, dilation, more = (_each(name, getattr(settings, name), count) for name in ("stride", "dilation", "output_padding"))
    asked = settings.output_shape
    if asked is not None:
        if any(more):
            raise ArgumentError(f"output_padding={settings.output_padding} and output_shape={asked} both choose the extents; give one.")
        shape = _each("output_shape", asked, count)
        for i, n in enumerate(shape):
            if not max(bounds[i][0], 0) <= n <= bounds[i][1]:
                of = f" on axis {i} (possible per axis: {'; '.join(map(_listed, bounds))})" if count > 1 else ""
                raise ArgumentError(
                    f"output_shape={asked} is impossible{of}: with stride {stride[i]}, {sizes[i]} taps and padding {settings.padding!r}, "
                    f"{extents[i]} samples come from {_listed(bounds[i])}, not {n}."
                )
        return shape
    if settings.padding in ("same", "same_lower"):
        if any(more):
            raise ArgumentError(f"output_padding={settings.output_padding} with padding={settings.padding!r}; give output_shape instead.")
        return tuple([n * s for n, s in zip(extents, stride, strict=True)])
    for i, p in enumerate(more):
        if not 0 <= p < max(stride[i], dilation[i]):
            raise ArgumentError(f"output_padding={p} must be less than the stride, {stride[i]}, or the dilation, {dilation[i]}.")
    shape = tuple([low + p for (low, _), p in zip(bounds, more, strict=True)])
    for i, n in enumerate(shape):
        if n < 0 or bounds[i][1] < 0:
            raise ArgumentError(
                f"padding={settings.padding!r} takes more than the {extents[i]} samples of axis {i} spread by stride {stride[i]} make: "
                f"the result would have {n}; use less padding, or output_shape ({_listed(bounds[i])})."
            )
    return shape


def _listed(bounds: tuple[int, int]) -> str:
    """`127 or 128`, `1 to 9`, for people."""
    low, high = max(bounds[0], 0), bounds[1]
    if high < low:
        return "none"
    if high - low < 3:
        return " or ".join(map(str, range(low, high + 1)))
    return f"{low} to {high}"


def _each(name: str, value: Any, count: int) -> tuple[int, ...]:
    """One value per spatial axis."""
    if isinstance(value, int):
        return (value,) * count
    if len(value) != count:
        raise ArgumentError(f"{name}={value} has {len(value)} values for {count} spatial axes; give one, or one per axis.")
    return tuple(value)


def first(x: Array, lay: Layout) -> Array:
    """A view of x with its channels first."""
    return np.moveaxis(x, -1, 1) if lay.last else x


def first_weight(weight: Array, lay: Layout) -> Array:
    """A view of the weight as (O, C/G, *K)."""
    return np.moveaxis(weight, (-1, -2), (0, 1)) if lay.last else weight


def settle_bias_shape(bias: Any, channels: int) -> None:
    """One value per output channel."""
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ArgumentError(f"bias has shape {tuple(bias.shape)} and there are {channels} output channels; give ({channels},).")


def settle_bias(bias: Any, lay: Layout) -> Array | None:
    if bias is None:
        return None
    found = asarray("bias", bias)
    settle_bias_shape(found, lay.channels)
    if found.dtype.kind == "c" and lay.types.result.kind != "c":
        raise KindError(f"bias is {found.dtype}, but the result is {lay.types.result}; use a real bias.")
    if lay.types.exact and found.dtype.kind not in "biu":
        raise KindError(f"bias is {found.dtype}, but x and weight are integers and the result exact; use an integer bias, or float x.")
    if lay.types.exact and found.size and int(found.max()) >= 1 << 63:
        raise OverflowRisk(f"bias holds {int(found.max())}, and the exact result is int64; use floats, or a smaller bias.")
    with np.errstate(over="ignore"):
        return found.astype(lay.stored, copy=False)


def straight(problem: Problem, x: Array) -> Problem:
    """The problem, knowing whether tiles of x can be read in place."""
    return problem._replace(straight=readable(x.dtype, problem.dtype) and sound(x))
