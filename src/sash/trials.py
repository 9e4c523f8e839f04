"""A trial: one verb on random arrays of given shapes, planned, and run by each of its methods.

Numbers become shapes here (n -> (n, n)), shapes become arrays; nothing is timed.   Imports: explain, layout, tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from sash.arrays.numpy_ import settle_dtype
from sash.errors import ArgumentError, unknown
from sash.ops.explain import VERBS, plan
from sash.ops.layout import FORMATS
from sash.plans import Plan
from sash.window import ints

Shape: TypeAlias = "tuple[int, ...]"

KERNEL_FREE = "gaussian_blur"
"""The verb whose second argument is no array: its kernels are sizes, with the sigma that ends there."""

PLANES = 3
"""Planes of weights of a 2.5-D convolution whose kernels are given as ints."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A verb on arrays of these shapes: its plan, what it takes beyond scratch, and how it is run."""

    verb: str
    shapes: tuple[Shape, Shape]
    kind: Any
    settings: dict[str, Any]
    plan: Plan

    @property
    def held(self) -> int:
        """Bytes of the arrays and of the result."""
        x, kernel = self.shapes
        each = max(getattr(self.kind, "itemsize", 4), np.dtype(self.plan.problem.result).itemsize)
        return each * (prod(x) + prod(kernel) + self.plan.problem.results)

    def runs(self) -> Callable[[str], Any]:
        """The call of one method on arrays made for this trial."""
        function = VERBS[self.verb][0]
        arrays, settings = self._arrays(), self.settings
        return lambda method: function(*arrays, method=method, **settings)

    def _arrays(self) -> tuple[Any, ...]:
        x, kernel = self.shapes
        made = random(x, self.kind)
        if self.verb == KERNEL_FREE:
            return (made,)
        if self.verb == "separable_filter":
            return made, [random((n,), self.kind) for n in kernel]
        if self.verb == "conv2_5d":  # a wall seen aslant: neighbours fall into neighbouring planes
            wall = np.broadcast_to(np.linspace(2, 3, x[-1]), (x[0], *x[2:]))
            return made, like(wall.astype(np.float64 if "64" in str(self.kind) else np.float32), self.kind), random(kernel, self.kind)
        if self.settings.get("separable") is True:  # as told to the plan: one outer product
            product = np.ones((), np.float64)
            for n in kernel:
                product = np.multiply.outer(product, np.random.default_rng(n).uniform(0.5, 1, n))
            return made, like(product.astype(native(self.kind)), self.kind)
        return made, random(kernel, self.kind)


def trial(verb: str, x: Shape, kernel: Shape, kind: Any, settings: dict[str, Any]) -> Trial:
    """Plan a verb on arrays of these shapes; refuses what the verb would refuse."""
    if verb == KERNEL_FREE:
        told = {"sigma": tuple(max(n - 1, 1) / 8 for n in kernel), "size": kernel} | settings
        return Trial(verb, (x, kernel), kind, told, plan(verb, x, input_dtype=kind, **told))
    return Trial(verb, (x, kernel), kind, settings, plan(verb, x, kernel, input_dtype=kind, **settings))


