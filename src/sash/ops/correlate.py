"""Correlation and convolution with any kernel: stride, dilation, padding, boundary; the other axes are batch.

x (any axes)   kernel (one axis per slid axis)   y (x's axes, the slid ones resized)       Imports: filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np

from sash.arrays import tensors
from sash.arrays.numpy_ import Array, asarray
from sash.arrays.weights import Weights
from sash.errors import ArgumentError, KindError
from sash.ops.filters import Settings, over

SHORT = 64
"""Taps up to which Python adds them up faster than NumPy."""


def correlate(
    x: Any,
    kernel: Any,
    *,
    axes: Any = None,
    stride: Any = 1,
    dilation: Any = 1,
    padding: Any = "valid",
    boundary: str = "constant",
    cval: Any = 0.0,
    dtype: Any = None,
    separable: bool | str = "auto",
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Slide a kernel over an array: every output is the sum of kernel times window (the kernel is not turned round).

    ``y[j] = sum_t kernel[t] * x[j * stride + t * dilation - before]``, on every slid axis.

    Parameters
    ----------
    x : array
        Any number of axes; bool, integers, float16/32/64, complex64/128; any memory layout.
    kernel : array
        One axis per axis that it slides over. Complex kernels are not conjugated.
    axes : int or sequence of int, optional
        Axes of x that the kernel's axes slide over, in the kernel's order. Default: the last `kernel.ndim`. All
        other axes are batch.
    stride, dilation : int or one per kernel axis, default 1
        Steps (in samples) between outputs, and between the taps of the kernel.
    padding : default "valid"
        "valid", "same" (extent ``ceil(n / stride)``, the odd sample at the end), "same_lower" (at the start), "full",
        an int, one `(before, after)` pair, or one pair per axis; negative numbers crop. See `sash.Window`.
    boundary : default "constant"
        What padding reads: "constant" (`cval`), "nearest", "symmetric", "mirror" or "wrap".
    cval : number, default 0
        The value outside for boundary "constant".
    dtype : optional
        Type of the result. Default: floating and complex x keep their type; integers with integers give int64, exact.
        An integer type is honoured where the data prove that it holds every result.
    separable : default "auto"
        Whether the kernel may be replaced by 1-D kernels: "auto" measures its rank where that is cheap beside the
        job, True always, False never.
    method : default "auto"
        "auto": the fastest as predicted from shapes and types; "measure": the fastest of the likely ones, which the
        first call of this kind tries on its own arrays and which is remembered (see `sash.export_wisdom`); or a name
        (see `sash.plan`).
    accuracy, max_memory
        "normwise" or "elementwise"; bytes of scratch beyond x and the result, while methods are tried too.

    Returns
    -------
    array
        x's axes in x's order, the slid ones with their output extents.

    Raises
    ------
    ArgumentError, KindError
        Anything that does not fit, before any work, with both numbers and the way out (both are ValueError or
        TypeError as fits).
    OverflowRisk
        Integer results might not fit the result's type for this data.
    MemoryLimit
        No method fits `max_memory`; names the least that would do.

    Examples
    --------
    >>> import numpy as np, sash
    >>> sash.correlate([1, 2, 3, 4, 5], [1, 0, -1], stride=2)
    array([-2, -2])
    >>> photo = np.ones((4, 6, 3), np.float32)          # H, W, C with a 2-D kernel
    >>> sash.correlate(photo, np.ones((3, 3)), axes=(0, 1), stride=2, padding="same").shape
    (2, 3, 3)

    Sources: Dumoulin & Visin 2016, arXiv:1603.07285 (shape arithmetic); the accuracy bounds are in `sash.accuracy`.
    """
    settings = Settings(axes, stride, dilation, padding, boundary, cval, dtype, separable, method, accuracy, max_memory)
    if tensors(x, kernel):
        from sash.ops import tensors as family

        return family.correlate(x, kernel, settings, False, correlate)
    return _filter(x, kernel, settings, turned=False)


