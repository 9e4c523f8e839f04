"""Correlations at valid positions: sizes by kernels, strides, dilation, rank, one to three axes, three types.

Imports: jobs, trial.
"""

from __future__ import annotations

from itertools import product

from benchmarks.jobs import Correlate
from benchmarks.trial import Cell

KERNELS = (3, 5, 7, 11, 15, 31, 63, 127, 255)
TYPES = ("float32", "float64", "uint8")
QUICK = {
    "2048² float32, 5²",
    "2048² float32, 11²",
    "2048² float32, 31²",
    "2048² float32, 63²",
    "2048² float32, 7² stride 2",
    "2048² float32, 15² rank 1",
    "2048² uint8, 5²",
    "128³ float32, 5³",
    "10⁶ float32, 101",
}


def cell(extent: str, axes: int, k: int, dtype: str = "float32", stride: int = 1, dilation: int = 1, rank: int = 0) -> Cell:
    """A cube of the kernel's extent over one of the array's, as `2048²` or `10⁶`."""
    n = 10**6 if axes == 1 else int(extent[:-1])
    name = f"{extent} {dtype}, {k}{('', '²', '³')[axes - 1]}"
    name += f" stride {stride}" * (stride > 1) + f" dilation {dilation}" * (dilation > 1) + " rank 1" * rank
    return Cell(name, Correlate((n,) * axes, (k,) * axes, dtype, stride, dilation, rank), "quick" if name in QUICK else "all")


CELLS = (
    *(cell(n, 2, k) for n, k in product(("512²", "2048²", "4096²"), KERNELS)),
    *(cell("2048²", 2, k, stride=s) for s, k in product((2, 4), (3, 7, 15, 31, 63, 127))),
    *(cell(n, 2, k, stride=s) for n, s, k in product(("512²", "4096²"), (2, 4), (7, 31))),
    *(cell("2048²", 2, k, dilation=2) for k in (3, 7, 15, 31)),
    *(cell("2048²", 2, k, rank=1) for k in (5, 15, 63, 255)),
    *(cell(n, 2, 15, rank=1) for n in ("512²", "4096²")),
    *(cell("2048²", 2, 15, stride=s, rank=1) for s in (2, 4)),
    *(cell("2048²", 2, k, "float64") for k in (5, 31, 127)),
    cell("2048²", 2, 7, "float64", stride=2),
    *(cell("2048²", 2, k, "uint8") for k in (3, 5, 15, 63)),
    cell("2048²", 2, 7, "uint8", stride=2),
    *(cell("128³", 3, k, stride=s) for s, k in product((1, 2), (3, 5, 9, 15))),
    *(cell("128³", 3, k, dtype) for dtype, k in product(TYPES[1:], (3, 9))),
    *(cell("128³", 3, 5, dtype, stride=2) for dtype in TYPES[1:]),
    *(cell("10⁶", 1, k) for k in (11, 101, 1001, 10_000)),
    *(cell("10⁶", 1, k, dtype) for dtype, k in product(TYPES[1:], (101, 10_000))),
)
