"""What all filters share: from two arrays and their settings to a Problem, and back to an array like x.

    x (any axes)   kernel (one axis per slid axis)   y (x's axes, the slid ones resized)
Axes that are not slid over are idle axes of the Problem, so nothing is transposed; a complex array is a real one with
two channels.  Imports: running, problem, arrays, window.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sash.arrays.numpy_ import Array, gathered, readable, settle_dtype, settle_number, sound
from sash.arrays.weights import Weights, sum_of_products
from sash.axis import BOUNDARIES, Axis
from sash.bound import Bound, bind
from sash.errors import ArgumentError, KindError, unknown
from sash.machine import by_rates
from sash.methods.offsets import Kernel
from sash.ops.arithmetic import LITTLE, WORTH_MEASURING, How, carry_out, per_axis, too_tall
from sash.problem import Problem
from sash.running import check_settings
from sash.tiles import workers
from sash.window import Window, ints, settle_padding


class Settings(NamedTuple):
    """What every filter can be told, as typed."""

    axes: Any = None
    stride: Any = 1
    dilation: Any = 1
    padding: Any = "valid"
    boundary: Any = "constant"
    cval: Any = 0.0
    dtype: Any = None
    separable: Any = "auto"
    method: Any = "auto"
    accuracy: Any = "normwise"
    max_memory: Any = None

    def check(self) -> None:
        """Refuse unknown names."""
        check_settings(self.method, self.accuracy, self.max_memory)
        check_boundary(self.boundary)
        if self.separable not in ("auto", True, False):
            raise ArgumentError(f"separable={self.separable!r} must be True, False or 'auto'.")

    def plain(self) -> Settings:
        """The same with sequences as tuples of ints, so that equal settings are equal keys."""
        axes, stride, dilation, padding = self[:4]
        if not (type(self.boundary) is type(self.method) is type(self.accuracy) is str):
            self.check()
        if type(self.separable) not in (bool, str):
            raise ArgumentError(f"separable={self.separable!r} must be True, False or 'auto'.")
        if type(self.cval) not in (int, float):
            self = self._replace(cval=settle_number("cval", self.cval))
        settled = axes is None or (type(axes) is tuple and all([type(a) is int for a in axes]))
        typed = self.dtype is None or isinstance(self.dtype, np.dtype)
        if settled and typed and type(stride) is type(dilation) is int and type(padding) in (int, str):
            return self
        return self._replace(
            axes=axes if axes is None or type(axes) is int else ints("axes", axes),
            stride=stride if type(stride) is int else ints("stride", stride),
            dilation=dilation if type(dilation) is int else ints("dilation", dilation),
            padding=padding if type(padding) in (int, str) else settle_padding(padding),
            dtype=self.dtype if self.dtype is None else settle_dtype("dtype", self.dtype),
        )


def check_boundary(boundary: str) -> None:
    """One of the five names; "reflect" means two different things and is refused."""
    if boundary in BOUNDARIES:
        return
    if not isinstance(boundary, str):
        raise unknown("boundary", boundary, BOUNDARIES)
    if boundary == "reflect":
        raise ArgumentError(
            "boundary='reflect' means two different things: use 'symmetric' (c b a | a b c: SciPy's 'reflect', "
            "NumPy's 'symmetric') or 'mirror' (d c b | a b c: NumPy's and PyTorch's 'reflect', SciPy's 'mirror')."
        )
    known = {"edge": "nearest", "replicate": "nearest", "circular": "wrap", "periodic": "wrap", "zero": "constant", "zeros": "constant"}
    if boundary in known:
        raise ArgumentError(f"boundary={boundary!r} is called {known[boundary]!r} here; one of {', '.join(map(repr, BOUNDARIES))}.")
    raise unknown("boundary", boundary, BOUNDARIES)


def settle_axes(axes: object, ndim: int, count: int | None, x: str = "x", slides: str = "the kernel") -> tuple[int, ...]:
    """Axes of x as non-negative ints; None: the last `count` (all where count is None)."""
    if axes is None:
        count = ndim if count is None else count
        if count > ndim:
            raise ArgumentError(f"{slides} has {count} axes and {x} has {ndim}: it cannot slide over more axes than there are.")
        return tuple(range(ndim - count, ndim))
    found = ints("axes", axes)
    found = found if isinstance(found, tuple) else (found,)
    for a in found:
        if not -ndim <= a < ndim:
            raise ArgumentError(f"axes={axes!r}: there is no axis {a} in {x}, which has {ndim} axes.")
    settled = tuple(a % ndim for a in found)
    if len(set(settled)) != len(settled):
        raise ArgumentError(f"axes={axes!r} names an axis of {x} twice.")
    if count is not None and len(settled) != count:
        raise ArgumentError(f"axes={axes!r} names {len(settled)} axes and {slides} has {count}; they must agree.")
    return settled


def fresh_axes(shape: tuple[int, ...], axes: tuple[int, ...], window: Window, boundary: str) -> tuple[Axis, ...]:
    """One Axis per axis of x: the window's where it slides, idle ones elsewhere."""
    slid = window.over([shape[a] for a in axes], boundary, axes)
    found = [Axis(n, 1, 1, 1, 0, n, "zero") for n in shape]
    for a, axis in zip(axes, slid, strict=True):
        axis = stepped(axis)
        if axis.n == 0 and boundary not in ("zero", "constant") and (axis.start < 0 or axis.stop > 0):
            raise ArgumentError(f"axis {a} of x has no samples, so boundary={boundary!r} has nothing to extend; use 'constant'.")
        found[a] = axis
    return tuple(found)


