"""The index of suites: lists of cells as data; `start` measures processes instead and has its own way of running.

Imports: the suites.
"""

from __future__ import annotations

from benchmarks.suites import blur, conv, correlate, depth, similarity, small
from benchmarks.trial import Cell

TIMED = {
    "blur": blur.CELLS,
    "correlate": correlate.CELLS,
    "similarity": similarity.CELLS,
    "conv": conv.CELLS,
    "depth": depth.CELLS,
    "small": small.CELLS,
}
"""Suites whose cells are jobs that sash and its peers do in turns."""

STARTED = "start"

SUITES = (*TIMED, STARTED)


def cells(suite: str) -> tuple[Cell, ...]:
    """Every cell of a timed suite."""
    return TIMED[suite]
