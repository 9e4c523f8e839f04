"""A race: the likely methods run the real job in turns, and wisdom remembers the fastest.

One race at a time: two at once would time each other, and threads that wait for each other may wait forever.
Imports: wisdom, problem.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import RLock
from time import perf_counter
from typing import Any

from sash.problem import Problem
from sash.wisdom import Choice, remember

TURNS, MOST = 2, 50
"""Runs of each method, at least and at most, after one that does not count: it may compile."""

ENOUGH = 0.02
"""Seconds of runs after which turns end: the shorter a run, the more of them tell which is faster."""

BEHIND = 3.0
"""A method whose first run takes so many times the best so far is not run again."""

_turn = RLock()


def race(problem: Problem, max_memory: int | None, runs: Mapping[str, Callable[[], Any]], device: Any = None) -> str:
    """The name of the fastest of some ways to do one job; `runs` does it whole, by the names of methods, the predicted best first.

    `device`: PyTorch's, where the work is done behind its back. While another thread races the predicted best is taken
    as it is: nobody waits, and nothing is remembered.
    """
    wait: Callable[[], Any] = _nothing
    short: tuple[type[Exception], ...] = (MemoryError,)
    if device is not None:
        import torch

        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():  # nothing runs now, and waiting is forbidden
            return next(iter(runs))
        wait, short = (lambda: torch.accelerator.synchronize(device)), (MemoryError, torch.OutOfMemoryError)
    if not _turn.acquire(blocking=False):
        return next(iter(runs))
    try:
        seconds = _timed(runs, wait, short)
    finally:
        _turn.release()
    name = min(seconds, key=seconds.__getitem__)
    remember(problem, max_memory, Choice(name, seconds))
    return name


def _timed(runs: Mapping[str, Callable[[], Any]], wait: Callable[[], Any], short: tuple[type[Exception], ...]) -> dict[str, float]:
    """The least seconds of each; what runs out of memory is out of the race, unless all do."""
    racing, spent = list(runs), 0.0
    least: dict[str, float] = {}
    for turn in range(MOST + 1):
        if turn > TURNS and (len(racing) < 2 or spent > ENOUGH):
            break
        for name in tuple(racing):
            start = perf_counter()
            try:
                runs[name]()
                wait()
            except short:
                racing.remove(name)
                least.pop(name, None)
                if not racing:
                    raise
                continue
            took = perf_counter() - start
            if turn == 1 and took > BEHIND * min(least.values(), default=took):
                racing.remove(name)
            if turn:
                least[name] = min(least.get(name, took), took)
                spent += took
    return least


def _nothing() -> None:
    pass


def _anew() -> None:
    global _turn
    _turn = RLock()


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads, one of which may have been racing
    os.register_at_fork(after_in_child=_anew)
