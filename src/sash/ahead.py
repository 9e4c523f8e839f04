"""Compiling by two processes at once, which leave what they compile in one cache.

Numba holds a lock while it compiles, so threads would take turns.   Imports: the standard library, and Numba when it is called.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from time import perf_counter
from typing import Any

try:
    from fcntl import LOCK_EX, flock
except ImportError:  # not on Windows
    flock = None  # type: ignore[assignment]

SHORTEST = 2.0
"""Seconds of compiling that are worth a process beside this one."""

GRACE = 3.0
"""Seconds that the other process is given to end by itself: in the middle of writing it would leave half an entry."""


def able(cores: int, seconds: float) -> bool:
    """Whether a second process is of use, and can be started: where sash is not frozen into a program."""
    return cores > 1 and seconds >= SHORTEST and bool(sys.executable) and not getattr(sys, "frozen", False) and flock is not None


def together(mine: Callable[[], None], theirs: str, until: float) -> None:
    """Call `mine` while another process does `theirs`, Python code in which LOCK is the name to give to `one_saves`."""
    with NamedTemporaryFile("w", prefix="sash-", suffix=".lock") as lock, one_saves(lock.name):
        told = [sys.executable, "-c", f"LOCK = {lock.name!r}; {theirs}"]
        beside = subprocess.Popen(told, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            mine()
            beside.wait(max(until - perf_counter(), 0.0) + GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            beside.kill()
            beside.wait()


@contextmanager
def one_saves(lock: str) -> Iterator[None]:
    """Of processes with this lock, one at a time writes to Numba's cache: together they would take each other's numbers there."""
    from numba.core.caching import IndexDataCacheFile

    save = IndexDataCacheFile.save

    def alone(cache: Any, key: Any, data: Any) -> None:
        with open(lock, encoding="ascii") as file:
            flock(file, LOCK_EX)  # let go when the file is closed
            save(cache, key, data)

    IndexDataCacheFile.save = alone
    try:
        yield
    finally:
        IndexDataCacheFile.save = save
