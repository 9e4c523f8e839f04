"""2.5-D convolution: each tap of a window reads the plane of weights that its depth, beside the centre's, falls into.

    x (N, C, H, W)   depth (N, H, W)   weight (L, O, C/groups, h, w)   planes (N, h, w, OH, OW), int8   y (N, O, OH, OW)
With the centre's depth z and r = spacing * dilation / focal, plane l takes the depths in [e_l, e_{l+1}) with
e_m = z (1 + (m - L/2) r): bins as deep as the taps are far apart.  Depth makes the plane map and goes no further.
Source: Xing, Wang, Chen & Zeng 2019, 2.5D Convolution for RGB-D Semantic Segmentation, ICIP, doi:10.1109/ICIP.2019.8803757.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sash.arrays import tensors
from sash.arrays.numpy_ import Array, asarray
from sash.arrays.weights import Weights
from sash.errors import KindError
from sash.ops.arithmetic import How, carry_out
from sash.ops.layout import settle_bias_shape, straight
from sash.ops.planes import Settings, check, geometry, made, plane_map, samples, settle_depth
from sash.ops.positions import again
from sash.problem import Problem
from sash.running import check_settings


def conv2_5d(
    x: Any,
    depth: Any,
    weight: Any,
    bias: Any = None,
    *,
    focal: Any = None,
    spacing: float = 1.0,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    missing: str = "center",
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Convolution of an RGB-D image with weights in L planes; a tap's depth chooses the plane, nothing else is multiplied.

    ``y[n, o, i, j] = bias[o] + sum over taps and c of weight[plane(tap), o, c, tap] * x[n, c, tap]``; a tap whose depth
    lies outside all L bins adds nothing. It takes the multiply-adds of one plain convolution, not of L.

    Parameters
    ----------
    x : array, (N, C, H, W), floating
    depth : array, (N, H, W) or (N, 1, H, W), floating; or int8 planes from `depth_planes`
        Distance along the optical axis, in any unit, at x's resolution. 0, negative, NaN and infinity are missing.
    weight : array, (L, O, C/groups, h, w)
        Plane 0 is the nearest. h and w are odd. How many planes are enough: see `depth_planes`.
    bias : array, (O,), optional
    focal : number, or one per image
        Focal length in pixels of the image that it was calibrated on (the geometric mean where fx and fy differ).
        Needed unless `depth` is a plane map.
    spacing : default 1
        Pixels of that image per step of x: 4 where x is a feature map at a quarter of its resolution.
    stride, padding, dilation, groups
        As in `conv`; padding reads nothing. Unequal dilations enter the bins by their geometric mean.
    missing : {"center", "drop"}, default "center"
        A tap without depth, or below a centre without depth, reads the middle plane (locally a plain convolution; L must
        be odd), or nothing.
    method, accuracy, max_memory
        As in `correlate`.

    Returns
    -------
    array, (N, O, OH, OW)

    Raises
    ------
    ArgumentError, KindError, MemoryLimit
        Anything that does not fit, a depth that is missing everywhere, a focal length that is not above 0.

    Examples
    --------
    >>> import numpy as np, sash
    >>> x, depth = np.ones((1, 2, 5, 5)), np.full((1, 5, 5), 2.0)
    >>> weight = np.stack([np.full((4, 2, 3, 3), v) for v in (0.0, 1.0, 5.0)])      # a flat wall: all in the middle plane
    >>> sash.conv2_5d(x, depth, weight, focal=500.0)[0, 0]
    array([[18., 18., 18.],
           [18., 18., 18.],
           [18., 18., 18.]])

    Source: as this module.
    """
    check_settings(method, accuracy, max_memory)
    settings = Settings(focal, spacing, stride, padding, dilation, missing)
    if tensors(x, depth, weight, bias):
        from sash.ops import planar

        return planar.conv2_5d(x, depth, weight, bias, settings, groups, method, accuracy, max_memory)
    x, depth, weight = asarray("x", x), asarray("depth", depth), asarray("weight", weight)
    bias = None if bias is None else asarray("bias", bias)
    ready = again(x, depth, weight, groups, settings, method, accuracy, max_memory)
    if ready is not None:
        return ready.made(x, depth, weight, bias, settings)
    axes = check(x.shape, weight.shape, groups, settings, depth.dtype == np.int8)
    for name, a in (("x", x), ("weight", weight)):
        if a.dtype.kind != "f":
            raise KindError(f"{name} is {a.dtype}; 2.5-D convolution takes floats ({name}.astype('float32')).")
    settle_bias_shape(bias, weight.shape[1])
    gate = plane_map(depth, x.shape, weight.shape, axes, settings)
    compute = "float64" if x.dtype.itemsize == 8 else "float32"
    problem = Problem(
        axes, x.shape[0], x.shape[1], weight.shape[1], groups, dtype=compute, source=x.dtype.name, result=compute,
        elementwise=accuracy == "elementwise", planes=weight.shape[0],
    )  # fmt: skip
    y = np.empty((x.shape[0], weight.shape[1], *problem.out), compute)
    kernel = Weights(weight, bias=None if bias is None else bias.astype(compute, copy=False), gate=gate)
    carry_out(straight(problem, x), x, kernel, y, 0, False, How(False, method, max_memory))
    with np.errstate(over="ignore"):
        return y.astype(x.dtype.newbyteorder("="), copy=False)


