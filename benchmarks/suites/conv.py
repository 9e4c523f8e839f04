"""Convolutions of networks and their transposes: one channel to many, one image and eight, two axes and three.

Imports: jobs, trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from benchmarks.jobs import Network
from benchmarks.trial import Cell

PLANES = (
    Network(1, 1, (224, 224), 3),
    Network(3, 16, (224, 224), 3),
    Network(16, 32, (224, 224), 3),
    Network(64, 64, (112, 112), 3),
    Network(64, 64, (112, 112), 3, groups=64),
)
WIDE = (Network(1, 1, (224, 224), 5), Network(3, 16, (224, 224), 5), Network(1, 1, (2048, 2048), 5))
UP = tuple(replace(job, shape=(n, n), stride=2, transposed=True) for job, n in zip(PLANES, (112, 112, 112, 56, 56), strict=True))
VOLUMES = (
    Network(1, 1, (32, 64, 64), 3),
    Network(1, 1, (48, 48, 48), 5),
    Network(3, 16, (32, 64, 64), 3),
    Network(16, 32, (32, 64, 64), 3),
    Network(64, 64, (16, 32, 32), 3),
    Network(64, 64, (16, 32, 32), 3, groups=64),
)
RISING = tuple(Network(i, o, shape, 4, stride=2, transposed=True) for i, o, shape in ((1, 1, (16, 32, 32)), (32, 16, (16, 32, 32))))

FEW = 3
"""Input channels up to which a cell is counted among the few."""


def batches(jobs: tuple[Network, ...], *counts: int) -> Iterator[Network]:
    return (replace(job, batch=n) for job, n in product(jobs, counts))


JOBS = (
    *batches(PLANES, 1, 8),
    *(replace(job, stride=2) for job in batches(PLANES, 1, 8)),
    *WIDE,
    *(replace(job, size=4) for job in batches(UP, 1, 8)),
    *UP,
    *VOLUMES,
    *(replace(job, stride=2) for job in VOLUMES),
    *batches(RISING, 1),
)

QUICK = {
    "1→1 2048², 5² NumPy",
    "3→16 224², 3² NumPy",
    "8 of 3→16 224², 3² PyTorch",
    "16→32 224², 3² stride 2 PyTorch",
    "64→64 112², 3² NumPy",
    "8 of 64 depthwise 112², 3² PyTorch",
    "64→64 56², 4² stride 2 transposed PyTorch",
    "16→32 32×64², 3³ NumPy",
}


def title(job: Network) -> str:
    """As `8 of 16→32 224², 3² stride 2 PyTorch`."""
    axes = "²³"[len(job.shape) - 2]
    extent = f"{job.shape[0]}{axes}" if len(set(job.shape)) == 1 else f"{job.shape[0]}×{job.shape[1]}²"
    name = f"{job.batch} of " * (job.batch > 1) + (f"{job.groups} depthwise" if job.groups > 1 else f"{job.inputs}→{job.outputs}")
    name += f" {extent}, {job.size}{axes}" + f" stride {job.stride}" * (job.stride > 1) + " transposed" * job.transposed
    return f"{name} {'PyTorch' if job.tensors else 'NumPy'}"


def cell(job: Network) -> Cell:
    name = title(job)
    group = "depthwise" if job.groups > 1 else "few channels" if job.inputs <= FEW else "many channels"
    return Cell(name, job, "quick" if name in QUICK else "all", group)


CELLS = tuple(cell(replace(job, tensors=tensors)) for job, tensors in product(JOBS, (False, True)))
