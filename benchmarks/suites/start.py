"""What a process waits for: the import, and the first call of every verb with an empty and with a filled cache.

Each reading is a process of its own.  Imports: clock, trial; sash is imported by the children only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from benchmarks.clock import Times

EMPTY, FILLED, IMPORT = 2.0, 0.6, 1.5
"""Allowed: seconds of a first call with an empty and with a filled cache; the import, as a multiple of NumPy's."""

CALLS = {
    "correlate": "sash.correlate(x, x[:5, :5])",
    "correlate, 63²": "sash.correlate(x, x[:63, :63])",
    "correlate, volume": "sash.correlate(v, v[:3, :3, :3])",
    "correlate, bytes": "sash.correlate(b, b[:5, :5])",
    "convolve": "sash.convolve(x, x[:5, :5])",
    "separable_filter": "sash.separable_filter(x, [x[0, :5], x[1, :5]])",
    "gaussian_blur": "sash.gaussian_blur(x, 2)",
    "gaussian_blur, volume": "sash.gaussian_blur(v, 2)",
    "gaussian_blur, bytes": "sash.gaussian_blur(b, 2, dtype='uint8')",
    "similarity sad": "sash.similarity(x, x[:24, :24])",
    "similarity sad, bytes": "sash.similarity(b, b[:24, :24])",
    "similarity zncc": "sash.similarity(x, x[:24, :24], metric='zncc')",
    "conv": "sash.conv(maps, w[0])",
    "conv_transpose": "sash.conv_transpose(maps, w[0], stride=2)",
    "conv2_5d": "sash.conv2_5d(maps, depth, w, focal=500, padding=1)",
    "separate": "sash.separate(x[:5, :5])",
    "gaussian_kernel": "sash.gaussian_kernel(2)",
    "windows": "sash.windows(x, 5)",
    "plan": "sash.plan('correlate', (99, 99), (5, 5))",
}
"""Calls on a picture x, its bytes b, a volume v, and 16 feature maps with depth: with the import of sash, they are what is timed."""

SETTING = """
import numpy as np
from time import perf_counter
rng = np.random.default_rng(0)
x, v = rng.standard_normal((512, 512), np.float32), rng.standard_normal((64, 64, 64), np.float32)
b = rng.integers(0, 256, x.shape, np.uint8)
maps, w = rng.standard_normal((1, 16, 64, 64), np.float32), rng.standard_normal((3, 16, 16, 3, 3), np.float32)
depth = np.linspace(1, 2, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
start = perf_counter()
import sash
{}
print(perf_counter() - start)
"""
IMPORTING = """
from time import perf_counter
start = perf_counter()
import {}
print(perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Wait:
    """One reading, what it may be at most, and its unit."""

    name: str
    times: Times
    value: float
    allowed: float
    unit: str

    @property
    def within(self) -> bool:
        return self.value <= self.allowed


def waits(rounds: int, text: str = "") -> Iterator[Wait]:
    """All of them, or those with this text in their name."""
    if text in "import":
        yield imports(max(rounds, 7))
    for name, call in CALLS.items():
        if text not in name:
            continue
        code = SETTING.format(call)
        with TemporaryDirectory() as cache:
            empty = Times((child(code, cache),))
            filled = Times(tuple(child(code, cache) for _ in range(rounds)))
        yield Wait(f"{name}, empty cache", empty, empty.median, EMPTY, "s")
        yield Wait(f"{name}, filled cache", filled, filled.median, FILLED, "s")


def imports(rounds: int) -> Wait:
    """sash's import beside NumPy's, in turns."""
    theirs, ours = [], []
    child(IMPORTING.format("sash"))
    for _ in range(rounds):
        theirs.append(child(IMPORTING.format("numpy")))
        ours.append(child(IMPORTING.format("sash")))
    mine = Times(tuple(ours))
    return Wait("import sash / import numpy", mine, mine.median / Times(tuple(theirs)).median, IMPORT, "×")


def child(code: str, cache: str | None = None) -> float:
    """Seconds that a new process reports."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"A child process failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)
