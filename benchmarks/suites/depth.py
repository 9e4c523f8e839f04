"""2.5-D convolutions, forward and with derivatives; a plain convolution of the same shape stands beside as a reference.

Imports: jobs, trial.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.jobs import Depth
from benchmarks.trial import Cell

SHAPES = (
    Depth(64, 64, (240, 320)),
    Depth(3, 16, (480, 640)),
    Depth(16, 32, (120, 160)),
    Depth(64, 64, (240, 320), stride=2),
    Depth(3, 16, (480, 640), stride=2),
    Depth(16, 32, (120, 160), stride=2),
)
KINDS: dict[str, dict[str, Any]] = {
    "NumPy": {},
    "PyTorch": {"tensors": True},
    "forward+backward": {"tensors": True, "backward": True},
}
QUICK = {
    "64→64 240×320, 3² PyTorch",
    "64→64 240×320, 3² forward+backward",
    "3→16 480×640, 3² PyTorch",
    "16→32 120×160, 3² NumPy",
}


def cell(job: Depth, kind: str) -> Cell:
    name = f"{job.inputs}→{job.outputs} {'×'.join(map(str, job.shape))}, {job.size}²" + f" stride {job.stride}" * (job.stride > 1)
    name += f" {kind}"
    return Cell(name, replace(job, **KINDS[kind]), "quick" if name in QUICK else "all")


CELLS = tuple(cell(job, kind) for job in SHAPES for kind in KINDS)