all_axes = lru_cache(maxsize=4096)(fresh_axes)


def stepped(axis: Axis) -> Axis:
    """The axis without steps that are never taken, which may be of any length."""
    if axis.size == 1:
        axis = axis._replace(dilation=1)
    if axis.stride > axis.stop - axis.start >= axis.reach:
        axis = axis._replace(stride=1, stop=axis.start + axis.reach)
    return axis


class Types(NamedTuple):
    """Element types of a filter: of the result, and computed in; `exact`: integers with integers."""

    result: np.dtype[Any]
    compute: str
    exact: bool


@lru_cache(maxsize=1024)
def settle_types(x: np.dtype[Any], kernel: np.dtype[Any], asked: np.dtype[Any] | None) -> Types:
    """Floats and complex keep their type; integers with integers give int64; integers with floats as NumPy promotes."""
    whole = x.kind in "biu" and kernel.kind in "biu"
    result: np.dtype[Any]
    if whole:
        result = np.dtype(np.int64)
    elif x.kind in "fc":
        result = np.result_type(x, np.complex64) if kernel.kind == "c" and x.kind == "f" else x
        if x == np.float16 and kernel.kind == "c":
            result = np.dtype(np.complex64)
    else:
        result = np.result_type(x, kernel)
    result = result.newbyteorder("=")
    if asked is not None:
        if asked.kind not in "iufc":
            raise KindError(f"dtype={asked} is no number type that results can have.")
        if asked.kind in "iu" and not whole:
            raise KindError(f"dtype={asked} is an integer type, but the result of {x} and {kernel} is {result}; round it yourself.")
        if asked.kind == "f" and result.kind == "c":
            raise KindError(f"dtype={asked} is real, but the result of {x} and {kernel} is {result}; take .real or .imag.")
        exact, result = whole and asked.kind in "iu", asked.newbyteorder("=")
        return Types(result, _compute(result), exact)
    return Types(result, _compute(result), whole)


def _compute(result: np.dtype[Any]) -> str:
    return "float64" if result.char in "dD" or result.kind in "iu" else "float32"


class Lowered(NamedTuple):
    """A filter in shapes and types: the real Problem as far as shapes tell it, and how operands are laid out for it."""

    problem: Problem
    types: Types
    out: tuple[int, ...]
    axes: tuple[int, ...]
    order: tuple[int, ...]
    spread: tuple[int, ...]
    """Shape of the dense kernel with one axis per axis of x, behind two for channels."""
    cval: complex


