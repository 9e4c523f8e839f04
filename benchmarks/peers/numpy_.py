"""NumPy alone: a strided view times the kernel, shift and add, and the other things people write by hand.

x (*N)   kernel (*K)   image (C, H, W) or (H, W, C)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.jobs import Correlate, Match, Split, Views
from benchmarks.truth import Array
from benchmarks.way import Way

COPY = 2**27
"""Bytes of windows that `tensordot` is given at once: it copies them, and past this the copy costs more than it saves."""
MULTIPLIED = 2.5e-9
PASSED = 1e-9
"""Seconds for each window element copied and multiplied, and for each added in a shifted pass (guesses)."""


def correlate(job: Correlate, x: Array, kernel: Array, parts: Any) -> Iterator[Way]:
    taps = job.turned(kernel)
    terms = prod(job.out) * prod(job.size)
    if x.dtype.kind == "f":
        if len(job.shape) == 1 and job.stride == job.dilation == 1:
            yield Way("numpy correlate", lambda: np.correlate(x, taps, "valid"), terms * 0.2e-9)
        else:
            yield Way("numpy tensordot", lambda: tensordot(job, x, taps), terms * MULTIPLIED)
    if len(job.shape) > 1:
        yield Way("numpy shift+add", lambda: shift_add(job, x, taps), terms * PASSED)


def tensordot(job: Correlate, x: Array, kernel: Array) -> Array:
    """A strided view of every window times the kernel, in as many rows at a time as are copied without regret."""
    reach = [job.reach(k) for k in job.size]
    view = sliding_window_view(x, reach)[(*job.every, *(slice(None, None, job.dilation),) * kernel.ndim)]
    row = prod(view.shape[1:]) * x.itemsize
    step = max(1, COPY // row)
    y = np.empty(job.out, x.dtype)
    for i in range(0, len(view), step):
        y[i : i + step] = np.tensordot(view[i : i + step], kernel, kernel.ndim)
    return y


def shift_add(job: Correlate, x: Array, kernel: Array) -> Array:
    """One pass over the whole array per tap, in place."""
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)
    y, passed = np.zeros(job.out, kind), np.empty(job.out, kind)
    for at in product(*map(range, job.size)):
        first = [i * job.dilation for i in at]
        cut = tuple(slice(i, i + (n - 1) * job.stride + 1, job.stride) for i, n in zip(first, job.out, strict=True))
        np.multiply(x[cut], kernel[at], out=passed, dtype=kind)
        y += passed
    return y


def match(job: Match, image: Array, template: Array, mask: Array | None) -> Iterator[Way]:
    if job.metric in ("sad", "ssd") and mask is None:
        yield Way("numpy shift+add", lambda: differences(job, image, template), job.work() * PASSED * 1.5)


def differences(job: Match, image: Array, template: Array) -> Array:
    """One pass per element of the template; bytes in 32-bit integers, which is exact and as fast as floats."""
    pixels = np.moveaxis(job.last(image), -1, 0)
    kind = image.dtype if image.dtype.kind == "f" else np.dtype(np.int32)
    pixels, template = np.ascontiguousarray(pixels, kind), np.moveaxis(job.last(template), -1, 0).astype(kind)
    total, passed = np.zeros(job.out, kind), np.empty(job.out, kind)
    s, (oh, ow) = job.stride, job.out
    for c, i, j in product(*map(range, template.shape)):
        np.subtract(pixels[c, i : i + oh * s : s, j : j + ow * s : s][:oh, :ow], template[c, i, j], out=passed)
        np.absolute(passed, out=passed) if job.metric == "sad" else np.multiply(passed, passed, out=passed)
        total += passed
    span = 1.0 if kind.kind == "f" else 255.0
    return np.asarray(1 - total * np.float32(1 / (template.size * span ** (1 if job.metric == "sad" else 2))))


def views(job: Views, x: Array) -> Iterator[Way]:
    yield Way("numpy views", lambda: np.asarray(sliding_window_view(x, (job.size, job.size))))


def split(job: Split, kernel: Array) -> Iterator[Way]:
    def svd() -> Array:
        u, s, v = np.linalg.svd(kernel, full_matrices=False)
        return np.asarray(np.multiply.outer(u[:, 0] * s[0], v[0]))

    yield Way("numpy svd", svd, note="one term, without looking for more")
