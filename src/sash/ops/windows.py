"""Every window of an array, as a view.     x (any axes)   result (x's axes, resized; then one axis per slid axis)"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.lib.stride_tricks import as_strided

from sash.arrays import tensors
from sash.arrays.numpy_ import asarray
from sash.ops.filters import settle_axes, stepped
from sash.window import Window, ints


def windows(x: Any, size: Any, *, axes: Any = None, stride: Any = 1, dilation: Any = 1) -> Any:
    """A view of every window of x: no copy, whatever the overlap.

    Parameters
    ----------
    x : array
        Any number of axes.
    size : int or one per slid axis
        Taps of the window.
    axes : int or sequence of int, optional
        Axes to slide over. Default: the last `len(size)`, or all where size is an int.
    stride, dilation : int or one per slid axis, default 1
        Steps between windows, and between the taps of one window.

    Returns
    -------
    array, read-only view
        x's axes, the slid ones with their number of windows, then one axis of taps per slid axis: for x (H, W) and
        size (h, w) it is (OH, OW, h, w).

    Raises
    ------
    ArgumentError, KindError
        A window larger than x, an unknown axis, a stride or dilation below 1.

    Examples
    --------
    >>> import numpy as np, sash
    >>> sash.windows(np.arange(6), 3, stride=2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    size, stride, dilation = [
        v if type(v) is int else ints(name, v) for name, v in (("size", size), ("stride", stride), ("dilation", dilation))
    ]
    if tensors(x):
        from sash.ops import tensors as family

        where = settle_axes(axes, x.ndim, len(size) if isinstance(size, tuple) else None, slides="the window")
        return family.windows(x, size, where, stride, dilation)
    x = asarray("x", x)
    where = settle_axes(axes, x.ndim, len(size) if isinstance(size, tuple) else None, slides="the window")
    return as_strided(x, *_laid(x.shape, x.strides, size, where, stride, dilation), writeable=False)


@lru_cache(maxsize=1024, typed=True)
def _laid(
    shape: tuple[int, ...], strides: tuple[int, ...], size: Any, axes: tuple[int, ...], stride: Any, dilation: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of the view; everything that does not fit is refused here."""
    slid = [stepped(axis) for axis in Window(size, stride=stride, dilation=dilation).over([shape[a] for a in axes], "zero", axes)]
    out, steps = list(shape), list(strides)
    for a, axis in zip(axes, slid, strict=True):
        out[a], steps[a] = axis.out, strides[a] * axis.stride
    taps = [(axis.size, strides[a] * axis.dilation) for a, axis in zip(axes, slid, strict=True)]
    return (*out, *[n for n, _ in taps]), (*steps, *[step for _, step in taps])
