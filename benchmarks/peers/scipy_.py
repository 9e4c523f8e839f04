"""SciPy: ndimage, which goes tap by tap on one thread, and signal, which goes by FFT on all of them.

x (*N)   kernel (*K)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from scipy import fft, ndimage, signal

from benchmarks.jobs import Blur, Correlate, Network, Taps
from benchmarks.jobs.blur import NDIMAGE
from benchmarks.peers import CORES
from benchmarks.truth import Array
from benchmarks.way import Way

TAP = 1.4e-9
"""Seconds for each tap of each output of `ndimage` (a guess)."""


def blur(job: Blur, x: Array) -> Iterator[Way]:
    settings: dict[str, Any] = {"axes": job.blurred, "radius": job.radius, "mode": NDIMAGE[job.boundary]}

    def run() -> Array:
        if job.whole:  # an integer output would be cut off after every axis, not rounded
            y = ndimage.gaussian_filter(x, job.sigma, output=np.float32, **settings)
            return np.asarray(np.rint(y).astype(job.kept))
        return np.asarray(ndimage.gaussian_filter(x, job.sigma, output=job.kept, **settings))

    yield Way("scipy gaussian_filter", run, job.work() * TAP)


def correlate(job: Correlate, x: Array, kernel: Array, parts: Any) -> Iterator[Way]:
    taps = job.spread(job.turned(kernel))
    whole = x.dtype.kind != "f"
    kind = np.dtype(np.int64) if whole else x.dtype
    if parts:
        lines = [job.spread(job.turned(part)) for part in parts]

        def separable() -> Array:
            y = x
            for axis, line in enumerate(lines):
                y = ndimage.correlate1d(y, line, axis)
            return np.asarray(y[job.inner])

        yield Way("scipy correlate1d", separable, prod(job.shape) * sum(job.size) * TAP)
    yield Way("scipy correlate", lambda: ndimage.correlate(x, taps, kind)[job.inner], prod(job.shape) * prod(job.size) * TAP)

    flipped = np.ascontiguousarray(np.flip(taps))

    def by_fft(convolve: Callable[..., Array]) -> Callable[[], Array]:
        def run() -> Array:
            with fft.set_workers(CORES):
                y = convolve(x, flipped, mode="valid")[job.every]
            return np.rint(y).astype(kind) if whole else y

        return run

    if prod(job.shape) > 4096:  # for little ones nobody would
        yield Way("scipy oaconvolve", by_fft(signal.oaconvolve), prod(job.shape) * 200e-9)
        yield Way("scipy fftconvolve", by_fft(signal.fftconvolve), prod(job.shape) * 100e-9)


def network(job: Network, x: Array, weight: Array) -> Iterator[Way]:
    if job.tensors or not job.few:
        return
    flipped = np.ascontiguousarray(np.flip(weight, tuple(range(2, weight.ndim))))
    samples = x.size * job.outputs // job.groups

    def correlated(a: Array, o: int, c: int) -> Array:
        return np.asarray(ndimage.correlate(a, weight[o, c], mode="constant"))

    def by_fft() -> Array:
        with fft.set_workers(CORES):
            return job.summed(x, lambda a, o, c: np.asarray(signal.oaconvolve(a, flipped[o, c], mode="same")))

    yield Way("scipy correlate, by pairs", lambda: job.summed(x, correlated), samples * prod(job.sizes) * TAP)
    yield Way("scipy oaconvolve, by pairs", by_fft, samples * 100e-9)


def taps(job: Taps) -> Iterator[Way]:
    def run() -> Array:
        window = signal.windows.gaussian(job.size, job.sigma)
        return np.asarray(window / window.sum())

    yield Way("scipy windows.gaussian", run)