@lru_cache(maxsize=4096, typed=True)
def lower(
    shape: tuple[int, ...], x: np.dtype[Any], straight: bool, sizes: tuple[int, ...], kind: np.dtype[Any], rank: int, *told: Any
) -> Lowered:
    """From shapes, element types and settings (`told`) to a Problem; everything that does not fit is refused here."""
    settings = Settings(*told)
    settings.check()
    axes = settle_axes(settings.axes, len(shape), len(sizes))
    zero = settings.boundary == "constant" and _is_zero(settings.cval)
    window = Window(sizes, stride=settings.stride, dilation=settings.dilation, padding=settings.padding)
    slid = all_axes(shape, axes, window, "zero" if zero else settings.boundary)
    types = settle_types(x, kind, settings.dtype)
    order = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    spread = [1] * (len(shape) + 2)
    for i in order:
        spread[axes[i] + 2] = sizes[i]
    problem = Problem(
        slid,
        dtype=types.compute,
        source=x.name,
        result=types.result.name,
        rank=rank,
        finite=bool(rank) or kind.kind in "biu",
        straight=straight and readable(x, types.compute),
        elementwise=settings.accuracy == "elementwise",
    )
    cval = settle_cval(settings, x, types)
    if problem.results * types.result.itemsize >= 1 << 62:
        raise ArgumentError(f"the result would have the shape {problem.out}, more than any memory holds; use less padding.")
    return Lowered(problem, types, problem.out, axes, order, tuple(spread), cval)


class Again(NamedTuple):
    """A filter that was settled before: all that is left to do."""

    bound: Bound
    mirrored: Bound
    """The same for 1-D kernels that are the same turned round."""
    axes: tuple[int, ...]
    out: tuple[int, ...]
    result: np.dtype[Any]
    compute: np.dtype[Any]
    cval: Any
    order: tuple[int, ...]
    """The kernel's axes in the order of x's; empty where they are."""
    fits: bool
    """The kernel's type holds nothing that the type computed in does not."""

    def made(self, x: Array, kernel: Weights) -> Array:
        """The result."""
        y = np.empty(self.out, self.result)
        bound = self.mirrored if self.mirrored is not self.bound and kernel.mirrored else self.bound
        if bound.factored:
            bound.call(x, bound.prepared(spread_out(kernel, self.axes, x.ndim)), y, self.cval, None)
        else:
            bound.call(x, Kernel(self.weights(kernel)), y, self.cval, None)
        return y

    def weights(self, kernel: Weights) -> Array:
        """The kernel's taps in a row."""
        if kernel.spread:
            kept: Array | None = kernel.kept.get(self.compute.char)
            if kept is None:
                kept = kernel.kept[self.compute.char] = np.ascontiguousarray(kernel.dense, self.compute).reshape(-1)
            return kept
        w = sum_of_products(kernel.terms or ()) if kernel.array is None else kernel.array
        return np.ascontiguousarray(w.transpose(self.order) if self.order else w, self.compute).reshape(-1)


@by_rates(256)
def again(
    workers: int, shape: tuple[int, ...], x: np.dtype[Any], sizes: tuple[int, ...], kind: np.dtype[Any], rank: int, rounded: Any, *told: Any
) -> Again | None:
    """A filter of contiguous arrays from shapes, types and settings alone; None where it is not bound, or values matter."""
    low, settings = lower(shape, x, True, sizes, kind, rank, *told), Settings(*told)
    if not x.isnative or low.types.exact or low.types.result.kind == "c" or settings.separable is True:
        return None
    result = np.dtype(rounded) if rounded else low.types.result
    problem = low.problem._replace(result=result.name)
    if not rank and problem.results * problem.taps > WORTH_MEASURING:  # the kernel's rank may be looked for
        return None
    # What is told of a dense kernel's values may lead to other methods: bound is what is the same either way.
    if rank:
        told_of = [problem, problem._replace(mirrored=problem.results >= LITTLE)]
    else:
        told_of = [problem._replace(finite=True), problem]
    plain, other = [bind(each, settings.method, settings.max_memory, workers) for each in told_of]
    if plain is None or other is None:
        return None
    compute = np.dtype(low.types.compute)
    order = () if low.order == tuple(range(len(sizes))) else low.order
    fits = rank > 0 or kind.itemsize <= compute.itemsize
    return Again(plain, other if rank else plain, low.axes, low.out, result, compute, low.cval.real, order, fits)


