"""Threads that share work: started once, woken by a queue, and not waited for unless they began.

An executor's futures took 20 us to wake a thread and as long again to be waited for, of calls of 300.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any


class _Job:
    """Work that another thread does, if one comes before it is called off."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work
        self.error: BaseException | None = None
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
        else:
            self.going.acquire()
        return self.error


class _Crew:
    """Threads, as many as were ever asked for at once, and the queue that they take jobs from."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.hiring, self.size = Lock(), 0

    def call(self, work: Callable[[], None], times: int) -> list[_Job]:
        if self.size < times:
            with self.hiring:
                while self.size < times:
                    Thread(target=_serve, args=(self.jobs,), name=f"sash-{self.size}", daemon=True).start()
                    self.size += 1
        found = [_Job(work) for _ in range(times)]
        for job in found:
            self.jobs.put(job)
        return found


def _serve(jobs: SimpleQueue[_Job]) -> None:
    while True:
        job = jobs.get()
        job.begin()
        del job  # and with it the arrays that it knows


_crew = _Crew()


def share(one: Callable[[Any], None], boxes: Sequence[Any], crew: int) -> None:
    """Call `one` on every box, on `crew` threads of which this is one; the first error stops all and is raised."""
    left = deque(boxes)

    def drain() -> None:
        try:
            while True:
                try:
                    box = left.popleft()
                except IndexError:
                    return
                one(box)
        except BaseException:
            left.clear()
            raise

    jobs = _crew.call(drain, min(crew, len(boxes)) - 1)
    try:
        drain()
    finally:
        errors = [job.end() for job in jobs]
    for error in errors:
        if error:
            raise error


def _alone() -> None:
    """A forked child has none of its parent's threads."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
