"""The NumPy family: how tiles are read from, and written to, arrays of any layout.

    x (N, C, *S)   tile (N, C, *T)   y (N, O, *out)      Imports: axis, errors.
A tile that one forward run per axis describes is a view; anything else is copied once, in the type it is needed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sash.axis import Axis, Run
from sash.errors import KindError

Array = np.ndarray[Any, np.dtype[Any]]
KINDS = "?bBhHiIlLqQefdFD"
SMALL = "bBhHi"
"""Integers that kernels turn into floats as they read them, and floats into as they write."""

FEW = 1 << 12
"""Elements of which a sum of squares takes one call of BLAS, and none of its threads."""

MANY = 6
"""Axes with more runs than this are read through an index map instead of run by run."""


LINE = 64
"""Bytes of a line of the cache."""

LITTLE = 1 << 13
"""Tiles of up to so many samples are extended by one look-up, whose tables are kept."""


def asarray(name: str, value: object) -> Array:
    """`value` as an array of a number type that sash computes with (no copy if it is one)."""
    if type(value) is np.ndarray:
        found = value
    elif isinstance(value, np.ma.MaskedArray):
        raise KindError(f"{name} is a masked array, whose mask would be lost; fill it first ({name}.filled(...)).")
    else:
        try:
            found = np.asarray(value)
        except ValueError as error:
            raise KindError(f"{name} is not an array: {error}.") from None
    if found.dtype.char not in KINDS:
        kind = "objects" if found.dtype == object else f"elements of type {found.dtype}"
        raise KindError(f"{name} holds {kind}; sash takes bool, integers, float16/32/64 and complex64/128 (use {name}.astype(...)).")
    return found


def settle_dtype(name: str, value: object) -> np.dtype[Any]:
    """`value` as an element type."""
    try:
        found: np.dtype[Any] = np.dtype(value)  # type: ignore[call-overload]
    except TypeError:
        raise KindError(f"{name}={value!r} is no element type that NumPy knows.") from None
    if found.char not in KINDS:
        raise KindError(f"{name}={value!r}: sash takes bool, integers, float16/32/64 and complex64/128.")
    return found


def settle_number(name: str, value: object) -> Any:
    """`value` as a Python number (0-d arrays and NumPy's scalars too)."""
    if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (int, float, complex)):
        raise KindError(f"{name}={value!r} must be a number.")
    return value


def finite(x: Array) -> bool:
    """Whether all of x is, at a quarter of the time where x is little and its squares have a sum."""
    if x.size <= FEW and x.dtype.char in "fd" and isfinite(np.vdot(x, x)):
        return True
    return bool(np.isfinite(x).all())


def cut(x: Array, slices: Sequence[Any]) -> Array:
    """A view of x, cut along its last axes."""
    index: Any = (..., *slices)
    found: Array = x[index]
    return found


def take(x: Array, runs: Sequence[Sequence[Run]]) -> Array:
    """The samples that `runs` (per axis of S) describe: a view where each axis is one forward run, else a copy."""
    if all([len(r) == 1 and r[0].step == 1 for r in runs]):
        return cut(x, [slice(r[0].first, r[0].first + r[0].length) for r in runs])
    tile = np.empty((*x.shape[:2], *(sum(run.length for run in r) for r in runs)), x.dtype)
    _gather(x, runs, tile, 0)
    return tile


def fill(x: Array, axes: Sequence[Axis], dtype: str, cval: complex) -> Array:
    """The extension of x on [start, stop) of every axis, as `dtype`: a view where nothing has to change."""
    if all([a.plain for a in axes]):
        piece = cut(x, [slice(a.start, a.stop) for a in axes])
        return piece if piece.dtype == dtype and piece.dtype.isnative and piece.flags.aligned else piece.astype(dtype)
    if x.size and x.flags.c_contiguous and prod(x.shape[:2]) * prod([a.stop - a.start for a in axes]) <= LITTLE:
        return _looked_up(x, tuple(axes), dtype, cval)
    tile = np.empty((*x.shape[:2], *(a.stop - a.start for a in axes)), dtype)
    _gather(x, tuple([a.runs(a.start, a.stop) for a in axes]), tile, cval)
    return tile


