"""The plane map on a GPU, in PyTorch's operations; the definition as it stands (see `planes`).

depth (N, H, W)   planes (N, h, w, OH, OW), int8        Imports: PyTorch, axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sash.arrays.numpy_ import Array
from sash.axis import Axis
from sash.errors import ArgumentError, KindError


def binned(depth: Tensor, shape: tuple[int, ...], axes: tuple[Axis, Axis], planes: int, ratios: Array, missing: str) -> Tensor:
    """The map, tap by tap: never more than a few arrays of the outputs' extents."""
    if not depth.is_floating_point():
        raise KindError(f"depth is {depth.dtype}; give floats (in any unit), or int8 planes (N, h, w, OH, OW) from depth_planes.")
    if depth.ndim == 4 and depth.shape[1] == 1:
        depth = depth[:, 0]
    if tuple(depth.shape) != shape:
        raise ArgumentError(f"depth has shape {tuple(depth.shape)} and x needs {shape}: one depth per image and pixel of x.")
    wide = depth.to(torch.float64 if depth.device.type != "mps" else torch.float32)
    known = torch.isfinite(wide) & (wide > 0)
    if not known.any():
        raise ArgumentError(f"depth holds no finite value above 0 in {depth.numel()} pixels: all is missing; use conv, or another depth.")
    wide = torch.where(known, wide, 0)
    steps = torch.as_tensor(ratios.copy(), dtype=wide.dtype, device=wide.device)[:, None, None]
    reads = [[_inside(axis, t, depth.device) for t in range(axis.size)] for axis in axes]
    centre = _seen(wide, reads[0][axes[0].size // 2], reads[1][axes[1].size // 2])
    edges = [centre * (1 + (m - planes / 2) * steps) for m in range(planes + 1)]
    gate = torch.empty((shape[0], axes[0].size, axes[1].size, axes[0].out, axes[1].out), dtype=torch.int8, device=depth.device)
    for u in range(axes[0].size):
        for v in range(axes[1].size):
            z = _seen(wide, reads[0][u], reads[1][v])
            plane = torch.full_like(z, -1, dtype=torch.int8)
            for low in range(planes):
                plane[(edges[low] <= z) & (z < edges[low + 1])] = low
            plane[(z <= 0) | (centre <= 0)] = (planes - 1) // 2 if missing == "center" else -1
            plane[:, ~((reads[0][u] >= 0)[:, None] & (reads[1][v] >= 0))] = -1
            gate[:, u, v] = plane
    return gate


def _inside(axis: Axis, t: int, device: torch.device) -> Tensor:
    """The sample that tap t of each output reads; -1: none."""
    at = axis.start + t * axis.dilation + torch.arange(axis.out, device=device) * axis.stride
    return torch.where((at >= 0) & (at < axis.n), at, -1)


def _seen(depth: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Depth at these rows and columns, 0 outside."""
    found = depth[:, rows.clamp(min=0)][:, :, columns.clamp(min=0)]
    return torch.where((rows >= 0)[:, None] & (columns >= 0), found, 0)
