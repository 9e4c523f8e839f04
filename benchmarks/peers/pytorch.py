"""PyTorch: `conv1d`, `conv2d` and `conv3d` with one channel; blurs axis by axis after mirrored padding.

x (*N) as (1, 1, *N)   kernel (*K) as (1, 1, *K)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch

from benchmarks.jobs import Blur, Correlate
from benchmarks.peers import CORES
from benchmarks.truth import Array
from benchmarks.way import Way

torch.set_num_threads(CORES)
torch.set_grad_enabled(False)
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
TAP = 0.7e-9
"""Seconds for each tap of each output (a guess)."""


def blur(job: Blur, x: Array) -> Iterator[Way]:
    count = len(job.blurred)
    taps = torch.from_numpy(job.weights().astype("float32" if job.whole else job.kept))
    lines = [taps.reshape(line(count, axis)) for axis in range(count)]
    convolve = CONVOLUTIONS[count - 1]

    def run() -> Array:
        y = torch.from_numpy(x).to(lines[0].dtype)
        y = y.movedim(-1, 0)[:, None] if job.axes else y[None, None]  # channels become a batch
        for axis, weights in enumerate(lines):
            y = convolve(mirrored(y, axis + 2, job.radius), weights)
        y = y[:, 0].movedim(0, -1) if job.axes else y[0, 0]
        return np.asarray((y.round().to(torch.uint8) if job.whole else y).numpy())

    yield Way(f"torch conv{count}d", run, job.work() * TAP * 3)


def line(count: int, axis: int) -> tuple[int, ...]:
    """The shape of a 1-D kernel along one axis."""
    return (1, 1, *(-1 if a == axis else 1 for a in range(count)))


def mirrored(y: torch.Tensor, axis: int, radius: int) -> torch.Tensor:
    """Padded along one axis by its own reflection, edge samples twice: `F.pad` has no such mode."""
    first, last = y.narrow(axis, 0, radius), y.narrow(axis, y.shape[axis] - radius, radius)
    return torch.cat((first.flip(axis), y, last.flip(axis)), axis)


def correlate(job: Correlate, x: Array, kernel: Array, parts: Any) -> Iterator[Way]:
    kind = "float32" if x.dtype.kind != "f" else job.dtype  # exact for bytes as far as 24 bits
    convolve = CONVOLUTIONS[len(job.shape) - 1]
    settings: dict[str, Any] = {"stride": job.stride, "dilation": job.dilation}
    weights = torch.from_numpy(job.turned(kernel).astype(kind))[None, None]

    def dense() -> Array:
        return np.asarray(convolve(torch.from_numpy(x).to(weights.dtype)[None, None], weights, **settings)[0, 0].numpy())

    name = f"torch conv{len(job.shape)}d"
    if parts:
        lines = [torch.from_numpy(job.turned(part)).reshape(line(len(parts), a)) for a, part in enumerate(parts)]

        def separable() -> Array:
            y = torch.from_numpy(x)[None, None]
            for axis, each in enumerate(lines):
                at = [1] * len(lines)
                at[axis] = job.stride
                y = convolve(y, each, stride=at, dilation=job.dilation)
            return np.asarray(y[0, 0].numpy())

        yield Way(f"{name}, by axes", separable, job.work() * TAP)
    yield Way(name, dense, prod(job.out) * prod(job.size) * TAP)
