"""PyTorch: `conv1d`, `conv2d` and `conv3d`, with one channel or with many; blurs axis by axis after mirrored padding.

x (*N) as (1, 1, *N)   kernel (*K) as (1, 1, *K)       networks: x (N, C, *S)   weight (O, C/groups, *K)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad, unfold

from benchmarks.jobs import Blur, Correlate, Depth, Network
from benchmarks.jobs.depth import PLANES
from benchmarks.peers import CORES
from benchmarks.truth import Array
from benchmarks.way import Way

torch.set_num_threads(CORES)
torch.set_grad_enabled(False)
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
PADS = {"mirror": "reflect", "constant": "constant"}
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
            y = convolve(padded(y, axis + 2, job.radius, job.boundary), weights)
        y = y[:, 0].movedim(0, -1) if job.axes else y[0, 0]
        return np.asarray((y.round().to(torch.uint8) if job.whole else y).numpy())

    yield Way(f"torch conv{count}d", run, job.work() * TAP * 3)


def line(count: int, axis: int) -> tuple[int, ...]:
    """The shape of a 1-D kernel along one axis."""
    return (1, 1, *(-1 if a == axis else 1 for a in range(count)))


def padded(y: torch.Tensor, axis: int, radius: int, boundary: str) -> torch.Tensor:
    """Along one axis: by its own reflection, edge samples twice, for which `pad` has no mode; or as `pad` does it."""
    if boundary == "symmetric":
        first, last = y.narrow(axis, 0, radius), y.narrow(axis, y.shape[axis] - radius, radius)
        return torch.cat((first.flip(axis), y, last.flip(axis)), axis)
    before = [0, 0] * (y.ndim - 1 - axis)
    after = [0, 0] * (axis - 2)
    return pad(y, (*before, radius, radius, *after), PADS[boundary])


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


def network(job: Network, x: Array, weight: Array) -> Iterator[Way]:
    convolve = (TRANSPOSED if job.transposed else CONVOLUTIONS)[len(job.shape) - 1]
    weights = torch.from_numpy(weight)
    settings: dict[str, Any] = {"stride": job.stride, "padding": job.padding, "groups": job.groups}
    name = f"torch conv{'_transpose' * job.transposed}{len(job.shape)}d"
    yield Way(name, lambda: np.asarray(convolve(torch.from_numpy(x), weights, **settings).numpy()), job.work() * 0.1e-9)


def depth(job: Depth, x: Array, z: Array, weight: Array, above: Array) -> Iterator[Way]:
    image, far, weights, upper = (torch.from_numpy(a) for a in (x, z, weight, above))
    plain = job.derived(lambda a, w: torch.conv2d(a, w, stride=job.stride, padding=job.padding), image, weights[PLANES // 2], upper)
    note = "less than the job: one plane for all depths"
    yield Way("torch conv2d, no depth", plain, truth=lambda: job.flat(x, z, weight, above), note=note, reference=True)

    def by_taps(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        found, around, s = planes(job, far), pad(a, (job.padding,) * 4)[0], job.stride
        y = torch.zeros(job.outputs, found.shape[1])
        for t, (i, j) in enumerate(np.ndindex(job.size, job.size)):
            seen = around[:, i::s, j::s][:, : job.out[0], : job.out[1]].flatten(1)
            for l in range(PLANES):
                y = torch.addmm(y, w[l, :, :, i, j], torch.where(found[t] == l, seen, 0), out=None if job.backward else y)
        return y.view(1, job.outputs, *job.out)

    elements = prod(job.out) * job.inputs * job.size**2
    yield Way("torch planes, tap by tap", job.derived(by_taps, image, weights, upper), elements * (40e-9 if job.backward else 10e-9))


def planes(job: Depth, far: torch.Tensor) -> torch.Tensor:
    """(T, P); outside the image depth is 0, which is missing: what is read there is 0 as well."""
    near = unfold(far[None].to(torch.float64), job.size, padding=job.padding, stride=job.stride)[0]
    centre = near[job.size**2 // 2]
    edges = [centre * (1 + (m - PLANES / 2) / job.focal) for m in range(PLANES + 1)]
    found = torch.stack([near >= edge for edge in edges]).sum(0, dtype=torch.int8) - 1
    found[found == PLANES] = -1
    return found.masked_fill_((near <= 0) | (centre <= 0), PLANES // 2)
