"""Correlations at valid positions: sizes by kernels, strides, dilation, rank, one to three axes, three types.

Imports: jobs, trial.
"""

from __future__ import annotations

from itertools import product

from benchmarks.jobs import Correlate
from benchmarks.trial import Cell

KERNELS = (3, 5, 7, 11, 15, 31, 63, 127, 255)
PICTURE = (2048, 2048)


def plane(n: int, k: int, dtype: str = "float32", stride: int = 1, dilation: int = 1, rank: int = 0) -> Cell:
    """A picture and a square kernel."""
    name = f"{n}² {dtype}, {k}²"
    name += f" stride {stride}" * (stride > 1) + f" dilation {dilation}" * (dilation > 1) + " rank 1" * rank
    job = Correlate((n, n), (k, k), dtype, stride, dilation, rank)
    quick = n == 2048 and job in QUICK
    return Cell(name, job, "quick" if quick else "all")


QUICK = (
    *(Correlate(PICTURE, (k, k)) for k in (5, 11, 31, 63)),
    Correlate(PICTURE, (7, 7), stride=2),
    Correlate(PICTURE, (15, 15), rank=1),
    Correlate(PICTURE, (5, 5), "uint8"),
)

CELLS = (
    *(plane(n, k) for n, k in product((512, 2048, 4096), KERNELS)),
    *(plane(2048, k, stride=s) for s, k in product((2, 4), (3, 7, 15, 31))),
    *(plane(2048, k, dilation=2) for k in (3, 7, 15)),
    *(plane(2048, k, rank=1) for k in (5, 15, 63)),
    *(plane(2048, k, "float64") for k in (5, 31)),
    *(plane(2048, k, "uint8") for k in (3, 5, 15)),
    *(
        Cell(
            f"128³ float32, {k}³{' stride 2' * (s == 2)}", Correlate((128,) * 3, (k,) * 3, stride=s), "quick" if (k, s) == (5, 1) else "all"
        )
        for s, k in product((1, 2), (3, 5, 9, 15))
    ),
    *(Cell(f"10⁶ float32, {k}", Correlate((10**6,), (k,)), "quick" if k == 101 else "all") for k in (11, 101, 1001, 10_000)),
)
