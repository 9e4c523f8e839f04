"""2.5-D convolution on tensors: the plane map is an operation without derivatives, the rest the trilinear form.

    x (N, C, H, W)   depth (N, H, W)   weight (L, O, C/groups, h, w)   planes (N, h, w, OH, OW), int8   y (N, O, OH, OW)
Imports: PyTorch, trilinear, planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sash.arrays import torch_
from sash.axis import Axis
from sash.errors import KindError
from sash.ops import networks
from sash.ops import planes as arrays
from sash.ops.form import Form, Slid
from sash.ops.layout import settle_bias_shape
from sash.ops.planes import Settings
from sash.ops.positions import again
from sash.ops.tensors import gathered
from sash.ops.trilinear import run


def conv2_5d(
    x: Any, depth: Any, weight: Any, bias: Any, settings: Settings, groups: int, method: str, accuracy: str, max_memory: int | None
) -> Tensor:
    """`conv2_5d`."""
    if (lent := networks.arrays(x, weight, bias, depth)) and not isinstance(settings.focal, Tensor):
        x_, weight_, bias_, depth_ = lent
        if ready := again(x_, depth_, weight_, groups, settings, method, accuracy, max_memory):
            return torch.from_numpy(ready.made(x_, depth_, weight_, bias_, settings))
    x, depth, weight, bias = gathered(x=x, depth=depth, weight=weight, bias=bias)
    axes = arrays.check(tuple(x.shape), tuple(weight.shape), groups, settings, depth.dtype == torch.int8)
    settle_bias_shape(bias, weight.shape[1])
    for name, t in (("x", x), ("weight", weight)):
        if not t.is_floating_point():
            raise KindError(f"{name} is {t.dtype}; 2.5-D convolution takes floats ({name}.float()).")
    if depth.dtype == torch.int8 and depth.ndim == 5:
        arrays.check_map(depth.shape, x.shape, weight.shape, axes)
        gate = depth
    else:
        gate = _mapped(depth, (x.shape[0], *x.shape[2:]), axes, weight.shape[0], settings)
    x, weight, bias = networks.settled(x, weight, bias)
    slid = tuple([Slid(a.size, a.stride, a.dilation, -a.start, a.stop - a.n) for a in axes])
    form = Form(slid, groups, method=method, accuracy=accuracy, max_memory=max_memory)
    return run(form, "y", x, weight, (), bias, gate)


def depth_planes(depth: Any, size: Any, planes: int, settings: Settings) -> Tensor:
    """`depth_planes`."""
    if not isinstance(depth, Tensor):
        depth = torch.as_tensor(np.asarray(depth))
    axes = arrays.geometry(tuple(depth.shape), size, planes, settings)
    return _mapped(depth, (depth.shape[0], *depth.shape[-2:]), axes, planes, settings)


def as_arrays(depth: Any, settings: Settings) -> tuple[Any, Settings]:
    """The same as arrays."""
    depth = torch_.array(depth.cpu()) if isinstance(depth, Tensor) else depth
    focal = settings.focal.detach().cpu().numpy() if isinstance(settings.focal, Tensor) else settings.focal
    return depth, settings._replace(focal=focal)


def _mapped(depth: Tensor, shape: tuple[Any, ...], axes: tuple[Axis, Axis], planes: int, settings: Settings) -> Tensor:
    focal = settings.focal
    if not isinstance(focal, Tensor):
        try:
            focal = torch.as_tensor([] if focal is None else focal, dtype=torch.float64)
        except (TypeError, ValueError):
            raise KindError(f"focal={focal!r} must be a number of pixels, or one per image.") from None
    numbers = [v for a in axes for v in (a.size, a.stride, a.dilation, -a.start, a.stop - a.n)]
    found: Tensor = node(depth.detach(), focal.detach(), list(shape), numbers, planes, arrays.pixels(settings), settings.missing)
    return found


@torch.library.custom_op("sash::planes", mutates_args=())
def node(depth: Tensor, focal: Tensor, shape: list[int], numbers: list[int], planes: int, spacing: float, missing: str) -> Tensor:
    """The plane map; what can only be seen in values is refused here."""
    values = None if focal.ndim == 1 and not focal.numel() else focal.cpu().numpy()
    settings = Settings(values if values is None or values.ndim else values.item(), spacing, 1, 0, 1, missing)
    axes = _axes(shape[1:], numbers)
    steps = arrays.ratios(settings.focal, shape[0], settings)
    if depth.device.type != "cpu":
        from sash.ops.bins import binned

        return binned(depth, tuple(shape), axes, planes, steps, missing)
    found = arrays.settle_depth(torch_.array(depth), shape[0], tuple(shape[1:]))
    return torch_.tensor(arrays.made(found, axes, planes, settings))


@node.register_fake
def _(depth: Tensor, focal: Tensor, shape: Any, numbers: Any, planes: int, spacing: float, missing: str) -> Tensor:
    out = [(n + a[3] + a[4] - (a[0] - 1) * a[2] - 1) // a[1] + 1 for n, a in zip(shape[1:], (numbers[:5], numbers[5:]), strict=True)]
    return depth.new_empty((shape[0], numbers[0], numbers[5], *out), dtype=torch.int8)


def _axes(extents: list[int], numbers: list[int]) -> tuple[Axis, Axis]:
    down, across = (
        Axis(n, size, stride, dilation, -before, n + after, "zero")
        for n, (size, stride, dilation, before, after) in zip(extents, (numbers[:5], numbers[5:]), strict=True)
    )
    return down, across
