"""SimpleITK: its two Gaussians, which are not sampled ones; each is held to its own definition.

x (*S)       Sources: Lindeberg 1990, doi:10.1109/34.49051 (discrete Gaussian); Deriche 1993 (recursive).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import SimpleITK

from benchmarks.jobs import Blur
from benchmarks.peers import CORES
from benchmarks.truth import Array, Truth
from benchmarks.way import Way

sitk: Any = SimpleITK  # its wrappers carry no types
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(CORES)
CUT = 1e-4
"""Weight that the discrete Gaussian may lose: about what a cut at 4 sigma loses."""
RECURSIVE = 2e-2
"""Largest error of the recursive filter that passes, relative to max|x|: its design allows as much for a small sigma."""


def blur(job: Blur, x: Array) -> Iterator[Way]:
    if job.axes or job.whole or x.ndim < 2 or job.boundary != "symmetric":
        return
    image = sitk.GetImageFromArray(x if x.dtype.kind == "f" else x.astype(np.float32))

    alive: list[Any] = []  # a view does not keep its image

    def viewed(y: Any) -> Array:
        alive[:] = [y]
        return np.asarray(sitk.GetArrayViewFromImage(y))

    def discrete() -> Array:
        y = sitk.DiscreteGaussian(
            image, [job.sigma**2] * x.ndim, maximumKernelWidth=16 * job.radius, maximumError=CUT, useImageSpacing=False
        )
        return viewed(y)

    def recursive() -> Array:
        return viewed(sitk.SmoothingRecursiveGaussian(image, job.sigma))

    def bessel() -> Truth:
        return own(job, x, discrete_gaussian(job.sigma**2), job.allowed(x))

    def sampled() -> Truth:
        reach = int(5 * job.sigma + 1)
        at = np.arange(-reach, reach + 1)
        taps = np.exp(-0.5 * (at / job.sigma) ** 2)
        return own(job, x, taps / taps.sum(), RECURSIVE * float(np.max(np.abs(x))))

    edges = "edges repeated"
    yield Way("simpleitk discrete", discrete, job.work() * 1.5e-9, truth=bessel, note=f"Bessel kernel, {edges}")
    yield Way("simpleitk recursive", recursive, x.size * 30e-9, truth=sampled, note=f"approximate, {edges}")


def discrete_gaussian(variance: float) -> Array:
    """Lindeberg's kernel: exp(-t) I_n(t), as far as it takes to keep all but `CUT` of its weight."""
    from scipy import special

    half = special.ive(np.arange(int(8 * variance**0.5) + 9), variance)
    radius = int(np.argmax(half[0] + 2 * np.cumsum(half[1:]) >= 1 - CUT)) + 1
    line = np.concatenate((half[radius:0:-1], half[: radius + 1]))
    return np.asarray(line / line.sum())


def own(job: Blur, x: Array, line: Array, allowed: float) -> Truth:
    """Blurred by `line` along every axis in float64, the edge samples repeated."""
    from scipy import ndimage

    y = x.astype(np.float64)
    for axis in range(x.ndim):
        y = ndimage.correlate1d(y, line, axis, mode="nearest")
    return Truth(job.shape, y, allowed)
