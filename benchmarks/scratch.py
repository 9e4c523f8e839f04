"""Peak scratch memory of one call: the high-water mark of a process of its own, minus what it held before and the answer.

``python -m benchmarks.scratch SUITE CELL CONTENDER`` prints bytes.  Linux only: the mark is reset through /proc.
The call has run once before, so libraries, compiled code and what a contender keeps for good are not counted.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.suites import cells
from benchmarks.trial import contenders

HERE = Path("/proc/self")
KEEP = 2**16
"""Bytes from which memory is given back to the system at once, so that the second call has to ask for it again."""


def taken(suite: str, cell: str, contender: str, peer: str) -> int | None:
    """Bytes of scratch of one call, measured in a child; None where that cannot be done."""
    if not (HERE / "clear_refs").exists():
        return None
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(KEEP), "MALLOC_TRIM_THRESHOLD_": str(KEEP)}
    command = [sys.executable, "-m", "benchmarks.scratch", suite, cell, contender, peer]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else None


def measure(suite: str, cell: str, contender: str, peer: str) -> int:
    """In the child: run twice, the second time between two readings."""
    job = next(c.job for c in cells(suite) if c.name == cell)
    names = () if peer == contender else (peer,)
    way = next(way for _, way in contenders(job, job.given(), names) if way.name == contender)
    way.run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (HERE / "clear_refs").write_text("5")
    before = status("VmRSS")
    answer = np.asarray(way.run())
    return max(0, status("VmHWM") - before - answer.nbytes)


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = (HERE / "status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))