def convolve(
    x: Any,
    kernel: Any,
    *,
    axes: Any = None,
    stride: Any = 1,
    dilation: Any = 1,
    padding: Any = "valid",
    boundary: str = "constant",
    cval: Any = 0.0,
    dtype: Any = None,
    separable: bool | str = "auto",
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Convolution: `correlate` with the kernel turned round along every axis.

    ``y[j] = sum_t kernel[size - 1 - t] * x[j * stride + t * dilation - before]``; ``padding="full"`` with stride 1 is
    the mathematical convolution of two finite sequences.

    Parameters
    ----------
    x, kernel, axes, stride, dilation, padding, boundary, cval, dtype, separable, method, accuracy, max_memory
        As in `correlate`, in shapes, meanings and defaults.

    Returns
    -------
    array
        x's axes in x's order, the slid ones with their output extents.

    Raises
    ------
    ArgumentError, KindError, OverflowRisk, MemoryLimit
        As `correlate`.

    Examples
    --------
    >>> import sash
    >>> sash.convolve([1, 2, 3], [0, 1, 10], padding="full")
    array([ 0,  1, 12, 23, 30])
    """
    settings = Settings(axes, stride, dilation, padding, boundary, cval, dtype, separable, method, accuracy, max_memory)
    if tensors(x, kernel):
        from sash.ops import tensors as family

        return family.correlate(x, kernel, settings, True, convolve)
    return _filter(x, kernel, settings, turned=True)


def separable_filter(
    x: Any,
    kernels: Any,
    *,
    axes: Any = None,
    stride: Any = 1,
    dilation: Any = 1,
    padding: Any = "valid",
    boundary: str = "constant",
    cval: Any = 0.0,
    dtype: Any = None,
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Correlate with the outer product of one 1-D kernel per axis, without ever forming it where that is slower.

    Parameters
    ----------
    x : array
        As in `correlate`.
    kernels : sequence of 1-D arrays
        One per slid axis.
    axes : optional
        One per kernel; default: the last `len(kernels)` axes of x.
    stride, dilation, padding, boundary, cval, dtype, method, accuracy, max_memory
        As in `correlate`.

    Returns
    -------
    array
        Equal to ``correlate(x, outer product of kernels)`` within the accuracy promised.

    Raises
    ------
    ArgumentError, KindError, OverflowRisk, MemoryLimit
        As `correlate`.

    Examples
    --------
    >>> import numpy as np, sash
    >>> sash.separable_filter(np.eye(3, dtype=int), [[1, 2, 1], [1, 0, -1]], padding="same")
    array([[-1,  2,  1],
           [-2,  0,  2],
           [-1, -2,  1]])
    """
    settings = Settings(axes, stride, dilation, padding, boundary, cval, dtype, "auto", method, accuracy, max_memory)
    if not isinstance(kernels, Iterable):
        raise KindError(f"kernels={kernels!r} must be a sequence of 1-D kernels, one per axis to slide over.")
    kernels = list(kernels)
    if tensors(x, *kernels):
        from sash.ops import tensors as family

        return family.separable_filter(x, _checked(kernels), settings, separable_filter)
    x = asarray("x", x)
    taps = [asarray(f"kernels[{i}]", k) for i, k in enumerate(kernels)]
    _checked(taps)
    whole = all([k.dtype.kind in "biu" for k in taps])
    kind = np.dtype(np.int64) if whole else np.result_type(*taps)
    sizes = tuple([k.size for k in taps])
    if kind.kind == "c" or not all([_finite(k) for k in taps]):  # channels of parts, and NaN, do not factor
        from sash.arrays.weights import sum_of_products

        return over(x, Weights(sum_of_products((tuple(taps),))), sizes, kind, settings)
    return over(x, Weights(None, (tuple([k if whole or k.dtype == kind else k.astype(kind) for k in taps]),)), sizes, kind, settings)


def _finite(k: Array) -> bool:
    """No tap is NaN or infinite; a finite sum tells it of short kernels."""
    return (k.size <= SHORT and k.dtype.kind != "c" and isfinite(sum(k.tolist()))) or bool(np.isfinite(k).all())


def _checked(kernels: list[Any]) -> list[Any]:
    """The kernels, each of one axis with at least one tap."""
    for i, k in enumerate(kernels):
        shape = k.shape if isinstance(k, np.ndarray) else tuple(np.shape(k))
        if len(shape) != 1 or not shape[0]:
            raise ArgumentError(f"kernels[{i}] has shape {shape}; each must be one axis of at least one tap.")
    if not kernels:
        raise ArgumentError("kernels is empty; give one 1-D kernel per axis to slide over.")
    return kernels


def _filter(x: Any, kernel: Any, settings: Settings, turned: bool) -> Array:
    x, kernel = asarray("x", x), asarray("kernel", kernel)
    if not kernel.size:
        raise ArgumentError(f"kernel has shape {kernel.shape}: it has no taps; every axis needs at least one.")
    if turned:
        kernel = kernel[(slice(None, None, -1),) * kernel.ndim]
    return over(x, Weights(kernel), kernel.shape, kernel.dtype, settings)
