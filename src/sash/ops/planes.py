"""The plane map of a 2.5-D convolution: from depth and a camera to which plane of weights each tap of each window reads.

    depth (N, H, W)   planes (N, h, w, OH, OW), int8: 0 (nearest) to L - 1, -1 nothing
With the centre's depth z and r = spacing * dilation / focal, plane l takes [z (1 + (l - L/2) r), z (1 + (l + 1 - L/2) r)).
Imports: window, kernels, tiles.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array
from sash.axis import Axis
from sash.crew import share
from sash.errors import ArgumentError, KindError, unknown
from sash.ops.filters import stepped
from sash.ops.layout import check_groups
from sash.tiles import workers
from sash.window import Window, ints, settle_padding

MISSING = ("center", "drop")
MOST = 100
"""Planes at most."""


class Settings(NamedTuple):
    """What makes the plane map, beside depth and the weights' shape."""

    focal: Any
    spacing: Any
    stride: Any
    padding: Any
    dilation: Any
    missing: Any


def check(x: tuple[int, ...], weight: tuple[int, ...], groups: Any, settings: Settings, given: bool) -> tuple[Axis, Axis]:
    """The axes of a 2.5-D convolution of these shapes; refuses what does not fit.  `given`: the plane map is."""
    if len(x) != 4:
        raise ArgumentError(f"x has {len(x)} axes; 2.5-D convolution takes (N, C, H, W).")
    if len(weight) != 5:
        raise ArgumentError(f"weight has {len(weight)} axes; 2.5-D convolution takes (planes, O, C/groups, h, w).")
    if 0 in weight:
        raise ArgumentError(f"weight has shape {weight}: it is empty; every axis needs at least one.")
    check_groups(groups, weight[1], "output channels of weight")
    if weight[2] * groups != x[1]:
        raise ArgumentError(
            f"weight takes {weight[2]} channels in each of {groups} groups, {weight[2] * groups} in all, and x has {x[1]}; they must agree."
        )
    return geometry(x, weight[3:], weight[0], settings._replace(missing="drop") if given else settings)


def geometry(shape: tuple[int, ...], size: Any, planes: Any, settings: Settings) -> tuple[Axis, Axis]:
    """The two axes that the window slides over, the last two of `shape`; refuses what no plane map can be made for."""
    told = settings.stride, settings.padding, settings.dilation, settings.missing
    plain = all([type(value) in (int, str) for value in (planes, *told)])
    return (_geometry if plain and _whole(size) and _whole(shape) else _geometry.__wrapped__)(shape, size, planes, *told)


def _whole(values: Any) -> bool:
    return type(values) is int or (type(values) is tuple and all([type(value) is int for value in values]))


@lru_cache(maxsize=256, typed=True)
def _geometry(shape: tuple[int, ...], size: Any, planes: Any, stride: Any, padding: Any, dilation: Any, missing: Any) -> tuple[Axis, Axis]:
    """The same; kept for numbers (little calls: 110 us otherwise)."""
    if missing not in MISSING:
        raise unknown("missing", missing, MISSING)
    if not isinstance(planes, int) or not 1 <= planes <= MOST:
        raise ArgumentError(f"planes={planes!r} must be an int from 1 to {MOST}.")
    if missing == "center" and planes % 2 == 0:
        raise ArgumentError(f"missing='center' needs a middle plane, and {planes} planes have none; use {planes + 1}, or missing='drop'.")
    sizes = ints("size", size)
    sizes = sizes if isinstance(sizes, tuple) else (sizes, sizes)
    if len(sizes) != 2:
        raise ArgumentError(f"size={size!r} has {len(sizes)} values; the window slides over two axes.")
    for k in sizes:
        if k < 1 or k % 2 == 0:
            raise ArgumentError(f"a window of {sizes[0]}x{sizes[1]} has no centre: every extent must be odd, and {k} is not; use {k + 1}.")
    if len(shape) not in (3, 4):
        raise ArgumentError(f"depth has {len(shape)} axes; give (N, H, W) or (N, 1, H, W).")
    window = Window(sizes, stride=stride, dilation=dilation, padding=settle_padding(padding))
    y, x = window.over(shape[-2:], names=(len(shape) - 2, len(shape) - 1))
    return stepped(y), stepped(x)


