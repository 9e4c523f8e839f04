"""Numbers of a run: intersection over union, a CSV that grows by a row per epoch, and what several seeds say together.

counts (true, predicted).   Imports: nothing.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]
Run = tuple[str, str]
"""Variant and seed, as the CSV spells them."""


def measures(counts: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Mean IoU over the labels that occur, share of right pixels, and the IoU of each label."""
    right = np.diag(counts)
    either = counts.sum(0) + counts.sum(1) - right
    with np.errstate(invalid="ignore"):
        iou = right / either
    each = {f"iou_{name}": float(value) for name, value in zip(names, iou, strict=True)}
    return {"mean_iou": float(np.nanmean(iou)), "accuracy": float(right.sum() / counts.sum()), **each}


def restart(path: Path, rows: Sequence[Row], runs: Iterable[Run]) -> None:
    """Give the runs in the CSV these rows: what one wrote past its checkpoint goes, and other runs stay."""
    going, kept = set(runs), []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            kept = [row for row in csv.DictReader(file) if (row["variant"], row["seed"]) not in going]
    beside = path.with_suffix(".part")
    beside.write_text("", encoding="utf-8")
    for row in [*kept, *rows]:
        add(beside, row)
    os.replace(beside, path)


def add(path: Path, row: Row) -> None:
    """Append a row; a new file gets the heading."""
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


@dataclass(frozen=True)
class Spread:
    """Several seeds of one variant."""

    variant: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation of a sample; NaN for a single seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.deviation:.1f} %" if len(self.values) > 1 else f"{100 * self.mean:.1f} % (one seed)"


def spreads(rows: Iterable[Row], measure: str = "mean_iou") -> list[Spread]:
    """One per variant, in the order in which they come; each row is the last of its run."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row[measure])
    return [Spread(variant, tuple(values)) for variant, values in found.items()]
