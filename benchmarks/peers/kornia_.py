"""Kornia: Gaussians and filters of pictures, and dense filters of volumes.

x (*N) as (1, C, H, W) or (1, 1, D, H, W)   kernel (1, *K)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from kornia.filters import filter2d, filter2d_separable, filter3d, gaussian_blur2d

from benchmarks.jobs import Blur, Correlate
from benchmarks.peers import CORES
from benchmarks.truth import Array
from benchmarks.way import Way, cannot

torch.set_num_threads(CORES)
torch.set_grad_enabled(False)
BORDERS = {"mirror": "reflect", "constant": "constant"}
TAP = 0.7e-9
"""Seconds for each tap of each output (a guess)."""


def blur(job: Blur, x: Array) -> Iterator[Way]:
    name, size = "kornia gaussian_blur2d", 2 * job.radius + 1
    if len(job.blurred) == 3:
        yield cannot(name, "two axes only")
        return
    if job.boundary not in BORDERS:
        yield cannot(name, "it has no such border, only about the last sample")
        return
    lone = len(job.shape) == 1
    taps, spread = ((1, size), (1.0, job.sigma)) if lone else ((size, size), (job.sigma, job.sigma))

    def run() -> Array:
        y = torch.from_numpy(x)
        y = y.movedim(-1, 0)[None] if job.axes else y[None, None, None] if lone else y[None, None]
        y = gaussian_blur2d(y, taps, spread, BORDERS[job.boundary])
        y = y[0].movedim(0, -1) if job.axes else y[0, 0, 0] if lone else y[0, 0]
        return np.asarray((y.round().to(torch.uint8) if job.whole else y).numpy())

    yield Way(name, run, job.work() * TAP * 3)


def correlate(job: Correlate, x: Array, kernel: Array, parts: list[Array]) -> Iterator[Way]:
    kind = x.dtype if x.dtype.kind == "f" else np.dtype("float32")  # which it makes of integers: exact as far as 24 bits
    taps = torch.from_numpy(job.spread(job.turned(kernel)).astype(kind))[None]
    terms, count = prod(job.shape) * taps.numel(), len(job.shape)
    if count == 2:
        yield Way("kornia filter2d", lambda: flat(filter2d(lifted(x), taps, padding="valid"), job.every), terms * TAP)
    elif count == 3:
        yield Way("kornia filter3d", lambda: flat(filter3d(lifted(x), taps, "constant"), inner(job)), terms * TAP)
    if parts and count == 2:
        columns, rows = (torch.from_numpy(job.spread(job.turned(part)))[None] for part in parts)
        run = filter2d_separable
        yield Way("kornia filter2d_separable", lambda: flat(run(lifted(x), rows, columns, padding="valid"), job.every), x.size * TAP * 20)


def inner(job: Correlate) -> tuple[slice, ...]:
    """The valid outputs among all; its middle of an even kernel is the tap before."""
    before = [(job.reach(k) - 1) // 2 for k in job.size]
    return tuple(slice(b, b + (m - 1) * job.stride + 1, job.stride) for b, m in zip(before, job.out, strict=True))


def lifted(x: Array) -> torch.Tensor:
    return torch.from_numpy(x)[None, None]


def flat(y: torch.Tensor, kept: tuple[slice, ...]) -> Array:
    return np.asarray(y[0, 0][kept].numpy())
