"""MONAI: `GaussianFilter`, which pads with zeros.

x (*S) as (1, 1, *S)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from monai.networks.layers.simplelayers import GaussianFilter

from benchmarks.jobs import Blur
from benchmarks.peers import CORES
from benchmarks.truth import Array
from benchmarks.way import Way, cannot

torch.set_num_threads(CORES)
torch.set_grad_enabled(False)


def blur(job: Blur, x: Array) -> Iterator[Way]:
    name = "monai GaussianFilter"
    if job.boundary != "constant":
        yield cannot(name, "it pads with zeros only")
    elif not (job.axes or job.whole or x.dtype != np.float32):  # its kernel is float32
        layer = GaussianFilter(x.ndim, job.sigma, truncated=job.radius / job.sigma, approx="sampled")
        yield Way(name, lambda: np.asarray(layer(torch.from_numpy(x)[None, None])[0, 0].numpy()), job.work() * 2e-9)
