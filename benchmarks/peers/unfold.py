"""The `unfold` way: every patch side by side in one array, then the differences, then their mean.

image as (1, C, H, W)   patches (C*h*w, OH*OW), all of them at once where memory holds them, else in chunks of rows
(and for zncc, whose temporaries make chunks the faster way).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch.nn.functional import unfold

from benchmarks.jobs import Match
from benchmarks.peers import CORES
from benchmarks.truth import Array
from benchmarks.way import Way

torch.set_num_threads(CORES)
CHUNK = 2**25
"""Bytes of patches at a time: about what a third-level cache holds."""
TERM = 5e-9
"""Seconds for each patch element (a guess)."""
LONGEST = 4e9
"""Patch elements past which only the first rows are done, as many as `SHARE` of them fill."""
SHARE = 3e8


def match(job: Match, image: Array, template: Array, mask: Array | None) -> Iterator[Way]:
    if mask is not None or job.metric == "ncc":
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
    if elements * 4 * 3 < free / 2 and elements < LONGEST and job.metric != "zncc":
        yield Way("unfold", lambda: np.asarray(rows(0, oh).numpy()), elements * TERM)
        return
    step = max(1, CHUNK // (4 * ow * flat.numel()))
    done = oh if elements < LONGEST else min(oh, max(step, oh * int(SHARE) // elements))

    def chunks() -> Array:
        return np.asarray(torch.cat([rows(i, min(i + step, done)) for i in range(0, done, step)]).numpy())

    note = "" if done == oh else f"{done} of {oh} rows, scaled"
    yield Way("unfold in chunks", chunks, elements * TERM * done / oh, note=note, part=done / oh)


def score(metric: str, patches: torch.Tensor, template: torch.Tensor, span: float) -> torch.Tensor:
    """(taps, positions) and (taps,) to (positions,)."""
    if metric == "zncc":
        u = template - template.mean()
        centred = patches - patches.mean(0)
        return (u @ centred) / (centred.square().sum(0) * u.square().sum()).sqrt()
    apart = patches.sub_(template[:, None])
    return 1 - (apart.abs_() if metric == "sad" else apart.square_()).mean(0) / span ** (1 if metric == "sad" else 2)
