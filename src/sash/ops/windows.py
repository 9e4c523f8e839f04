"""Every window of an array, as a view.     x (any axes)   result (x's axes, resized; then one axis per slid axis)"""

from __future__ import annotations

from typing import Any

import numpy as np

from sash.arrays import tensors
from sash.arrays.numpy_ import asarray
from sash.ops.filters import settle_axes
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
    sizes = ints("size", size)
    if tensors(x):
        from sash.ops import tensors as family

        where = settle_axes(axes, x.ndim, len(sizes) if isinstance(sizes, tuple) else None, slides="the window")
        return family.windows(x, sizes, where, stride, dilation)
    x = asarray("x", x)
    where = settle_axes(axes, x.ndim, len(sizes) if isinstance(sizes, tuple) else None, slides="the window")
    window = Window(sizes, stride=stride, dilation=dilation)
    slid = window.over([x.shape[a] for a in where], "zero", where)
    cut: list[slice] = [slice(None)] * x.ndim
    for a, axis in zip(where, slid, strict=True):
        cut[a] = slice(None, None, axis.stride)
    view = np.lib.stride_tricks.sliding_window_view(x, [a.reach for a in slid], where)
    return view[(*cut, *(slice(None, None, a.dilation) for a in slid))]