def _looked_up(x: Array, axes: tuple[Axis, ...], dtype: str, cval: complex) -> Array:
    """The extension of a little x sample by sample: one call, where copies of every part would be nine and more."""
    shape, at, past = _places(axes)
    tile = x.reshape(x.shape[0], x.shape[1], -1).take(at, axis=2).astype(dtype, copy=False)
    if past is not None:
        tile[:, :, past] = cval
    return tile.reshape(x.shape[0], x.shape[1], *shape)


@lru_cache(maxsize=256)
def _places(axes: tuple[Axis, ...]) -> tuple[tuple[int, ...], Array, Array | None]:
    """The tile's shape, which sample each of its positions reads, and which positions read cval (None: none)."""
    at, past = np.zeros((), np.int64), np.zeros((), bool)
    for axis in axes:
        read = index(axis)
        at, past = np.add.outer(at * axis.n, np.maximum(read, 0)), np.logical_or.outer(past, read < 0)
    return at.shape, at.reshape(-1), past.reshape(-1) if past.any() else None


def _gather(x: Array, runs: Sequence[Sequence[Run]], tile: Array, cval: complex) -> None:
    """Write the runs of x into tile, block by block; positions that read no sample get cval."""
    for i, row in enumerate(runs):
        if len(row) > MANY and all(run.first >= 0 for run in row):
            x = np.take(x, np.concatenate([_indices(run) for run in row]), axis=i + 2)
            runs = (*runs[:i], (Run(x.shape[i + 2], 0, 1),), *runs[i + 1 :])
    blocks, whole = _blocks(tuple(runs))
    if not whole:
        tile.fill(cval)
    for to, source in blocks:
        tile[to] = x[source]


Cut = tuple[Any, ...]


@lru_cache(maxsize=1024)
def _blocks(runs: tuple[tuple[Run, ...], ...]) -> tuple[list[tuple[Cut, Cut]], bool]:
    """(destination, source) of each block of samples, and whether they make up the whole tile."""
    cut, whole = [], True
    for row in runs:
        at, pieces = 0, []
        for length, first, step in row:
            if length and first >= 0:
                last = first + step * length
                source = slice(first, first + 1) if step == 0 else slice(first, last if last >= 0 else None, step)
                pieces.append((slice(at, at + length), source))
            whole &= first >= 0 or not length
            at += length
        cut.append(pieces)
    return [((..., *(to for to, _ in block)), (..., *(source for _, source in block))) for block in product(*cut)], whole


def _indices(run: Run) -> Array:
    return np.full(run.length, run.first) if run.step == 0 else run.first + run.step * np.arange(run.length)