def over(x: Array, kernel: Weights, sizes: tuple[int, ...], kind: np.dtype[Any], settings: Settings, rounded: Any = None) -> Array:
    """Slide a kernel of element type `kind` over x.

    `kernel.array` has one axis per slid axis; or `kernel.terms` holds products of one 1-D kernel per slid axis (of one
    per axis of x, where `kernel.spread`).
    `rounded`: an integer type that holds every result, which is stored rounded to nearest even.
    """
    told, rank = settings.plain(), len(kernel.terms or ())
    x = gathered(x) if settings.max_memory is None else x
    if sizes and x.flags.c_contiguous and x.flags.aligned:
        ready = again(workers(), x.shape, x.dtype, sizes, kind, rank, rounded, *told)
        if ready is not None and (ready.fits or not too_tall(kernel)):
            return ready.made(x, kernel)
    if not x.ndim and not sizes:  # a scalar is one sample with nothing to slide over
        return over(x[None], kernel, sizes, kind, settings, rounded)[0, ...]
    low = lower(x.shape, x.dtype, sound(x), sizes, kind, rank, *told)
    problem, cval = low.problem, low.cval
    if kernel.terms is not None:
        kernel = spread_out(kernel, low.axes, x.ndim)
    elif kernel.array is not None:
        dense = kernel.array.transpose(low.order).reshape(low.spread)
        kernel = Weights(dense)
    y = np.empty(low.out, rounded or low.types.result)
    if rounded:
        problem = problem._replace(result=y.dtype.name)
    if not y.size:
        return y
    how = How(settings.separable, settings.method, settings.max_memory)
    carry_out(problem, x[None, None], kernel, y[None, None], cval, low.types.exact, how)
    return y


def spread_out(kernel: Weights, axes: tuple[int, ...], ndim: int) -> Weights:
    """Terms of one 1-D kernel per slid axis as those of one per axis of x."""
    if kernel.spread:
        return kernel
    terms = (zip(axes, term, strict=True) for term in kernel.terms or ())
    return Weights(None, tuple([per_axis(dict(term), ndim) for term in terms]))


def _is_zero(cval: Any) -> bool:
    try:
        return bool(cval == 0)
    except (TypeError, ValueError):
        return False


def settle_cval(settings: Any, x: np.dtype[Any], types: Types) -> complex:
    """`settings.cval` as a number that the computation can hold; an int where the result is exact (2**53 + 1 is no float)."""
    if types.exact and settings.boundary != "constant":
        return 0
    cval = check_cval(settings.cval, types.exact, types.result.kind == "c", x)
    return cval if types.exact else complex(cval)


def check_cval(cval: Any, exact: bool, wide: bool, x: object) -> Any:
    """`cval` as an int where the result is exact, complex where it is (`wide`), else as a float; x's type is for the errors."""
    if isinstance(cval, complex):
        if cval.imag and not wide:
            raise KindError(f"cval={cval!r} is complex, but x is {x} and the result real; use a real cval.")
        cval = cval if cval.imag else cval.real
    if exact:
        if isinstance(cval, float) and not cval.is_integer():
            raise KindError(f"cval={cval!r} is no integer, but x is {x} and the result exact; use an integer, or floating x.")
        return int(cval)
    if isinstance(cval, int):
        try:
            return float(cval)
        except OverflowError:
            raise ArgumentError(f"cval has {len(str(cval))} digits, more than a float can hold; use a smaller one.") from None
    return cval
