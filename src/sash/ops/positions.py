"""Little 2.5-D convolutions, bound to their shapes: everything but the operands is settled once, and a call is one kernel.

    x (N, C, H, W)   depth (N, H, W) or planes (N, h, w, OH, OW)   weight (L, O, C/groups, h, w)   y (N, O, OH, OW)
The sums and their order are those of the method `gated`.   Imports: planes, problem, kernels, arrays.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array
from sash.methods import CHOICES, gated
from sash.methods.pixels import pieces
from sash.ops.layout import settle_bias_shape
from sash.ops.planes import Settings, check, check_map, check_planes, ratios, samples, settle_depth

TERMS = 10**7
"""Terms of a little convolution, at most.  (16 to 16 channels of 64²: 0.8 ms; `gated`, on two threads: 1.5.)"""

TABLE = 1 << 16
"""Reads of samples, at most: a table says where each lies."""

TAPS = 49
"""Taps, at most: what is kept of a position takes no more room than in `gated`."""

WEIGHTS = 1 << 14
"""Weights, at most: with more, positions that share what is loaded of them are faster (64 to 64 channels of 16²: 0.8 times)."""

NONE = np.empty(0)


class Bound(NamedTuple):
    """A 2.5-D convolution that was settled before: all that is left to do."""

    kernel: Any
    laid: Array
    """Which weight stands where in what the kernel reads."""
    planes: int
    x: tuple[int, ...]
    y: tuple[int, ...]
    given: bool
    """Planes are given, not depth ..."""
    beside: Array | None
    """... and which of one image's taps lie beside it, if any do."""

    def made(self, x: Array, depth: Array, weight: Array, bias: Array | None, settings: Settings) -> Array:
        """The result."""
        settle_bias_shape(bias, self.y[1])
        if self.given:
            check_planes(depth, self.planes)
            deep, steps, gate = NONE, NONE, depth.reshape(len(depth), -1, depth.shape[3] * depth.shape[4])
        else:
            deep, gate = settle_depth(depth, self.x[0], self.x[2:]).reshape(-1), None
            deep = deep.astype(np.float32) if deep.dtype.itemsize < 4 else deep
            steps = ratios(settings.focal, self.x[0], settings)
        y = np.empty(self.y, x.dtype)
        self.kernel(x.reshape(-1), weight.take(self.laid), y.reshape(-1), deep, steps, gate)
        if bias is not None:
            with np.errstate(all="ignore"):
                y += bias.astype(y.dtype, copy=False).reshape(-1, 1, 1)
        return y


def again(
    x: Array, depth: Array, weight: Array, groups: Any, settings: Settings, method: str, accuracy: str, max_memory: int | None
) -> Bound | None:
    """What is left to do on these arrays; None where they are not little, or lie or are settled otherwise than is bound."""
    _, _, stride, padding, dilation, missing = settings
    plain = type(stride) is type(dilation) is type(groups) is int and type(padding) in (int, str) and type(missing) is str
    if not plain or max_memory is not None or weight.size > WEIGHTS or not (_in_order(x) and _in_order(depth)):
        return None
    settled = (stride, padding, dilation, groups, missing, method, accuracy)
    found = _bound(x.shape, x.dtype, depth.shape, depth.dtype, weight.shape, weight.dtype, *settled)
    if found is not None and found.beside is not None and (depth.reshape(len(depth), -1)[:, found.beside] >= 0).any():
        return None  # planes of taps beside the image: what they read there is 0, which times an infinite weight is NaN
    return found


def _in_order(a: Array) -> bool:
    flags = a.flags
    return flags.c_contiguous and flags.aligned and a.dtype.isnative


@lru_cache(maxsize=32, typed=True)
def _bound(
    x: tuple[int, ...], kind: np.dtype[Any], depth: tuple[int, ...], depth_kind: np.dtype[Any], weight: tuple[int, ...],
    weight_kind: np.dtype[Any], stride: Any, padding: Any, dilation: Any, groups: int, missing: Any, method: str, accuracy: str,
) -> Bound | None:  # fmt: skip
    """The same from shapes, types and settings alone."""
    from sash.kernels.cpu import positions

    given = depth_kind == np.int8 and len(depth) == 5
    axes = check(x, weight, groups, Settings(None, 1.0, stride, padding, dilation, missing), given)
    L, O, C, *size = weight
    spots, taps = x[0] * prod([a.out for a in axes]), prod(size)
    if method not in (*CHOICES, gated.NAME) or kind != weight_kind or kind.char not in "fd" or not spots or 0 in x:
        return None
    if spots * O * C * taps > TERMS or spots * taps > TABLE or prod(x[2:]) >= 1 << 31:
        return None
    if taps > TAPS or len(pieces(taps, C, accuracy == "elementwise")) > 1:
        return None
    if given:
        check_map(depth, x, weight, axes)
    each = O // groups
    lanes, vectors = positions.width(each, kind.itemsize)
    first = np.add.outer(np.arange(groups) * each, np.arange(0, each, lanes * vectors)).reshape(-1)
    valid = np.minimum(lanes * vectors, each - first % each)
    outputs = np.minimum(np.add.outer(first, np.arange(lanes * vectors)), O - 1)  # what lies past the last is not kept
    numbers = np.arange(prod(weight)).reshape(L, O, C, taps).transpose(0, 3, 2, 1)[..., outputs]  # (L, T, C, B, W)
    inside = [np.array([samples(a, t) for t in range(a.size)]) for a in axes]  # (taps, outputs)
    read = np.where(np.logical_and.outer(*[r >= 0 for r in inside]), np.add.outer(inside[0] * x[3], inside[1]), -1)
    read = read.transpose(0, 2, 1, 3).reshape(taps, -1)
    P, beside = read.shape[1], np.flatnonzero(read < 0) if given and (read < 0).any() else None
    read = np.pad(read.astype(np.int32), ((0, 0), (0, -P % positions.SEATS)), constant_values=-1)
    laid = np.ascontiguousarray(numbers.transpose(3, 0, 1, 2, 4)).reshape(-1)
    tables = (read, np.array([first // each * C * prod(x[2:]), first * P, valid]))
    counts = (x[0], prod(x[2:]), P, C, L, (L - 1) // 2 if missing == "center" else -1)
    return Bound(positions.settled(each, kind, tables, counts), laid, L, x, (x[0], O, *[a.out for a in axes]), given, beside)
