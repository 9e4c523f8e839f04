"""Blurs: volumes, stacks, pictures with and without channels, lines; narrow to wide.

Imports: jobs, trial.
"""

from __future__ import annotations

from benchmarks.jobs import Blur
from benchmarks.trial import Cell

LINE, PICTURE, PHOTO, VOLUME, STACK = (10**7,), (4096, 4096), (2160, 3840), (256,) * 3, (64, 512, 512)

CELLS = (
    Cell("256³ float32 σ 2", Blur(VOLUME, 2), "quick"),
    Cell("512³ float32 σ 2", Blur((512,) * 3, 2), "large"),
    Cell("64×512² uint16 σ 2", Blur(STACK, 2, "uint16", "float32"), "quick"),
    Cell("4096² float32 σ 2", Blur(PICTURE, 2), "quick"),
    Cell("2160×3840 uint8 σ 2", Blur(PHOTO, 2, "uint8", "uint8"), "quick"),
    Cell("2160×3840×3 uint8 σ 2", Blur((*PHOTO, 3), 2, "uint8", "uint8", (0, 1)), "quick"),
    Cell("10⁷ float32 σ 2", Blur(LINE, 2), "quick"),
    Cell("4096² float64 σ 2", Blur(PICTURE, 2, "float64")),
    *(Cell(f"256³ float32 σ {s:g}", Blur(VOLUME, s)) for s in (0.7, 8, 20)),
    *(Cell(f"64×512² uint16 σ {s:g}", Blur(STACK, s, "uint16", "float32")) for s in (0.7, 8)),
    Cell("4096² float32 σ 0.7", Blur(PICTURE, 0.7)),
    Cell("4096² float32 σ 8", Blur(PICTURE, 8), "quick"),
    Cell("4096² float32 σ 20", Blur(PICTURE, 20)),
    *(Cell(f"2160×3840 uint8 σ {s:g}", Blur(PHOTO, s, "uint8", "uint8")) for s in (0.7, 8, 20)),
    *(Cell(f"10⁷ float32 σ {s:g}", Blur(LINE, s)) for s in (0.7, 8, 20)),
)
