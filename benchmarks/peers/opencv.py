"""OpenCV: pictures directly; volumes slice by slice with a pass along z, the slices shared among threads.

x (*N)   kernel (*K)   image (C, H, W) or (H, W, C); OpenCV's own order is (H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import cv2
import numpy as np

from benchmarks.jobs import Blur, Correlate, Match, Network, Taps
from benchmarks.peers import CORES
from benchmarks.truth import Array, Truth
from benchmarks.way import Way

cv2.setNumThreads(CORES)
POOL = ThreadPoolExecutor(CORES)
COLUMNS = 4096
"""Of a volume at a time, in the pass along z."""
DEPTH = {"uint8": cv2.CV_8U, "uint16": cv2.CV_16U, "float32": cv2.CV_32F, "float64": cv2.CV_64F}
DIRECT = 11 * 11
"""Taps from which filter2D goes by FFT: integers then come back exact from float64 alone, and only after rounding."""
EDGES = {"symmetric": cv2.BORDER_REFLECT, "mirror": cv2.BORDER_REFLECT_101, "constant": cv2.BORDER_CONSTANT}
METHODS = {"ssd": cv2.TM_SQDIFF, "ncc": cv2.TM_CCORR_NORMED, "zncc": cv2.TM_CCOEFF_NORMED}


def blur(job: Blur, x: Array) -> Iterator[Way]:
    size, edge = 2 * job.radius + 1, EDGES[job.boundary]
    if len(job.shape) == 3 and not job.axes:
        flat = np.empty(x.shape, job.kept)  # kept from call to call, as one who has many volumes would
        yield Way("opencv slices + z pass", lambda: volume(job, x, flat), job.work() * 0.3e-9)
    elif len(job.shape) == 1:
        yield Way("opencv GaussianBlur", lambda: cv2.GaussianBlur(x[None], (size, 1), job.sigma, borderType=edge)[0])
    elif job.kept == job.dtype:
        slack, note = (2.0, "fixed point, up to 2 levels off") if job.whole else (1.0, "")
        run = cv2.GaussianBlur
        yield Way("opencv GaussianBlur", lambda: run(x, (size, size), job.sigma, borderType=edge), slack=slack, note=note)
        if not job.whole:
            line, depth = job.weights(), DEPTH[job.kept]
            yield Way("opencv sepFilter2D", lambda: cv2.sepFilter2D(x, depth, line, line, borderType=edge))


def volume(job: Blur, x: Array, flat: Array) -> Array:
    """Each slice by itself; then z as the rows of a picture (Z, Y*X), in columns that fit the cache.

    Threads of ours with one of OpenCV's each: 37 ms for 256³ where OpenCV's own threads took 54 (two cores of an EPYC).
    """
    line, one, depth, edge = job.weights(), np.ones(1), DEPTH[job.kept], EDGES[job.boundary]
    y = np.empty(x.shape, job.kept)
    source, target = flat.reshape(len(x), -1), y.reshape(len(x), -1)

    def across(share: int) -> None:
        for z in range(share * len(x) // CORES, (share + 1) * len(x) // CORES):
            cv2.sepFilter2D(x[z], depth, line, line, dst=flat[z], borderType=edge)

    def along(first: int) -> None:
        cut = slice(first, first + COLUMNS)
        cv2.sepFilter2D(source[:, cut], depth, one, line, dst=target[:, cut], borderType=edge | cv2.BORDER_ISOLATED)

    cv2.setNumThreads(1)
    try:
        list(POOL.map(across, range(CORES)))
        list(POOL.map(along, range(0, source.shape[1], COLUMNS)))
    finally:
        cv2.setNumThreads(CORES)
    return y


def correlate(job: Correlate, x: Array, kernel: Array, parts: Any) -> Iterator[Way]:
    taps = job.spread(job.turned(kernel))
    if job.dtype != "uint8":
        kind, note = job.dtype, ""
    elif taps.size < DIRECT:
        kind, note = "float32", "to float32, exact up to 2²⁴"
    else:
        kind, note = "float64", "to float64, rounded"
    taps, depth = taps.astype(kind), DEPTH[kind]
    if len(job.shape) == 3:
        stack = x.reshape(-1, x.shape[-1])
        if prod(job.size) <= 1000:
            yield Way("opencv filter2D per plane", lambda: planes(job, stack, taps, depth), prod(job.shape) * len(taps) * 5e-9)
        return
    if len(job.shape) == 1:
        yield Way("opencv filter2D", lambda: cv2.filter2D(x[None], depth, taps[None])[0][job.inner])
        return

    def plane() -> Array:
        y = cv2.filter2D(x, depth, taps)[job.inner]
        return np.asarray(np.rint(y) if kind == "float64" != job.dtype else y)

    yield Way("opencv filter2D", plane, note=note)
    if parts:
        rows, columns = (job.spread(job.turned(part)) for part in parts)
        yield Way("opencv sepFilter2D", lambda: cv2.sepFilter2D(x, depth, columns, rows)[job.inner])


def planes(job: Correlate, stack: Array, taps: Array, depth: int) -> Array:
    """The volume as one tall picture, filtered once per plane of the kernel; what crosses a seam is no valid output."""
    every, *inner = job.inner
    reach, out, y = job.reach(job.size[0]), job.out[0], np.zeros(job.out, taps.dtype)
    for z in range(0, reach, job.dilation):
        filtered = cv2.filter2D(stack, depth, taps[z]).reshape(job.shape)
        y += filtered[(slice(z, z + (out - 1) * job.stride + 1, job.stride), *inner)]
    return np.asarray(np.rint(y) if depth == cv2.CV_64F and job.dtype == "uint8" else y)


def network(job: Network, x: Array, weight: Array) -> Iterator[Way]:
    if job.tensors or not job.few or len(job.shape) != 2:
        return

    def filtered(a: Array, o: int, c: int) -> Array:
        return np.asarray(cv2.filter2D(a, cv2.CV_32F, weight[o, c], borderType=cv2.BORDER_CONSTANT))

    yield Way("opencv filter2D, by pairs", lambda: job.summed(x, filtered), x.size * job.outputs // job.groups * 5e-9)


def match(job: Match, image: Array, template: Array, mask: Array | None) -> Iterator[Way]:
    if job.metric not in METHODS:
        return
    if len(job.image) == 3:
        if job.metric == "ssd" or job.template[0] == 1:
            yield Way("opencv matchTemplate, slices", lambda: stack(job, image, template, mask), job.work() * 0.1e-9)
        return
    method, count = METHODS[job.metric], template.size
    order = {"image": np.ascontiguousarray(job.last(image)), "template": np.ascontiguousarray(job.last(template))}
    ready = order["image"] if job.channel_axis else None  # channels first are brought into order while the clock runs
    weights = None if mask is None else np.ascontiguousarray(np.broadcast_to(mask[..., None], order["template"].shape))
    weight = float(count if weights is None else weights.sum())
    span = 255.0 if job.dtype == "uint8" else 1.0

    def run() -> Array:
        pixels = ready if ready is not None else np.ascontiguousarray(job.last(image))
        score = cv2.matchTemplate(pixels, order["template"], method, mask=weights)[:: job.stride, :: job.stride]
        return np.asarray(1 - score * np.float32(1 / (weight * span**2))) if job.metric == "ssd" else score

    own: Callable[[], Truth] | None = None
    note = ""
    if job.metric == "zncc" and job.channels > 1:
        own, note = lambda: job.truth(image, template, mask, per_channel=True), "each channel loses its own mean"
    yield Way("opencv matchTemplate", run, truth=own, note=note)


def stack(job: Match, volume: Array, template: Array, mask: Array | None) -> Array:
    """Slice by slice; squared differences add up over the template's slices, the correlations do not."""
    method, s = METHODS[job.metric], job.stride
    score = np.zeros(job.out, np.float32)
    for z in range(job.out[0]):
        for t, slice_ in enumerate(template):
            weights = None if mask is None else mask[t]
            score[z] += cv2.matchTemplate(volume[z * s + t], slice_, method, mask=weights)[::s, ::s]
    weight = float(template.size if mask is None else mask.sum())
    return score if job.metric != "ssd" else 1 - score * np.float32(1 / (weight * (255.0 if job.dtype == "uint8" else 1.0) ** 2))


def taps(job: Taps) -> Iterator[Way]:
    yield Way("opencv getGaussianKernel", lambda: cv2.getGaussianKernel(job.size, job.sigma)[:, 0])
