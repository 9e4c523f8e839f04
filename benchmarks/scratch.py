"""Peak scratch memory of one call: the high-water mark of a process of its own, minus what it held before and the answer.

Linux only: the mark is reset through /proc. The call has run once before, so libraries, compiled code and what a
contender keeps for good are not counted. ``python -m benchmarks.scratch`` is the `Scale`'s other end.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.jobs import Job
from benchmarks.suites import cells
from benchmarks.trial import OURS, contenders

HERE = Path("/proc/self")
KEEP = 2**16
"""Bytes from which memory is given back to the system at once, so that the second call has to ask for it again."""
LEAST = 2**18
"""Bytes of data from which scratch is worth a process: memory is counted in pages of 4 kB."""
LONGEST = 120
"""Seconds after which a reading is given up."""


class Scale:
    """Readings, each in a process of its own: a fork of one that has opened the libraries and run nothing."""

    def __init__(self) -> None:
        self._other: subprocess.Popen[str] | None = None

    def __enter__(self) -> Scale:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._other:
            self._other.communicate()

    def taken(self, suite: str, cell: str, contender: str, peer: str) -> int | None:
        """Bytes of scratch of one call; None where that cannot be told."""
        if not (HERE / "clear_refs").exists():
            return None
        self._other = self._other or begun()
        assert self._other.stdin and self._other.stdout
        print(json.dumps((suite, cell, contender, peer)), file=self._other.stdin, flush=True)
        told = self._other.stdout.readline().strip()
        return int(told) if told else None


def begun() -> subprocess.Popen[str]:
    """The process that forks."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(KEEP), "MALLOC_TRIM_THRESHOLD_": str(KEEP)}
    command = [sys.executable, "-m", "benchmarks.scratch"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def serve() -> None:
    """Each line asks for a reading, and is answered by one: bytes, or nothing."""
    for line in sys.stdin:
        suite, cell, contender, peer = json.loads(line)
        opened(named(suite, cell), contender, peer)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(LONGEST)
            try:
                found = measure(suite, cell, contender, peer)
                os.write(writer, b"" if found is None else str(found).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            print(told.read(), flush=True)
        os.waitpid(child, 0)


def opened(job: Job | None, contender: str, peer: str) -> None:
    """What a reading needs is imported before the fork, once for all: it takes longer than most readings."""
    if contender == OURS:
        import numba  # noqa: F401
    if contender != OURS or getattr(job, "tensors", False):
        peers.opened("torch" if contender == OURS else peer)


def named(suite: str, cell: str) -> Job | None:
    return next((c.job for c in cells(suite) if c.name == cell), None)


def measure(suite: str, cell: str, contender: str, peer: str) -> int | None:
    """Run twice, the second time between two readings; a part of the job would tell nothing."""
    job = named(suite, cell)
    assert job, f"{suite} has no cell {cell!r}"
    names = () if contender == OURS else (peer,)
    way = next(way for _, way in contenders(job, job.given(), names) if way.name == contender)
    if way.part < 1:
        return None
    way.run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (HERE / "clear_refs").write_text("5")
    before = status("VmRSS")
    answer = way.run()
    held = sum(np.asarray(a).nbytes for a in (answer if isinstance(answer, tuple) else (answer,)))
    return max(0, status("VmHWM") - before - held)


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = (HERE / "status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


if __name__ == "__main__":
    serve()
