"""Timings: a grid of trials while it is measured, the cheapest cell first, with an estimate of what is left.

grid[i][j] belongs to the i-th input and the j-th kernel; a Ctrl-C leaves whole cells.   Imports: trials, machine, tiles.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

import sash
from sash.errors import SashError
from sash.machine import usable_cores
from sash.tiles import workers
from sash.trials import Trial

Grid: TypeAlias = "tuple[tuple[Any, ...], ...]"
Progress: TypeAlias = "Callable[[int, int, float], object]"

MEASURED, SLOW, UNABLE, LARGE, IMPOSSIBLE, MISSING = "measured", "slow", "unable", "too large", "impossible", "not reached"
"""What became of a method in a cell: timed; predicted to be far behind; refused; short of memory; no such call; stopped before."""

REPEATS = 20
"""Most runs of a method in a cell."""
BEHIND = 20
"""A method that is predicted to take this many times the best prediction is not run."""


class Timings:
    """The cells while they are being measured, the cheapest first."""

    def __init__(self, cells: list[list[Trial | None]], room: float, methods: tuple[str, ...]) -> None:
        self.cells, self.methods = cells, methods
        blank: dict[str, list[list[Any]]] = {m: [[None] * len(row) for row in cells] for m in methods}
        self.times, self.predicted = blank, {m: [list(row) for row in rows] for m, rows in blank.items()}
        self.states = {m: [[IMPOSSIBLE] * len(row) for row in cells] for m in methods}
        self.todo: list[tuple[int, int]] = []
        self.warm: set[str] = set()
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                if cell is not None:
                    self._sort(i, j, cell, room)

    def _sort(self, i: int, j: int, cell: Trial, room: float) -> None:
        """Which methods of this cell are to be run."""
        asked = [c for c in cell.plan.candidates if c.name in self.methods and c.cost is not None]
        fitting = {c.name: c.seconds for c in asked if not c.refusal and cell.held + c.scratch <= room}
        best = min(fitting.values(), default=0.0)
        for m in self.methods:
            self.states[m][i][j] = UNABLE
        for c in asked:
            self.predicted[c.name][i][j] = c.seconds
            self.states[c.name][i][j] = LARGE if c.name not in fitting else SLOW if c.seconds > BEHIND * best else MISSING
        if self._waiting(i, j):
            self.todo.append((i, j))

    def _waiting(self, i: int, j: int) -> list[str]:
        return [m for m in self.methods if self.states[m][i][j] == MISSING]

    def _work(self, i: int, j: int, budget: float) -> float:
        """Predicted seconds to measure a cell."""
        waiting = self._waiting(i, j)
        predicted = [self.predicted[m][i][j] for m in waiting]
        return float(sum([min(REPEATS * p, max(p, budget / len(waiting))) for p in predicted]))

    def fill(self, budget: float, progress: Progress) -> bool:
        """Measure all cells; False where it was interrupted."""
        work = {cell: self._work(*cell, budget) for cell in self.todo}
        left, done, spent = sum(work.values()), 0.0, 0.0
        trust = 0.05 * left  # as if so much had gone as predicted: the first cells are too small to learn all from
        try:
            progress(0, len(work), left)
            for count, (cell, amount) in enumerate(sorted(work.items(), key=lambda item: item[1]), 1):
                spent += self._measure(*cell, budget)
                done += amount
                progress(count, len(work), (left - done) * (spent + trust) / ((done + trust) or 1.0))
        except KeyboardInterrupt:
            return False
        return True

    def _measure(self, i: int, j: int, budget: float) -> float:
        """The least time of each waiting method, in turns, so that a busy moment hits all; the seconds that it took."""
        trial = self.cells[i][j]
        assert trial is not None
        waiting = self._waiting(i, j)
        share = budget / len(waiting)
        begun = perf_counter()
        run = trial.runs()
        ended: dict[str, str] = {}
        least, spent = dict.fromkeys(waiting, float("inf")), dict.fromkeys(waiting, 0.0)
        for turn in range(REPEATS):
            for m in waiting:
                # A first run far above its prediction may have compiled something: it is given a second, if that is bearable.
                slow = turn == 1 and 3 * self.predicted[m][i][j] < least[m] < 10 * budget
                again = turn == 0 or spent[m] + least[m] <= share or slow
                if m in ended or not again:
                    continue
                try:
                    if m not in self.warm:
                        cold = perf_counter()
                        run(m)
                        self.warm.add(m)
                        begun += perf_counter() - cold
                    start = perf_counter()
                    run(m)
                    took = perf_counter() - start
                except (SashError, MemoryError) as failed:
                    ended[m] = LARGE if isinstance(failed, MemoryError) else UNABLE
                    continue
                least[m], spent[m] = min(least[m], took), spent[m] + took
        for m in waiting:
            self.states[m][i][j] = ended.get(m, MEASURED)
            self.times[m][i][j] = None if m in ended else least[m]
        return perf_counter() - begun

    def able(self) -> tuple[str, ...]:
        """The methods that can do any cell."""
        return tuple(m for m in self.methods if {s for row in self.states[m] for s in row} - {UNABLE, IMPOSSIBLE})


def description() -> dict[str, Any]:
    """The machine and the versions that times are of."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": usable_cores(),
        "threads": workers(),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sash": sash.__version__,
    }


def available_memory() -> int:
    """Bytes that this process may still take without swapping: what the system has free, within its control group."""
    try:
        told = Path("/proc/meminfo").read_text(encoding="ascii")
        free = next(int(line.split()[1]) * 1024 for line in told.splitlines() if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
            return 1 << 62  # nobody tells: no limit
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # at least half is free, as a rule
    group = Path("/sys/fs/cgroup")
    try:
        most = int((group / "memory.max").read_text(encoding="ascii"))
        held = next(
            int(line.split()[1]) for line in (group / "memory.stat").read_text(encoding="ascii").splitlines() if line.startswith("anon ")
        )
    except (OSError, ValueError, StopIteration):  # no control group, or one without a limit
        return free
    return max(min(free, most - held), 0)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as told:
            return next((line.partition(":")[2].strip() for line in told if line.startswith("model name")), "") or platform.processor()
    except OSError:
        return platform.processor()
