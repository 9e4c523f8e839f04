"""Sample problems that a machine is measured with: all kinds, small to middling, each of a few milliseconds.

    x (N, C, *S)   w (O, C/G, *K) or (L, O, C/G, h, w)   gate (N, h, w, OH, OW)   y (N, O, *out)
Each method takes those that it is willing to do.   Imports: problem, arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from sash.arrays.numpy_ import Array
from sash.arrays.weights import Weights
from sash.axis import Axis
from sash.problem import REDUCTIONS, Problem

TYPES = ("float32", "float64", "int64")

SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((12, 12), (3, 3)),
    ((64, 64), (5, 5)),
    ((128, 128), (15, 15)),
    ((256, 256), (5, 5)),
    ((400, 400), (31, 31)),
    ((512, 512), (3, 3)),
    ((900, 900), (7, 7)),
    ((8, 700, 300), (3, 9, 9)),
    ((3000,), (51,)),
    ((200_000,), (11,)),
    ((120_000,), (501,)),
    ((700_000,), (5,)),
    ((24, 24, 24), (3, 3, 3)),
    ((48, 48, 48), (5, 5, 5)),
    ((80, 80, 80), (3, 3, 3)),
    ((60, 64, 64), (1, 5, 5)),
    ((96, 96, 6), (9, 9, 6)),
    ((1600, 1600), (3, 3)),
    ((60, 70, 90), (7, 7, 7)),
    ((3_000_000,), (5,)),
)
"""Samples and taps, per axis."""

THIN = 12
"""Samples along the last axis below which one type will do: kernels for a few lanes are compiled for each type, 5 s of 32."""

CHANNELS = ((3, 16, 64, 3), (16, 32, 40, 3), (6, 12, 112, 3), (32, 32, 24, 5), (4, 4, 120, 7), (64, 64, 20, 3), (8, 64, 56, 1))
"""(inputs, outputs, samples and taps of each of two axes)."""


def problems() -> Iterator[Problem]:
    """All of them."""
    for dtype in TYPES:
        for shape, sizes in SHAPES:
            if shape[-1] >= THIN or dtype == "float32":
                yield from filters(shape, sizes, dtype)
    for stride in (2, 4, 5):  # arrays that no cache holds
        far = Axis(3000, 3, stride, 1, 0, 3000, "zero")
        yield Problem((far, far), finite=True)
    far = Axis(224, 3, 1, 1, 0, 224, "zero")
    yield Problem((far, far), 4, 3, 16, finite=True)
    for stride in (1, 2):  # depthwise
        axis = Axis(112, 3, stride, 1, -1, 113, "zero")
        yield Problem((axis, axis), 1, 32, 32, 32, finite=True)
    for dtype in TYPES[:2]:
        for inputs, outputs, n, size in CHANNELS:
            for stride in (1, 2):
                axis = Axis(n, size, stride, 1, -(size // 2), n + size // 2, "zero")
                plain = Problem((axis, axis), 1, inputs, outputs, dtype=dtype, source=dtype, result=dtype, finite=True)
                yield plain
                if stride == 1 and size > 1:
                    yield plain._replace(planes=3)


def filters(shape: tuple[int, ...], sizes: tuple[int, ...], dtype: str) -> Iterator[Problem]:
    """One channel: every reduction, with and without stride, padded with zeros and with samples."""
    for stride in (1, 2, 3, 5):
        for boundary in ("zero", "symmetric"):
            if stride > 1 and boundary != "zero":
                continue
            axes = tuple([
                Axis(n, k, stride if k > 1 else 1, 1, -(k // 2), n + k // 2, boundary) for n, k in zip(shape, sizes, strict=True)
            ])  # fmt: skip
            exact = dtype == "int64"
            base = Problem(axes, dtype=dtype, source=dtype, result=dtype, bits=30 * exact, finite=True)
            yield base
            if stride < 3:
                yield base._replace(rank=1)
                if all([k % 2 for k in sizes]):
                    yield base._replace(rank=1, mirrored=True)
            if boundary == "zero" and dtype == "float32":
                yield base._replace(source="uint8", straight=True)
            elif boundary == "zero":
                yield base._replace(source="uint8", straight=not exact, result="int64", bits=30)
            if boundary == "zero" and stride < 3:
                yield from (base._replace(reduce=reduce) for reduce in REDUCTIONS[1:])
                if dtype == "float32":
                    yield base._replace(reduce="absolute", source="uint8", straight=False, bytewise=True)


def alone() -> Problem:
    """One that threads share well."""
    axis = Axis(1024, 9, 1, 1, 0, 1024, "zero")
    return Problem((axis, axis), finite=True)


def operands(problem: Problem) -> tuple[Array, Weights, Array]:
    """(x, weights, y) for a problem: random numbers, memory for the result."""
    rng = np.random.default_rng(len(problem.axes) + problem.taps)
    x = (rng.random((problem.batch, problem.inputs, *(a.n for a in problem.axes))) * 100).astype(problem.source)
    y = np.empty((problem.batch, problem.outputs, *problem.out), problem.result)
    sizes, each = [a.size for a in problem.axes], problem.inputs // problem.groups
    planes = (problem.planes,) if problem.planes else ()
    dense = (rng.random((*planes, problem.outputs, each, *sizes)) * 9).astype("uint8" if problem.bytewise else problem.dtype)
    if problem.planes:
        gate = rng.integers(-1, problem.planes, (problem.batch, *sizes, *problem.out), np.int8)
        return x, Weights(dense, gate=gate), y
    terms = (tuple([(rng.random(k) * 9).astype(problem.dtype) for k in sizes]),) if problem.rank else None
    if terms and problem.mirrored:
        terms = (tuple([k + k[::-1] for k in terms[0]]),)
    if terms is not None and prod(sizes) > 4096:
        return x, Weights(None, terms), y
    return x, Weights(dense, terms), y