def flat(x: Array) -> Array:
    """All of x's memory from its first element to its last, as one contiguous axis (strides must be positive)."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    span = sum((n - 1) * step for n, step in zip(x.shape, x.strides, strict=True)) // x.itemsize + 1
    return as_strided(x, (span,), (x.itemsize,))


def gathered(x: Array) -> Array:
    """x itself, or a contiguous copy where it is little: what is bound to contiguous arrays saves more than the copy takes."""
    if x.size > LITTLE or (x.flags.c_contiguous and x.flags.aligned):
        return x
    return np.array(x, x.dtype.newbyteorder("="), order="C")


def steps(x: Array) -> tuple[int, ...]:
    """Strides in elements."""
    return tuple([s // x.itemsize for s in x.strides])


def sound(x: Array) -> bool:
    """x can be read through `flat`: native, aligned, positive whole strides, contiguous last axis."""
    return x.dtype.isnative and x.flags.aligned and (x.flags.c_contiguous or lies_well(x.shape, x.strides, x.itemsize, x.ndim - 1))


def readable(x: np.dtype[Any], dtype: str) -> bool:
    """Kernels that compute in `dtype` read elements of x as they lie: of that type, or small integers beside floats."""
    return x == dtype or (x.char in SMALL and x.isnative and dtype in ("float32", "float64"))


def storable(problem_dtype: str, y: np.dtype[Any], exact: bool) -> bool:
    """Kernels that compute in `dtype` can write elements of y themselves: those that readable names, and exact int64."""
    return readable(y, problem_dtype) or (exact and y == np.int64)


def lies_well(shape: tuple[int, ...], strides: tuple[int, ...], item: int, axis: int) -> bool:
    """Positive whole strides, and `axis` and those behind it are one contiguous row."""
    expected = item
    for i in range(len(shape) - 1, -1, -1):
        n, step = shape[i], strides[i]
        if i >= axis and n > 1 and step != expected:
            return False
        if n > 1 and (step <= 0 or step % item):
            return False
        expected *= n
    return True


def packed(shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    """Strides, in bytes, of a contiguous array of this shape."""
    strides = [item] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def index(axis: Axis) -> Array:
    """The sample that each position of [start, stop) reads; -1 reads cval."""
    pieces = [_indices(run) for run in axis.runs(axis.start, axis.stop)]
    return np.ascontiguousarray(np.concatenate(pieces) if pieces else np.empty(0), np.int64)


def give(tile: Array, y: Array) -> None:
    """Store a tile of results in y, which may be of another type: integers are rounded to nearest even."""
    if y.dtype.kind in "iu" and tile.dtype.kind == "f":
        np.rint(tile, out=tile)
        if y.dtype.itemsize == 8 and tile.dtype == np.float64:  # 2**63 - 1 is no float64: stay below
            most = np.nextafter(np.float64(np.iinfo(y.dtype).max), 0)
            np.minimum(tile, most, out=tile)
    np.copyto(y, tile, casting="unsafe")


def add_exactly(total: Array, piece: Array, rest: Array) -> None:
    """total += piece, what rounding loses going into rest (Knuth's two-sum)."""
    new = total + piece
    part = new - total
    lost = (total - (new - part)) + (piece - part)
    lost[~np.isfinite(lost)] = 0  # an infinite sum loses nothing
    rest += lost
    total[...] = new


lib = np


def zeros(shape: Sequence[int], like: Array) -> Array:
    return np.zeros(tuple(shape), like.dtype)


def aligned(size: int, dtype: str) -> Array:
    """Memory for so many elements that begins with a line of the cache."""
    room = np.empty(size * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    found: Array = room[start : start + room.size - LINE].view(dtype)
    return found


def empty(shape: Sequence[int], like: Array) -> Array:
    return np.empty(tuple(shape), like.dtype)


def cast(x: Array, dtype: str) -> Array:
    """x as `dtype`; x itself where it is."""
    return x.astype(dtype, copy=False)


def rfftn(x: Array, lengths: Sequence[int], axes: Sequence[int]) -> Array:
    """One axis after the other, so that lines of zeros behind x are not transformed (127² taps to 384 x 640: 0.62 ms, not 0.88)."""
    from scipy import fft

    found: Array = fft.rfft(x, lengths[-1], axes[-1])
    for n, axis in zip(lengths[-2::-1], axes[-2::-1], strict=True):
        found = fft.fft(found, n, axis, overwrite_x=True)
    return found


def irfftn(x: Array, lengths: Sequence[int], axes: Sequence[int], kept: Sequence[int]) -> Array:
    """The first `kept` of each axis, and no line beside them made (76³ of 90³: 3.7 ms, not 7.1); x is not needed any more."""
    from scipy import fft

    for n, axis, some in zip(lengths[:-1], axes[:-1], kept[:-1], strict=True):
        x = fft.ifft(x, n, axis, overwrite_x=True)[(slice(None),) * axis + (slice(0, some),)]
    found: Array = fft.irfft(x, lengths[-1], axes[-1], overwrite_x=True)
    return found


def windows(x: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """A view of x with these strides, in elements."""
    return as_strided(x, tuple(shape), tuple([s * x.itemsize for s in strides]))
