"""Templates in pictures and volumes: by absolute and squared differences, by normalised correlation, with and without a mask.

Imports: jobs, trial.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from benchmarks.jobs import Match
from benchmarks.trial import Cell

SMALL, VGA, HD, STACK, CUBE = (101, 101), (480, 640), (1080, 1920), (64, 512, 512), (512,) * 3
METRICS = ("sad", "ssd", "zncc", "masked zncc")
TYPES = ("float32", "uint8")
THIN, THICK = (1, 32, 32), (5, 24, 24)
QUICK = {
    "3×101² float32, 10×9 stride 2 sad",
    "3×480×640 float32, 24² sad",
    "480×640×3 uint8, 24² sad",
    "480×640×3 float32, 24² zncc",
    "480×640×3 uint8, 24² masked zncc",
    "1080×1920×3 uint8, 64² sad",
    "64×512² uint8, 1×32² sad",
}


def cell(name: str, metric: str, dtype: str, large: bool = False, **job: Any) -> Cell:
    """`masked zncc` is zncc with a mask."""
    made = Match(metric=metric.removeprefix("masked "), dtype=dtype, masked=metric.startswith("masked"), **job)
    return Cell(name, made, "large" if large else "quick" if name in QUICK else "all")


def coloured(image: tuple[int, int], side: int, metric: str, dtype: str) -> Cell:
    """A colour picture, channels last, and a square template."""
    name = f"{image[0]}×{image[1]}×3 {dtype}, {side}² {metric}"
    return cell(name, metric, dtype, image=image, template=(side, side))


def solid(image: tuple[int, int, int], template: tuple[int, int, int], metric: str, dtype: str) -> Cell:
    """A volume and a template of one slice or of a few."""
    extent = "512³" if image == CUBE else f"{image[0]}×{image[1]}²"
    name = f"{extent} {dtype}, {template[0]}×{template[1]}² {metric}"
    return cell(name, metric, dtype, image == CUBE, image=image, template=template, channels=0)


CELLS = (
    *(
        cell(f"3×101² {t}, 10×9 stride 2 {m}", m, t, image=SMALL, template=(10, 9), channel_axis=0, stride=2)
        for m, t in product(METRICS, TYPES)
    ),
    *(cell(f"3×480×640 {t}, 24² sad", "sad", t, image=VGA, template=(24, 24), channel_axis=0) for t in TYPES),
    *(coloured(VGA, 24, m, t) for m, t in product(METRICS, TYPES)),
    *(coloured(HD, 64, m, t) for m, t in product(METRICS, TYPES)),
    *(solid(STACK, template, m, t) for template, m, t in product((THIN, THICK), METRICS, TYPES)),
    solid(CUBE, THIN, "sad", "uint8"),
    *(solid(CUBE, THIN, m, "float32") for m in ("sad", "zncc")),
    solid(CUBE, THICK, "zncc", "float32"),
)
