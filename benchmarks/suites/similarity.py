"""Templates in pictures: by absolute and squared differences, by normalised correlation, with and without a mask.

Imports: jobs, trial.
"""

from __future__ import annotations

from itertools import product

from benchmarks.jobs import Match
from benchmarks.trial import Cell

SMALL, VGA, HD = (101, 101), (480, 640), (1080, 1920)
METRICS = ("sad", "ssd", "zncc", "masked zncc")
QUICK = {("sad", "uint8"), ("zncc", "float32"), ("masked zncc", "uint8")}


def coloured(image: tuple[int, int], side: int, metric: str, dtype: str, quick: bool) -> Cell:
    """A colour picture, channels last, and a square template."""
    name = f"{image[0]}×{image[1]}×3 {dtype}, {side}² {metric}"
    job = Match(image, (side, side), metric=metric.removeprefix("masked "), dtype=dtype, masked=metric.startswith("masked"))
    return Cell(name, job, "quick" if quick else "all")


CELLS = (
    *(
        Cell(f"3×101² {t}, 10×9 stride 2 {m}", Match(SMALL, (10, 9), 3, 0, m, t, 2), "quick" if (m, t) == ("sad", "float32") else "all")
        for m, t in product(("sad", "ssd", "zncc"), ("float32", "uint8"))
    ),
    Cell("3×480×640 float32, 24² sad", Match(VGA, (24, 24), 3, 0), "quick"),
    *(coloured(VGA, 24, m, t, (m, t) in QUICK) for m, t in product(METRICS, ("float32", "uint8"))),
    *(coloured(HD, 64, m, t, (m, t) == ("sad", "uint8")) for m, t in product(METRICS, ("float32", "uint8"))),
)
