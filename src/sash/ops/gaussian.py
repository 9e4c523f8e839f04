"""Gaussian kernels and blur, with derivatives, in any number of dimensions.

    x (any axes)   sigma in samples, one or one per blurred axis   y like x            Imports: filters.
Sampled and normalised kernels, cut at `truncate` standard deviations: SciPy's convention, equal to OpenCV's at a given
size.  Derivatives are those of the sampled Gaussian: a polynomial times it (as scipy.ndimage.gaussian_filter).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from sash.arrays import tensors
from sash.arrays.numpy_ import Array, asarray, settle_dtype, settle_number
from sash.arrays.weights import Weights
from sash.errors import ArgumentError, KindError
from sash.ops.arithmetic import per_axis
from sash.ops.filters import Settings, over, settle_axes
from sash.window import ints

MOST = 1 << 28
"""Most taps of a kernel."""

NOTHING = 1e-15
"""Standard deviations up to this leave an axis alone (as in SciPy)."""

PLAIN = (int, float, type(None))
"""Types of settings that are kept."""


def gaussian_kernel(sigma: Any, *, order: Any = 0, truncate: float = 4.0, size: Any = None) -> Array:
    """The sampled Gaussian of standard deviation sigma, normalised to sum 1, or a derivative of it.

    Parameters
    ----------
    sigma : float or sequence of float
        Standard deviation in samples. A sequence gives a dense kernel with one axis for each.
    order : int or one per axis, default 0
        Derivative. The kernel is the function's own samples, for `convolve`: ``order=1`` of a rising ramp is +1.
    truncate : float, default 4.0
        The radius is ``int(truncate * sigma + 0.5)``: what is cut off weighs less than 6.4e-5.
    size : int or one per axis, optional
        Number of taps instead of `truncate`. Even sizes are centred between two samples (as OpenCV).

    Returns
    -------
    array, float64
        One axis per sigma.

    Raises
    ------
    ArgumentError
        A negative or non-finite sigma, order or truncate; a size below 1; sigma 0 with a derivative.

    Examples
    --------
    >>> import sash
    >>> sash.gaussian_kernel(1, size=3).round(4).tolist()
    [0.2741, 0.4519, 0.2741]
    >>> sash.gaussian_kernel((1, 2)).shape
    (9, 17)

    Sources: Lindeberg 1990, doi:10.1109/34.49051, section II (sampled Gaussian); scipy.ndimage.gaussian_filter1d.
    """
    if np.ndim(sigma) == 0:
        order, size = (v[0] if isinstance(v, Sequence) and len(v) == 1 else v for v in (order, size))
        return _kernel(*_settle(sigma, order, truncate, size)).copy()
    count = len(sigma)
    if not count:
        raise ArgumentError("sigma is empty; give one standard deviation, or one per axis.")
    rows = zip(_each("sigma", sigma, count), _each("order", order, count), _each("size", size, count), strict=True)
    return reduce(np.multiply.outer, [_kernel(*_settle(s, o, truncate, k)) for s, o, k in rows])


def gaussian_blur(
    x: Any,
    sigma: Any,
    *,
    order: Any = 0,
    axes: Any = None,
    truncate: float = 4.0,
    size: Any = None,
    boundary: str = "symmetric",
    cval: Any = 0.0,
    dtype: Any = None,
    method: str = "auto",
    accuracy: str = "normwise",
    max_memory: int | None = None,
) -> Any:
    """Blur an array with a Gaussian, or take Gaussian derivatives of it; the result has x's shape.

    Parameters
    ----------
    x : array
        Any number of axes, any type that `correlate` takes.
    sigma : float or one per axis
        Standard deviation in samples; 0 leaves an axis alone.
    order : int or one per axis, default 0
        Derivative along each axis (1: slope per sample).
    axes : int or sequence of int, optional
        Axes to blur. Default: all.
    truncate, size
        Where the kernel ends: see `gaussian_kernel`. Sizes are odd here, so that the result does not shift.
    boundary : default "symmetric"
        "symmetric" (SciPy's default, "reflect" there), "nearest", "mirror", "wrap" or "constant" (`cval`).
    dtype : optional
        Type of the result. Default: floating and complex x keep their type; integers give float32 (up to 16 bits) or
        float64. An integer type is rounded to nearest even; a blur cannot leave the range of its input.
    method, accuracy, max_memory
        As in `correlate`.

    Returns
    -------
    array
        Of x's shape.

    Raises
    ------
    ArgumentError, KindError, MemoryLimit
        Anything that does not fit, before any work.

    Examples
    --------
    >>> import numpy as np, sash
    >>> volume = np.zeros((9, 9, 9), np.float32)
    >>> volume[4, 4, 4] = 1
    >>> float(sash.gaussian_blur(volume, sigma=1).sum().round(4))
    1.0

    Sources: as `gaussian_kernel`.
    """
    if tensors(x, sigma):
        told = {"axes": axes, "order": order, "truncate": truncate, "size": size, "boundary": boundary, "cval": cval, "dtype": dtype}
        return _on_tensors(x, sigma, {**told, "method": method, "accuracy": accuracy, "max_memory": max_memory})
    x = asarray("x", x)
    where = settle_axes(axes, x.ndim, None)
    settled = _settle_all(sigma, order, truncate, size, len(where))
    compute = settle_blur_type(x.dtype)
    result, rounded = compute if dtype is None else settle_dtype("dtype", dtype), None
    if result.kind in "iu":
        check_range(x.dtype, result, order, cval if boundary == "constant" else 0)
        result, rounded = compute, result
    settings = Settings(where, 1, 1, "same", boundary, cval, result, "auto", method, accuracy, max_memory)
    if not where:
        return over(x, Weights(np.ones(())), (), compute, settings, rounded)
    return over(x, _weights(settled, where, x.ndim), tuple([taps for *_, taps in settled]), compute, settings, rounded)


def _on_tensors(x: Any, sigma: Any, told: dict[str, Any]) -> Any:
    """`gaussian_blur` where x, or sigma, is a tensor; `told`: all other settings."""
    from sash.ops import tensors as family

    learnt = tensors(sigma)
    if not learnt and family.plain(x):
        return family.through_arrays(lambda a, **others: gaussian_blur(a, sigma, **others), x, **told)
    where = settle_axes(told["axes"], x.ndim, None)
    values = sigma if not learnt else sigma.tolist() if told["size"] is None else 1.0
    settled = _settle_all(values, told["order"], told["truncate"], told["size"], len(where))
    if not where:
        return x.clone()
    passed = {name: told[name] for name in ("boundary", "cval", "dtype", "method", "accuracy", "max_memory")}
    return family.gaussian_blur(x, sigma, settled, Settings(where, padding="same", **passed), gaussian_blur, told)


def _settle_all(sigma: Any, order: Any, truncate: Any, size: Any, count: int) -> tuple[tuple[float, int, int], ...]:
    """(sigma, order, taps) per axis, checked; kept for numbers, which are what little calls are given."""
    plain = type(sigma) in PLAIN and type(order) in PLAIN and type(truncate) in PLAIN and type(size) in PLAIN
    return (_settled if plain else _settled.__wrapped__)(sigma, order, truncate, size, count)


@lru_cache(maxsize=256, typed=True)
def _settled(sigma: Any, order: Any, truncate: Any, size: Any, count: int) -> tuple[tuple[float, int, int], ...]:
    found = []
    for s, o, k in zip(_each("sigma", sigma, count), _each("order", order, count), _each("size", size, count), strict=True):
        settled = _settle(s, o, truncate, k)
        if settled[2] % 2 == 0:
            raise ArgumentError(f"size={size!r} is even, which would shift the result by half a sample; use {k - 1} or {k + 1}.")
        found.append(settled)
    return tuple(found)


def blur_sizes(sigma: Any, order: Any, truncate: Any, size: Any, count: int) -> tuple[int, ...]:
    """Taps per axis; a single one leaves its axis alone."""
    return tuple([taps for *_, taps in _settle_all(sigma, order, truncate, size, count)])


@lru_cache(maxsize=64)
def _weights(settled: tuple[tuple[float, int, int], ...], axes: tuple[int, ...], ndim: int) -> Weights:
    """The kernels as correlation wants them, one per axis of x; kept, and what is made of them with them."""
    kernels = {a: np.ascontiguousarray(_kernel(*s)[::-1]) for a, s in zip(axes, settled, strict=True)}
    return Weights(None, (per_axis(kernels, ndim),), spread=True)


def settle_blur_type(x: np.dtype[Any]) -> np.dtype[Any]:
    """Floats keep their type; integers of up to 16 bits become float32, wider ones float64."""
    if x.kind in "fc":
        return x.newbyteorder("=")
    return np.dtype(np.float32 if x.itemsize <= 2 else np.float64)


def check_range(x: np.dtype[Any], result: np.dtype[Any], order: Any, cval: Any) -> None:
    """An integer result must hold everything that a blur of x can give."""
    cval = settle_number("cval", cval)
    if isinstance(cval, complex) or not -1e308 < cval < 1e308:
        raise ArgumentError(f"cval={cval!r} is no value that {result} can hold; use a finite real number.")
    if x.kind not in "biu":
        raise KindError(f"dtype={result} is an integer type, but x is {x}; round the result yourself.")
    if np.any(np.asarray(order)):
        raise ArgumentError(f"dtype={result} with order={order!r}: derivatives have fractions and signs; use a float dtype.")
    low, high = (0, 1) if x.kind == "b" else (int(np.iinfo(x).min), int(np.iinfo(x).max))
    low, high = min(low, cval), max(high, cval)
    info = np.iinfo(result)
    if low < info.min or high > info.max:
        raise ArgumentError(
            f"dtype={result} holds [{info.min}, {info.max}], but a blur of {x} may lie in [{low}, {high}]; use a wider type."
        )


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One value per axis."""
    if not isinstance(value, (tuple, list)) and (value is None or isinstance(value, (int, float)) or np.ndim(value) == 0):
        return [value] * count
    if len(value) != count:
        raise ArgumentError(f"{name}={value!r} has {len(value)} values for {count} axes; give one, or one per axis.")
    return list(value)


def _settle(sigma: Any, order: Any, truncate: Any, size: Any) -> tuple[float, int, int]:
    """(sigma, order, taps), checked."""
    sigma, truncate = settle_number("sigma", sigma), settle_number("truncate", truncate)
    for name, value in (("sigma", sigma), ("truncate", truncate)):
        if isinstance(value, complex) or not 0 <= value < float("inf"):
            raise ArgumentError(f"{name}={value!r} must be a finite number of at least 0.")
    whole = ints("order", order)
    if not isinstance(whole, int) or whole < 0:
        raise ArgumentError(f"order={order!r} must be an int of at least 0 (0: blur, 1: slope, 2: curvature).")
    if whole and sigma <= NOTHING:
        raise ArgumentError(f"sigma={sigma!r} with order={whole}: a Gaussian of no width has no derivative; use a sigma above 0.")
    taps = ints("size", size) if size is not None else 2 * int(float(truncate) * float(sigma) + 0.5) + 1 if sigma > NOTHING else 1
    if not isinstance(taps, int) or taps < 1:
        raise ArgumentError(f"size={size!r} must be an int of at least 1.")
    if taps > MOST:
        raise ArgumentError(f"sigma={sigma!r} and size={size!r} make a kernel of {taps} taps, and {MOST} are the most; use a smaller one.")
    return float(sigma), whole, taps


@lru_cache(maxsize=256)
def _kernel(sigma: float, order: int, taps: int) -> Array:
    """Samples of the order-th derivative; its polynomial q follows q' + q * p' with p = -t^2 / (2 sigma^2)."""
    t = np.arange(taps) - (taps - 1) / 2
    if sigma <= NOTHING:
        nearest = np.abs(t) == np.abs(t).min()
        return nearest / nearest.sum()  # type: ignore[no-any-return]
    phi: Array = np.exp(-0.5 / (sigma * sigma) * (t**2 - (t**2).min()))  # an even size has no sample at 0
    phi /= phi.sum()
    q = np.polynomial.Polynomial([1.0])
    slope = np.polynomial.Polynomial([0.0, -1.0 / (sigma * sigma)])
    for _ in range(order):
        q = q.deriv() + q * slope
    if order:
        phi = phi * q(t)
    return phi
