"""NumPy alone: a strided view times the kernel, shift and add, and the other things people write by hand.

x (*N)   kernel (*K)   image (*N), or with channels       networks: x (N, C, *S)   weight (O, C/groups, *K)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.jobs import Correlate, Match, Network, Split, Views
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
    for at in np.ndindex(*job.size):
        first = [i * job.dilation for i in at]
        cut = tuple(slice(i, i + (n - 1) * job.stride + 1, job.stride) for i, n in zip(first, job.out, strict=True))
        np.multiply(x[cut], kernel[at], out=passed, dtype=kind)
        y += passed
    return y


def network(job: Network, x: Array, weight: Array) -> Iterator[Way]:
    if job.tensors:
        return
    terms = job.work()
    if job.transposed:
        yield Way("numpy tap by tap", lambda: scattered(job, x, weight), terms * 0.1e-9 + job.batch * prod(job.out) * job.outputs * 10e-9)
    elif job.groups == 1:
        yield Way("numpy tensordot", lambda: patches(job, x, weight), terms * MULTIPLIED / job.outputs)
    elif job.groups == job.inputs == job.outputs:
        yield Way("numpy einsum", lambda: apart(job, x, weight), terms * MULTIPLIED)


def slid(job: Network, x: Array) -> Array:
    """A strided view of every window of x with zeros around it: (N, C, *out, *K)."""
    axes = range(2, x.ndim)
    view = sliding_window_view(np.pad(x, ((0, 0), (0, 0), *[(job.padding,) * 2 for _ in axes])), job.sizes, tuple(axes))
    return view[:, :, *[slice(None, None, job.stride) for _ in axes]]


def patches(job: Network, x: Array, weight: Array) -> Array:
    """The view times the weights, in as many rows at a time as are copied without regret."""
    view, taps = slid(job, x), range(-len(job.shape), 0)
    row = prod(job.out[1:]) * job.taps * x.itemsize
    step = max(1, COPY // row)
    y = np.empty((job.batch, job.outputs, *job.out), x.dtype)
    for n in range(job.batch):
        for i in range(0, job.out[0], step):
            y[n, :, i : i + step] = np.tensordot(weight, view[n, :, i : i + step], ((1, *range(2, weight.ndim)), (0, *taps)))
    return y


def apart(job: Network, x: Array, weight: Array) -> Array:
    """Each channel by itself."""
    view = slid(job, x)
    places, taps = [*range(2, 2 + len(job.shape))], [*range(2 + len(job.shape), view.ndim)]
    return np.asarray(np.einsum(view, [0, 1, *places, *taps], weight[:, 0], [1, *taps], [0, 1, *places]))


def scattered(job: Network, x: Array, weight: Array) -> Array:
    """Every sample times the weights of a tap, added where that tap writes; the border is cut off at the end."""
    n, each = job.batch, job.outputs // job.groups
    wide = [m + 2 * job.padding for m in job.out]
    y = np.zeros((n, job.outputs, *wide), x.dtype)
    columns = x.reshape(n, job.groups, -1, prod(job.shape))
    rows = weight.reshape(job.groups, -1, each, *job.sizes)
    for tap in np.ndindex(*job.sizes):
        given = np.matmul(rows[:, :, :, *tap].transpose(0, 2, 1), columns)
        where = [slice(t, t + (m - 1) * job.stride + 1, job.stride) for t, m in zip(tap, job.shape, strict=True)]
        y[:, :, *where] += given.reshape(n, job.outputs, *job.shape)
    return y[:, :, *[slice(job.padding, job.padding + m) for m in job.out]]


def match(job: Match, image: Array, template: Array, mask: Array | None) -> Iterator[Way]:
    if job.metric in ("sad", "ssd") and mask is None:
        guess = job.work() * job.first / job.out[0] * PASSED * 1.5
        yield Way("numpy shift+add", lambda: differences(job, image, template), guess, **job.done(job.first))


def differences(job: Match, image: Array, template: Array) -> Array:
    """One pass per element of the template; bytes in 32-bit integers, which is exact and as fast as floats."""
    out = (job.first, *job.out[1:])
    pixels = np.moveaxis(job.last(image)[: (job.first - 1) * job.stride + job.template[0]], -1, 0)
    kind = image.dtype if image.dtype.kind == "f" else np.dtype(np.int32)
    pixels, template = np.ascontiguousarray(pixels, kind), np.moveaxis(job.last(template), -1, 0).astype(kind)
    total, passed = np.zeros(out, kind), np.empty(out, kind)
    for c, *at in np.ndindex(*template.shape):
        cut = tuple(slice(i, i + (n - 1) * job.stride + 1, job.stride) for i, n in zip(at, out, strict=True))
        np.subtract(pixels[(c, *cut)], template[(c, *at)], out=passed)
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