def depth_planes(
    depth: Any,
    size: Any,
    *,
    planes: int = 3,
    focal: Any,
    spacing: float = 1.0,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    missing: str = "center",
) -> Any:
    """Which plane each tap of each window reads: made once, shared by all layers of the same geometry.

    Parameters
    ----------
    depth : array, (N, H, W) or (N, 1, H, W), floating
        As in `conv2_5d`.
    size : int or (h, w)
        Taps of the window, odd.
    planes : int, default 3
        L, from 1 to 100; odd for ``missing="center"``. Three hold what faces the camera. On what is seen at a slant taps
        fall outside all bins and read nothing: on a floor the upper and lower ones of a 3x3 window where it is farther
        off than L/2 times the camera's height, and 33 % of all taps on a real stereo pair with 3 planes.
        `depth_report` tells how many ("outside all bins"); more planes take them in, and all planes together take the time
        of one plain convolution.
    focal, spacing, stride, padding, dilation, missing
        As in `conv2_5d`.

    Returns
    -------
    array, (N, h, w, OH, OW), int8
        0 (nearest) to L - 1; -1 reads nothing (outside all bins, or outside the image).

    Raises
    ------
    ArgumentError, KindError
        As `conv2_5d`.

    Examples
    --------
    >>> import numpy as np, sash
    >>> ramp = np.linspace(1.0, 1.02, 5)[None, None] * np.ones((1, 3, 1))
    >>> sash.depth_planes(ramp, (1, 3), focal=200.0)[0, 0, :, 0]
    array([[1, 1, 1],
           [1, 1, 1],
           [2, 2, 1]], dtype=int8)
    """
    settings = Settings(focal, spacing, stride, padding, dilation, missing)
    if tensors(depth, focal):
        from sash.ops import planar

        return planar.depth_planes(depth, size, planes, settings)
    depth = asarray("depth", depth)
    axes = geometry(depth.shape, size, planes, settings)
    return made(settle_depth(depth, depth.shape[0], depth.shape[-2:]), axes, planes, settings)


@dataclass(frozen=True, slots=True)
class DepthReport:
    """What depth did to the taps: shares of all N h w OH OW of them, which sum to 1.

    Examples
    --------
    >>> import numpy as np, sash
    >>> found = sash.depth_report(np.ones((1, 4, 4)), 3, focal=500.0, padding=1)
    >>> found.planes[1], found.padding
    (0.6944444444444444, 0.3055555555555556)
    """

    planes: tuple[float, ...]
    """Per plane, nearest first: taps with depth (and a centre with depth) that fell into its bin."""
    outside: float
    """In no bin: they read nothing."""
    missing: float
    """Without depth, or below a centre without depth."""
    padding: float
    """Outside the image."""

    def __str__(self) -> str:
        rows = [(f"plane {i}", v) for i, v in enumerate(self.planes)]
        rows += [("outside all bins", self.outside), ("missing depth", self.missing), ("padding", self.padding)]
        return "\n".join(f"{name:<17}{100 * v:6.2f} %" for name, v in rows)


def depth_report(
    depth: Any,
    size: Any,
    *,
    planes: int = 3,
    focal: Any,
    spacing: float = 1.0,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    missing: str = "center",
) -> DepthReport:
    """How many taps read which plane, none, have no depth, or lie in the padding.

    Parameters
    ----------
    depth, size, planes, focal, spacing, stride, padding, dilation, missing
        As in `depth_planes`.

    Returns
    -------
    DepthReport
        Shares of all taps; printable.

    Raises
    ------
    ArgumentError, KindError
        As `depth_planes`.

    Examples
    --------
    >>> import numpy as np, sash
    >>> print(sash.depth_report(np.ones((1, 4, 4)), 3, focal=500.0))
    plane 0            0.00 %
    plane 1          100.00 %
    plane 2            0.00 %
    outside all bins   0.00 %
    missing depth      0.00 %
    padding            0.00 %

    A floor 1.5 m below the camera, from 3 m to 1.7 m away: beyond 2.25 m three planes do not hold a row's neighbours.

    >>> floor = 500 * 1.5 / np.arange(250.0, 450)[None, :, None] * np.ones(8)
    >>> [round(sash.depth_report(floor, 3, planes=n, focal=500.0).outside, 2) for n in (3, 5)]
    [0.28, 0.0]
    """
    settings = Settings(focal, spacing, stride, padding, dilation, missing)
    if tensors(depth, focal):
        from sash.ops import planar

        depth, settings = planar.as_arrays(depth, settings)
    depth = asarray("depth", depth)
    axes = geometry(depth.shape, size, planes, settings)
    depth = settle_depth(depth, depth.shape[0], depth.shape[-2:])
    gate = made(depth, axes, planes, settings)
    known = np.isfinite(depth) & (depth > 0)
    there = [[samples(axis, t) for t in range(axis.size)] for axis in axes]
    centre = _seen(known, [row[len(row) // 2] for row in there])
    counts, inside = np.zeros(planes + 2), 0
    for place in np.ndindex(*gate.shape[1:3]):
        reads = [row[t] for row, t in zip(there, place, strict=True)]
        real = np.logical_and.outer(reads[0] >= 0, reads[1] >= 0)
        sure = _seen(known, reads) & centre
        found = gate[(slice(None), *place)]
        counts[:-1] += np.bincount(np.where(found[sure] < 0, planes, found[sure]), minlength=planes + 1)
        inside += int(real.sum()) * len(depth)
        counts[-1] += int((real & ~sure).sum())
    shares = [float(v) / gate.size for v in counts]
    return DepthReport(tuple(shares[:planes]), shares[planes], shares[-1], 1 - inside / gate.size)


def _seen(flag: Array, reads: list[Array]) -> Array:
    """`flag` (N, H, W) at these rows and columns, False outside."""
    found = flag[:, reads[0][:, None], reads[1]]
    return found & np.logical_and.outer(reads[0] >= 0, reads[1] >= 0)
