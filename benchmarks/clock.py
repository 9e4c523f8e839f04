"""Timing in turns: in every round each contender runs once, in an order drawn anew, so that a busy moment hits all of them.

Imports: NumPy only.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

SAMPLE = 2e-3
"""Seconds that one sample takes at least: shorter calls are repeated within it."""
MOST = 25
"""Rounds after which more would say no more."""
SHORT = 0.02
"""Below this a call runs once more, unmeasured, just before its sample: the cache is its own then, not its predecessor's."""
PAUSE, LONGEST_PAUSE, IDLE = 2e-3, 0.1, 0.2
"""Seconds of one look at whether the threads of the contender before have come to rest, and of all of them at most; the
share of a core below which they have.  PyTorch's (libgomp) spin on for 9 ms behind a call, on the core of whoever is next."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds per call, one for each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Between the quartiles, relative to the median."""
        low, high = np.percentile(self.seconds, (25, 75))
        return float((high - low) / self.median)


def once(run: Callable[[], Any]) -> tuple[Any, float]:
    """The answer, and the seconds it took."""
    start = perf_counter()
    answer = run()
    return answer, perf_counter() - start


def in_turns(runs: dict[str, Callable[[], Any]], took: dict[str, float], budget: float, rounds: int | None = None) -> dict[str, Times]:
    """Time all contenders; `took` are seconds per call as far as known, `budget` seconds for all of it (about)."""
    share = budget / max(len(runs), 1)
    wanted = {name: rounds or turns(took[name], share) for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    total = max(wanted.values(), default=0)
    order = np.random.default_rng(0)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for r in range(total):
            for name in order.permutation(list(runs)):
                if (r + 1) * wanted[name] // total > r * wanted[name] // total:  # the few rounds of slow ones lie evenly
                    times[name].append(sample(runs[name], took[name]))
    finally:
        if collecting:
            gc.enable()
    return {name: Times(tuple(each)) for name, each in times.items()}


def turns(took: float, share: float) -> int:
    """Rounds for a call: what fits its share of the budget, but at least 5 for short ones, 3 up to a second, 2 beyond."""
    least = 5 if took < 0.2 else 3 if took < 1 else 2
    return min(max(least, int(share / max(took, SAMPLE))), MOST)


def sample(run: Callable[[], Any], took: float) -> float:
    """Seconds per call, once."""
    rest()
    if took < SHORT:
        run()
    count = max(1, int(SAMPLE / max(took, 1e-7)))
    start = perf_counter()
    for _ in repeat(None, count):
        run()
    return (perf_counter() - start) / count


def rest() -> None:
    """Wait until no thread of this process works: whoever is timed next has all cores."""
    until = perf_counter() + LONGEST_PAUSE
    while perf_counter() < until:
        start, worked = perf_counter(), spent()
        sleep(PAUSE)
        if spent() - worked < IDLE * (perf_counter() - start):
            return


def spent() -> float:
    """Seconds of processor time of all threads.

    Thread by thread: what the kernel tells of the process leaves out what a running thread took since the last tick, 10 ms
    where there are a hundred a second, and a thread that spins for 9 ms is not seen.
    """
    if not THREADS.is_dir():
        return process_time()
    total = 0.0
    for thread in THREADS.iterdir():
        with suppress(OSError):  # it has ended
            total += time.clock_gettime((~int(thread.name) << 3) | THREAD_CLOCK)
    return total


THREADS, THREAD_CLOCK = Path("/proc/self/task"), 6
"""Where Linux lists the threads; the kind of the clock of one of them."""