def settle_depth(depth: Array, count: int, extents: tuple[int, ...]) -> Array:
    """Depth as (N, H, W); refuses another size or type, and one that is missing everywhere."""
    if depth.dtype.kind != "f":
        raise KindError(f"depth is {depth.dtype}; give floats (in any unit), or int8 planes (N, h, w, OH, OW) from depth_planes.")
    if depth.ndim == 4 and depth.shape[1] == 1:
        depth = depth[:, 0]
    if depth.shape != (count, *extents):
        raise ArgumentError(f"depth has shape {depth.shape} and x needs {(count, *extents)}: one depth per image and pixel of x.")
    if depth.size and not 0 < depth.item(depth.size // 2) < np.inf and not (np.isfinite(depth) & (depth > 0)).any():
        raise ArgumentError(f"depth holds no finite value above 0 in {depth.size} pixels: all is missing; use conv, or another depth.")
    return depth


def ratios(focal: Any, count: int, settings: Settings) -> Array:
    """r per image: the depth of a bin at distance 1."""
    plain = (type(focal) is float or type(focal) is int) and type(settings.dilation) is int and type(settings.spacing) is float
    if plain and 0 < focal < float("inf"):
        return _alike(focal, count, settings.spacing, settings.dilation)
    if focal is None:
        raise ArgumentError("focal is needed: the focal length in pixels (or give int8 planes from depth_planes in place of depth).")
    try:
        found = np.asarray(focal, np.float64)
    except (TypeError, ValueError):
        raise KindError(f"focal={focal!r} must be a number of pixels, or one per image.") from None
    if found.ndim > 1 or (found.ndim == 1 and len(found) not in (1, count)):
        raise ArgumentError(f"focal has shape {found.shape} and there are {count} images; give one number, or one per image.")
    if not (np.isfinite(found) & (found > 0)).all():
        raise ArgumentError(f"focal={focal!r} must be finite and above 0 (pixels).")
    return np.broadcast_to(pixels(settings) / found, (count,))


@lru_cache(maxsize=64)
def _alike(focal: float, count: int, spacing: float, dilation: int) -> Array:
    """Kept; nobody writes to it, but a kernel would be compiled anew for an array that is read-only."""
    return np.full(count, pixels(Settings(focal, spacing, 1, 0, dilation, "")) / focal)


def pixels(settings: Settings) -> float:
    """Pixels of the calibrated image from tap to tap."""
    spacing = float(settings.spacing)
    if not 0 < spacing < float("inf"):
        raise ArgumentError(f"spacing={settings.spacing!r} must be finite and above 0 (pixels per step).")
    if type(settings.dilation) is int and settings.dilation > 0:
        return spacing * settings.dilation
    steps = ints("dilation", settings.dilation)
    down, across = steps if isinstance(steps, tuple) else (steps, steps)
    return spacing * sqrt(down * across)


def made(depth: Array, axes: tuple[Axis, Axis], planes: int, settings: Settings) -> Array:
    """The plane map of depth (N, H, W)."""
    from sash.kernels.cpu.gated import planes as graded

    y, x = axes
    steps = ratios(settings.focal, len(depth), settings)
    depth = np.array(depth, np.float64 if depth.dtype.itemsize == 8 else np.float32, order="C")
    gate = np.empty((len(depth), y.size, x.size, y.out, x.out), np.int8)
    middle = (planes - 1) // 2 if settings.missing == "center" else -1
    down, across = ((a.stride, a.dilation, -a.start, a.size) for a in axes)
    taps, area = y.size * x.size, y.out * x.out
    rows = max(1, min(y.out, (1 << 17) // max(x.out, 1)))

    def one(place: tuple[int, int]) -> None:
        n, top = place
        at = n * taps * area + top * x.out
        graded(
            depth[n].reshape(-1), gate.reshape(-1), at, area, x.out, (top, min(top + rows, y.out)), (0, x.out),
            (depth.shape[1], depth.shape[2]),
            down, across, float(steps[n]), planes, middle,
        )  # fmt: skip

    if gate.size:
        share(one, [(n, top) for n in range(len(depth)) for top in range(0, y.out, rows)], workers())
    return gate


def plane_map(depth: Array, x: tuple[int, ...], weight: tuple[int, ...], axes: tuple[Axis, Axis], settings: Settings) -> Array:
    """The plane map of a convolution: made from depth, or the one that is given, if it fits."""
    if depth.dtype == np.int8 and depth.ndim == 5:
        check_map(depth.shape, x, weight, axes)
        check_planes(depth, weight[0])
        return depth
    return made(settle_depth(depth, x[0], x[2:]), axes, weight[0], settings)


def check_map(given: tuple[int, ...], x: tuple[int, ...], weight: tuple[int, ...], axes: tuple[Axis, Axis]) -> None:
    """A plane map must be that of the same geometry."""
    wanted = (x[0], *weight[3:], *[a.out for a in axes])
    if tuple(given) != wanted:
        raise ArgumentError(
            f"planes have shape {tuple(given)} and this convolution needs {wanted}; make them with the same size and steps."
        )


def check_planes(given: Array, count: int) -> None:
    """A plane map must name no other planes than there are."""
    if given.size and (given.max() >= count or given.min() < -1):
        raise ArgumentError(f"planes go from {given.min()} to {given.max()}, and weight has {count}: they must be -1 to {count - 1}.")


def samples(axis: Axis, t: int) -> Array:
    """The sample that tap t of each output reads; -1: none."""
    at = axis.start + t * axis.dilation + np.arange(axis.out) * axis.stride
    return np.where((at >= 0) & (at < axis.n), at, -1)