def shapes(
    verb: str, inputs: Any, kernels: Any, ndim: int | None, channels: Any, settings: dict[str, Any]
) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Inputs and kernels as shapes; an int means that extent on each of `ndim` slid axes, with `channels` beside them."""
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    given = tuple(_sizes(name, sizes) for name, sizes in (("inputs", inputs), ("kernels", kernels)))
    if ndim is None:
        ndim = _slid(verb, given, settings)
    elif isinstance(ndim, bool) or not hasattr(ndim, "__index__") or ndim < 1:
        raise ArgumentError(f"ndim={ndim!r} must be a number of axes of at least 1.")
    counts = ints("channels", 1 if channels is None else channels)
    came, went = counts if isinstance(counts, tuple) and len(counts) == 2 else (counts, counts)
    if not isinstance(came, int) or not isinstance(went, int) or min(came, went) < 1:
        raise ArgumentError(f"channels={channels!r} must be one count of at least 1, or one of the input and one of the result.")
    around = _around(verb, came, went, channels is not None, settings)
    found = tuple(tuple(s if isinstance(s, tuple) else wrap((s,) * ndim) for s in row) for row, wrap in zip(given, around, strict=True))
    for name, row in zip(("inputs", "kernels"), found, strict=True):
        if len({len(s) for s in row}) > 1:
            raise ArgumentError(
                f"{name} have {' and '.join(map(str, sorted({len(s) for s in row})))} axes; a map needs one number of them."
            )
    return found[0], found[1]


def _sizes(name: str, sizes: Any) -> list[int | Shape]:
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise ArgumentError(f"{name}={sizes!r} must be a sequence of extents or shapes, like [64, 128] or [(64, 64, 5), (128, 128, 5)].")
    found: list[int | Shape] = [ints(name, s) for s in sizes]
    if not found:
        raise ArgumentError(f"{name} is empty; give at least one extent or shape.")
    if any([n < 1 for s in found for n in (s if isinstance(s, tuple) else (s,))]):
        raise ArgumentError(f"{name}={sizes!r} must be extents of at least 1.")
    if len(set(found)) < len(found):
        raise ArgumentError(f"{name}={sizes!r} names a size twice.")
    return found


def _slid(verb: str, given: tuple[list[int | Shape], ...], settings: dict[str, Any]) -> int:
    """The number of slid axes where it is not told: that of `axes`, or of a shape that is written out; else 2."""
    if settings.get("axes") is not None:
        axes = ints("axes", settings["axes"])
        return len(axes) if isinstance(axes, tuple) else 1
    beside = {"conv": 2, "conv_transpose": 2, "conv2_5d": 2}.get(verb, int(settings.get("channel_axis") is not None))
    for row, more in zip(given[::-1], (int(verb == "conv2_5d"), 0), strict=True):
        if isinstance(row[0], tuple):
            return max(len(row[0]) - beside - more, 1)
    return 2


def _around(verb: str, came: int, went: int, told: bool, settings: dict[str, Any]) -> tuple[Callable[[Shape], Shape], ...]:
    """What stands around the slid axes of an input and of a kernel."""
    if verb in ("conv", "conv_transpose", "conv2_5d"):
        last = FORMATS.get(settings.get("data_format", "channels_first"), (False, None))[0]
        each = groups if isinstance(groups := settings.get("groups", 1), int) and groups > 0 else 1
        pair = (came, went // each) if verb == "conv_transpose" else (went, came // each)
        planes = (PLANES,) if verb == "conv2_5d" else ()
        if last:
            return lambda s: (1, *s, came), lambda s: (*s, *pair[::-1])
        return lambda s: (1, came, *s), lambda s: (*planes, *pair, *s)
    if not told:
        return lambda s: s, lambda s: s
    if verb == "similarity":
        settings.setdefault("channel_axis", 0)
        at = settings["channel_axis"]
        if at is None:
            return lambda s: (came, *s), lambda s: s

        def put(s: Shape) -> Shape:
            place = at % (len(s) + 1)
            return (*s[:place], came, *s[place:])

        return put, put
    if verb == KERNEL_FREE and settings.get("axes") is None:
        raise ArgumentError("channels= of gaussian_blur needs axes=, the axes that are blurred, like axes=(1, 2).")
    return lambda s: (came, *s), lambda s: s


def settle_kind(input_dtype: Any) -> Any:
    """The element type: NumPy's, or PyTorch's as it is."""
    return input_dtype if type(input_dtype).__module__ == "torch" else settle_dtype("input_dtype", input_dtype)


def native(kind: Any) -> np.dtype[Any]:
    """NumPy's type for an element type of either library."""
    if type(kind).__module__ == "torch":
        from sash.arrays.torch_ import TYPES

        kind = TYPES[kind]
    found: np.dtype[Any] = np.dtype(kind)
    return found


def random(shape: Shape, kind: Any) -> Any:
    """The same random elements each time: normal, for integers all that their type holds."""
    dtype, rng = native(kind), np.random.default_rng(0)
    if dtype.kind == "b":
        return like(rng.random(shape) < 0.5, kind)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return like(rng.integers(limits.min, limits.max, shape, dtype, endpoint=True), kind)
    values = rng.standard_normal(shape, np.float32)
    if dtype.kind == "c":
        return like((values + 1j * rng.standard_normal(shape, np.float32)).astype(dtype, copy=False), kind)
    return like(values.astype(dtype, copy=False), kind)


def like(values: Any, kind: Any) -> Any:
    """An array of the library that `kind` is from."""
    if type(kind).__module__ == "torch":
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(kind)
    return values


def naming(rows: Sequence[Shape], letter: str) -> tuple[str, list[str]]:
    """The pattern of some shapes, and what to call each: its one extent that changes, or all of it.

    >>> naming([(64, 64, 5), (128, 128, 5)], "n")
    ('n×n×5', ['64', '128'])
    >>> naming([(64, 32), (128, 128)], "n")
    ('n', ['64×32', '128×128'])
    """
    varies = [len({s[a] for s in rows}) > 1 for a in range(len(rows[0]))]
    changing = [{n for n, moves in zip(s, varies, strict=True) if moves} for s in rows]
    if all(len(found) == 1 for found in changing):
        pattern = by(letter if moves else n for n, moves in zip(rows[0], varies, strict=True))
        return pattern, [str(*found) for found in changing]
    return letter if len(rows) > 1 else by(rows[0]), [by(s) for s in rows]


def by(extents: Any) -> str:
    """A shape for people: 512×512×5."""
    return "×".join(map(str, extents))
