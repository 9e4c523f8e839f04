"""The demo's jobs on real data: each with its call, its plan, and the usual ways of doing the same.

brain (x, y, z)   eye (H, W)   photo (H, W, channel)   face (h, w, channel).   Imports: peers, files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sash
from sash.cli import peers
from sash.cli.values import by
from sash.plans import Plan, size

Array = NDArray[Any]

FACE = (slice(60, 150), slice(180, 260))
"""Where the face is in the astronaut's photograph: rows, columns."""
PIECE = (slice(40, 170), slice(160, 280))
"""What of the photograph the unfolded way is given: all its windows would take gigabytes."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The usual way to do a job; on a piece of it where the whole would not fit, and then sash does that piece too."""

    name: str
    run: Callable[[], Array]
    ours: Callable[[], Array] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job: what is done, the call, its plan, and the usual ways."""

    title: str
    call: str
    plan: Plan
    run: Callable[[], Array]
    peers: tuple[Peer, ...]
    tolerance: float
    """Largest difference from a peer that is still the same answer."""


def blur(brain: Array) -> Job:
    """Three passes over a volume; both sides round in float32."""
    return Job(
        f"Blur a brain: {by(brain.shape)} voxels",
        "gaussian_blur(brain, sigma=2)",
        sash.plan("gaussian_blur", brain.shape, sigma=2),
        lambda: sash.gaussian_blur(brain, sigma=2),
        (Peer("scipy.ndimage.gaussian_filter", lambda: peers.gaussian_filter(brain, 2)),),
        tolerance=1e-5 * float(brain.max()),
    )


def stride(eye: Array, kernel: Array) -> Job:
    """Every fourth position of a kernel that is no product of 1-D kernels."""
    windows = np.prod([len(range(0, n - k + 1, 4)) for n, k in zip(eye.shape, kernel.shape, strict=True)])
    copied = size(float(windows) * kernel.size * eye.itemsize)
    return Job(
        f"Look for vessels: {by(eye.shape)} pixels, kernel {by(kernel.shape)}",
        "correlate(eye, kernel, stride=4)",
        sash.plan("correlate", eye.shape, kernel.shape, stride=4),
        lambda: sash.correlate(eye, kernel, stride=4),
        (
            Peer(f"strided view, tensordot ({copied} copied)", lambda: peers.tensordot(eye, kernel, 4)),
            Peer("scipy.signal.fftconvolve, sliced", lambda: peers.fftconvolve(eye, kernel, 4)),
        ),
        tolerance=1e-5 * float(np.abs(kernel).sum()),
    )


def match(photo: Array, face: Array, metric: str, how: str) -> Job:
    """A template with noise in it, by a metric; `how` says what was done to the template."""

    def ours(image: Array) -> Array:
        found: Array = sash.similarity(image, face, metric=metric, channel_axis=2)
        return found

    if metric == "sad":
        piece = np.ascontiguousarray(photo[PIECE])
        peer = Peer(
            f"windows unfolded, on a piece of {by(piece.shape[:2])}",
            lambda: peers.unfolded_sad(piece, face),
            lambda: ours(piece),
        )
    else:
        peer = Peer("skimage match_template", lambda: peers.match_template(photo, face))
    return Job(
        f"Find a face, {how}, in {by(photo.shape)}",
        f'similarity(photo, face, metric="{metric}", channel_axis=2)',
        sash.plan("similarity", photo.shape, face.shape, input_dtype="uint8", metric=metric, channel_axis=2),
        lambda: ours(photo),
        (peer,),
        tolerance=1e-4,
    )


def vessels(sigma: float = 3.0) -> Array:
    """A Laplacian of a Gaussian: answers to dark lines and blobs a few sigma wide."""
    flat, bent = (sash.gaussian_kernel(sigma, order=order) for order in (0, 2))
    return (np.multiply.outer(flat, bent) + np.multiply.outer(bent, flat)).astype(np.float32)


def noisy(x: Array, deviation: float = 20.0) -> Array:
    """The picture as a bad camera takes it."""
    noise = np.random.default_rng(7).normal(0, deviation, x.shape)
    return np.clip(np.rint(x + noise), 0, 255).astype(np.uint8)


def badly_lit(x: Array) -> Array:
    """The picture at 40 % contrast and brighter, by the same camera."""
    return noisy(0.4 * x + 120)
