"""Blurs: volumes, stacks, pictures with and without channels, lines; narrow to wide; other borders.

Imports: jobs, trial.
"""

from __future__ import annotations

from benchmarks.jobs import Blur
from benchmarks.trial import Cell

LINE, PICTURE, PHOTO, VOLUME, STACK = (10**7,), (4096, 4096), (2160, 3840), (256,) * 3, (64, 512, 512)
SIGMAS = (0.7, 2, 8, 20)
QUICK = {
    "256³ float32 σ 2",
    "64×512² uint16 σ 2",
    "4096² float32 σ 2",
    "4096² float32 σ 8",
    "2160×3840 uint8 σ 2",
    "2160×3840×3 uint8 σ 2",
    "10⁷ float32 σ 2",
    "256³ float32 σ 2 zeros outside",
    "4096² float32 σ 2 mirror",
}


def cell(name: str, job: Blur) -> Cell:
    return Cell(name, job, "quick" if name in QUICK else "all")


CELLS = (
    *(cell(f"256³ float32 σ {s:g}", Blur(VOLUME, s)) for s in SIGMAS),
    *(cell(f"64×512² uint16 σ {s:g}", Blur(STACK, s, "uint16", "float32")) for s in SIGMAS),
    *(cell(f"4096² float32 σ {s:g}", Blur(PICTURE, s)) for s in SIGMAS),
    *(cell(f"2160×3840 uint8 σ {s:g}", Blur(PHOTO, s, "uint8", "uint8")) for s in SIGMAS),
    *(cell(f"2160×3840×3 uint8 σ {s:g}", Blur((*PHOTO, 3), s, "uint8", "uint8", (0, 1))) for s in SIGMAS),
    *(cell(f"10⁷ float32 σ {s:g}", Blur(LINE, s)) for s in SIGMAS),
    cell("4096² float64 σ 2", Blur(PICTURE, 2, "float64")),
    cell("256³ float32 σ 2 zeros outside", Blur(VOLUME, 2, boundary="constant")),
    cell("4096² float32 σ 2 zeros outside", Blur(PICTURE, 2, boundary="constant")),
    cell("4096² float32 σ 2 mirror", Blur(PICTURE, 2, boundary="mirror")),
    cell("2160×3840×3 uint8 σ 2 mirror", Blur((*PHOTO, 3), 2, "uint8", "uint8", (0, 1), boundary="mirror")),
    *(Cell(f"512³ float32 σ {s:g}", Blur((512,) * 3, s), "large") for s in (2, 8)),
)
