"""The `unfold` way: every patch side by side in one array, then the differences and their mean, or a product of matrices.

image as (1, C, H, W)   patches (C*h*w, OH*OW), all of them at once where memory holds them, else in chunks of rows
(and for zncc, whose temporaries make chunks the faster way).       networks: x (N, C, *S), patches (N, C*T, P)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch.nn.functional import fold, pad, unfold

from benchmarks.jobs import Depth, Match, Network
from benchmarks.jobs.depth import PLANES
from benchmarks.peers import CORES
from benchmarks.peers.pytorch import planes
from benchmarks.truth import Array
from benchmarks.way import Way

torch.set_num_threads(CORES)
CHUNK = 2**25
"""Bytes of patches at a time: about what a third-level cache holds."""
TERM = 5e-9
"""Seconds for each patch element (a guess)."""


def match(job: Match, image: Array, template: Array, mask: Array | None) -> Iterator[Way]:
    if mask is not None or job.metric == "ncc":
        return
    if len(job.image) == 3 and job.stride == 1:
        yield from stack(job, image, template)
        return
    pixels = torch.from_numpy(np.moveaxis(job.last(image), -1, 0))
    flat = torch.from_numpy(np.moveaxis(job.last(template), -1, 0).reshape(-1).astype(np.float32))
    span = 255.0 if job.dtype == "uint8" else 1.0
    oh, ow = job.out

    def rows(first: int, last: int) -> torch.Tensor:
        band = pixels[:, first * job.stride : (last - 1) * job.stride + job.template[0]].to(torch.float32)
        patches = unfold(band[None], job.template, stride=job.stride)[0]
        return score(job.metric, patches, flat, span).reshape(last - first, ow)

    elements = prod(job.out) * flat.numel()
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if elements * 4 * 3 < free / 2 and job.first == oh and job.metric != "zncc":
        yield Way("unfold", lambda: np.asarray(rows(0, oh).numpy()), elements * TERM)
        return
    step = max(1, CHUNK // (4 * ow * flat.numel()))
    done = min(oh, max(step, job.first))

    def chunks() -> Array:
        return np.asarray(torch.cat([rows(i, min(i + step, done)) for i in range(0, done, step)]).numpy())

    yield Way("unfold in chunks", chunks, elements * TERM * done / oh, **job.done(done))


def stack(job: Match, volume: Array, template: Array) -> Iterator[Way]:
    """A volume: the slices under the template as channels, as many positions along the first axis as are done."""
    slices, flat = torch.from_numpy(volume), torch.from_numpy(template.reshape(-1).astype(np.float32))
    span = 255.0 if job.dtype == "uint8" else 1.0
    oz, oh, ow = job.out
    elements = prod(job.out) * flat.numel()
    step = max(1, CHUNK // (4 * ow * flat.numel()))

    def rows(z: int, first: int, last: int) -> torch.Tensor:
        band = slices[z : z + job.template[0], first : last + job.template[1] - 1].to(torch.float32)
        return score(job.metric, unfold(band[None], job.template[1:])[0], flat, span).reshape(last - first, ow)

    def chunks() -> Array:
        each = [torch.cat([rows(z, i, min(i + step, oh)) for i in range(0, oh, step)]) for z in range(job.first)]
        return np.asarray(torch.stack(each).numpy())

    yield Way("unfold in chunks", chunks, elements * TERM * job.first / oz, **job.done(job.first))


def score(metric: str, patches: torch.Tensor, template: torch.Tensor, span: float) -> torch.Tensor:
    """(taps, positions) and (taps,) to (positions,)."""
    if metric == "zncc":
        u = template - template.mean()
        centred = patches - patches.mean(0)
        return (u @ centred) / (centred.square().sum(0) * u.square().sum()).sqrt()
    apart = patches.sub_(template[:, None])
    return 1 - (apart.abs_() if metric == "sad" else apart.square_()).mean(0) / span ** (1 if metric == "sad" else 2)


def network(job: Network, x: Array, weight: Array) -> Iterator[Way]:
    if job.transposed and len(job.shape) != 2:
        return
    groups, count = job.groups, prod(job.sizes)
    rows = torch.from_numpy(weight).reshape(groups, -1, job.outputs // groups * count if job.transposed else job.taps)

    def product() -> Array:
        y = torch.matmul(rows, columns(job, torch.from_numpy(x)).view(job.batch, groups, job.taps, -1))
        return np.asarray(y.view(job.batch, job.outputs, *job.out).numpy())

    def spread() -> Array:
        given = torch.from_numpy(x).view(job.batch, groups, -1, prod(job.shape))
        patches = torch.matmul(rows.mT, given).view(job.batch, job.outputs * count, -1)
        return np.asarray(fold(patches, job.out, job.sizes, padding=job.padding, stride=job.stride).numpy())

    elements = job.batch * prod(job.shape if job.transposed else job.out) * count * (job.outputs if job.transposed else job.inputs)
    if job.transposed:
        yield Way("unfold: matmul, fold", spread, elements * 3e-9)
    else:
        yield Way("unfold, matmul", product, elements * 3e-9)


def columns(job: Network, x: torch.Tensor) -> torch.Tensor:
    """Every window of x as a column (N, C*T, P); `unfold` knows two axes, for others it is a view that is copied."""
    if len(job.shape) == 2:
        return unfold(x, job.sizes, padding=job.padding, stride=job.stride)
    count = len(job.shape)
    view = pad(x, (job.padding,) * 2 * count)
    for axis in range(2, 2 + count):
        view = view.unfold(axis, job.size, job.stride)
    order = (0, 1, *range(2 + count, 2 + 2 * count), *range(2, 2 + count))
    return view.permute(order).reshape(job.batch, job.inputs * prod(job.sizes), -1)


def depth(job: Depth, x: Array, z: Array, weight: Array, above: Array) -> Iterator[Way]:
    image, far, weights, upper = (torch.from_numpy(a) for a in (x, z, weight, above))

    def run(a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        found = planes(job, far)
        patches = unfold(a, job.size, padding=job.padding, stride=job.stride)[0].view(job.inputs, job.size**2, -1)
        each = [w[l].flatten(1) @ torch.where(found == l, patches, 0).flatten(0, 1) for l in range(PLANES)]
        return torch.stack(each).sum(0).view(1, job.outputs, *job.out)

    elements = prod(job.out) * job.inputs * job.size**2
    yield Way("unfold, masked planes", job.derived(run, image, weights, upper), elements * (80e-9 if job.backward else 30e-9))
