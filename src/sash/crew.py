"""Threads that share work: started once, woken by a queue, and not waited for unless they began.

An executor's futures took 20 us to wake a thread and as long again to be waited for, of calls of 300.  A thread that has
worked stays awake for a millisecond, as those of OpenMP do: what follows within it begins at once (of 253 us then 209).
Imports: machine, kernels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from ctypes import CDLL
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread, get_ident
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from sash.machine import usable_cores

AWAKE = 2_500_000
"""Cycles that a thread watches for the next job, about a millisecond, before it sleeps."""

KERNELS = "sash.kernels.cpu.simd"

BRIEF, RECENT = 1.6e-4, 8e-4
"""Seconds: what takes less is shared if the last work was so short a time ago that threads are awake (64 channels of 14²
after 20 ms: 0.46 ms alone, 0.63 with a thread that slept, whose core was cold)."""

PATIENT = 500_000
"""Cycles that a call watches for the end of a job that another thread began."""

LATER = 20_000
"""Cycles after it was asked that a thread begins: Python's lock is free then, for which it would be put to sleep, 25 us."""

Counter = Any  # an array of one number
Watch = Callable[[Counter, int, int, int, Counter], bool]


class Boxes(Protocol):
    """Pieces of work: so many, and an iterator that several threads may draw from (of a list, or a `map`; no generator)."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class _Job:
    """Work that another thread does, if one comes before it is called off."""

    def __init__(self, work: Callable[[], None], crew: _Crew) -> None:
        self.work: Callable[[], None] | None = work
        self.error: BaseException | None = None
        self.crew = crew
        self.begun, self.going = Lock(), Lock()

    def begin(self) -> None:
        """Do the work, unless it was called off."""
        self.going.acquire()
        if self.begun.acquire(blocking=False):
            try:
                assert self.work is not None
                self.work()
            except BaseException as error:
                self.error = error
            self.work = None
        self.going.release()

    def end(self) -> BaseException | None:
        """Call it off, or wait until it is done; the error that stopped it."""
        if self.begun.acquire(blocking=False):
            self.work = None  # it may stand in the queue for long, and knows arrays
            return self.error
        awake = True
        while awake:
            seen = int(self.crew.done[0])
            if self.going.acquire(blocking=False):
                return self.error
            awake = self.crew.awake(self.crew.done, seen, PATIENT, 0, np.zeros(1, np.int64))
        self.going.acquire()
        return self.error


class _Crew:
    """Threads, as many as were ever asked for at once, and the queue that they take jobs from."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.hiring, self.threads, self.size = Lock(), list[Thread](), 0
        self.core = -1
        """Of the last call: threads keep off it."""
        self.asked, self.done = np.zeros(1, np.int64), np.zeros(1, np.int64)
        """Changed whenever a job is asked for, or done."""
        self.may: bool | None = None
        self.watch: Watch | None = None
        self.calling: set[int] = set()
        """Threads that share work now."""
        self.seen = 0.0
        """When work was last shared, or might have been."""

    def call(self, work: Callable[[], None], times: int) -> list[_Job]:
        if self.size < times:
            self.hire(times)
        if self.may is None and KERNELS in sys.modules:
            self.look()
        if times and (core := current_core()) != self.core:
            self.keep_off(core)
        found = [_Job(work, self) for _ in range(times)]
        for job in found:
            self.jobs.put(job)
        self.asked[0] += 1
        return found

    def hire(self, times: int) -> None:
        with self.hiring:
            while self.size < times:
                self.threads.append(Thread(target=self.serve, name=f"sash-{self.size}", daemon=True))
                self.threads[-1].start()
                self.size, self.core = self.size + 1, -1
            if self.size >= usable_cores() or os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
                self.may, self.watch = False, None

    def look(self) -> None:
        """Whether threads may watch; asked when kernels are there, since what needs none should not load a compiler."""
        from sash.kernels.cpu import bell

        with self.hiring:
            if self.may is None:  # nobody has hired more threads than there are cores meanwhile
                self.may = bell.watches()
                self.watch = bell.watch if self.may else None

    def keep_off(self, core: int) -> None:
        """Threads run on other cores than the caller's, where Linux often wakes them and leaves them waiting for it: of two
        cores one was idle for up to 3 ms."""
        if current_thread() in self.threads:
            return
        every = os.sched_getaffinity(os.getpid())
        self.core = core
        for thread in self.threads:
            with suppress(OSError):
                os.sched_setaffinity(thread.native_id or 0, every - {core} or every)

    def awake(self, news: Counter, seen: int, most: int, more: int, told: Counter) -> bool:
        """Watch for news; False where none came, or nobody may watch."""
        return self.watch is not None and self.watch(news, seen, most, more, told)

    def serve(self) -> None:
        while True:
            job = self.next()
            job.begin()
            del job  # and with it the arrays that it knows

    def next(self) -> _Job:
        awake = True
        while awake:
            seen = int(self.asked[0])
            if not self.jobs.empty():
                try:
                    return self.jobs.get_nowait()
                except Empty:
                    continue
            awake = self.awake(self.asked, seen, AWAKE, LATER, self.done)
        return self.jobs.get()


_crew = _Crew()


def _asks_for_cores() -> Callable[[], int]:
    """What tells the core that the calling thread runs on; -1 where nobody does, or threads cannot be kept off one."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(AttributeError, OSError):
            asked: Callable[[], int] = CDLL(None).sched_getcpu
            return asked
    return lambda: -1


current_core = _asks_for_cores()


def share(one: Callable[[Any], None], boxes: Boxes, crew: int, seconds: float = 1.0) -> None:
    """Call `one` on every box, on `crew` threads of which this is one; the first error stops all and is raised.

    Where all of it takes so few `seconds` that threads which sleep would come too late, this one does it alone; and threads
    that call at the same time share the cores.
    """
    left, failed = iter(boxes), False

    def drain() -> None:
        nonlocal failed
        try:
            for box in left:
                if failed:
                    return
                one(box)
        except BaseException:
            failed = True
            raise

    us, me = _crew, get_ident()
    anew = me not in us.calling
    us.calling.add(me)
    try:
        if (callers := len(us.calling)) > 1:
            crew = min(crew, max(usable_cores() // callers, 1))
        if seconds < BRIEF and perf_counter() - us.seen > RECENT:
            crew = 1
        jobs = us.call(drain, min(crew, len(boxes)) - 1)
        try:
            drain()
        finally:
            errors = [job.end() for job in jobs]
            us.seen = perf_counter()
    finally:
        if anew:
            us.calling.discard(me)
    for error in errors:
        if error:
            raise error


def _alone() -> None:
    """A forked child has none of its parent's threads."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
