"""scikit-image: `match_template`, by FFT. Its filters are SciPy's.

image (C, H, W) or (H, W, C)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from skimage.feature import match_template

from benchmarks.jobs import Match
from benchmarks.truth import Array
from benchmarks.way import Way


def match(job: Match, image: Array, template: Array, mask: Array | None) -> Iterator[Way]:
    if job.metric != "zncc" or mask is not None:
        return

    def run() -> Array:
        score = match_template(image, template)
        flat = score.squeeze(axis=job.channel_axis) if job.channels else score
        return np.asarray(flat[:: job.stride, :: job.stride])

    yield Way("skimage match_template", run, image.size * 0.5e-6)
