"""Little arrays, where what counts is the way to the loop and not the loop: every verb.

Imports: jobs, trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from benchmarks.jobs import Blur, Correlate, Depth, Job, Match, Network, Split, Taps, Views
from benchmarks.trial import Cell

QUICK = {(16, 3), (64, 5)}


def verbs(n: int, k: int) -> Iterator[tuple[str, Job]]:
    """Every verb on n×n with k taps a side."""
    shape, size = (n, n), (k, k)
    yield "correlate", Correlate(shape, size)
    yield "convolve", Correlate(shape, size, verb="convolve")
    yield "separable_filter", Correlate(shape, size, rank=1, verb="separable_filter")
    yield "gaussian_blur", Blur(shape, 1, size=k)
    for metric in ("sad", "ssd", "ncc", "zncc"):
        yield f"similarity {metric}", Match(shape, size, channels=0, metric=metric)
    yield "windows", Views(shape, k)
    for kind, tensors in (("NumPy", False), ("PyTorch", True)):
        yield f"conv 4→8 {kind}", Network(4, 8, shape, k, tensors=tensors)
        yield f"conv_transpose 4→8 {kind}", Network(4, 8, shape, k, stride=2, transposed=True, tensors=tensors)
        yield f"conv2_5d 4→8 {kind}", Depth(4, 8, shape, k, tensors=tensors)


CELLS = (
    *(
        Cell(f"{n}², {k}² {name}", job, "quick" if (n, k) in QUICK else "all")
        for n, k in product((16, 32, 64), (3, 5))
        for name, job in verbs(n, k)
    ),
    *(Cell(f"{k} taps gaussian_kernel", Taps(1.0, k), "quick") for k in (5,)),
    *(Cell(f"{k}² separate", Split(k), "quick" if k == 5 else "all") for k in (3, 5)),
)
