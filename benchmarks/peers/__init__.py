"""The index of peers: one file each, which is imported when its turn comes and left out where its library is not installed.

A peer's file has a generator of ways for each kind of job that it can do: `blur(job, *given)`, `correlate`, `match`, ...
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from benchmarks.way import Way

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Threads that every peer may use, where it can use more than one."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, or a way of using one, and the file that says how."""

    name: str
    module: str
    package: str
    """Its name for pip."""


PEERS = {
    peer.name: peer
    for peer in (
        Peer("numpy", "numpy_", "numpy"),
        Peer("scipy", "scipy_", "scipy"),
        Peer("opencv", "opencv", "opencv-python-headless"),
        Peer("skimage", "skimage_", "scikit-image"),
        Peer("simpleitk", "simpleitk", "SimpleITK"),
        Peer("torch", "pytorch", "torch"),
        Peer("unfold", "unfold", "torch"),
        Peer("monai", "monai_", "monai"),
        Peer("kornia", "kornia_", "kornia"),
    )
}


@lru_cache(maxsize=len(PEERS))
def opened(name: str) -> ModuleType | None:
    """The peer's file, or None where its library is not installed; one that is there but broken raises its own error."""
    try:
        return import_module(f"benchmarks.peers.{PEERS[name].module}")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("benchmarks"):
            raise
        return None


def ways(name: str, job: Any, given: tuple[Any, ...]) -> Iterator[Way]:
    """Every way in which a peer does a job."""
    does = getattr(opened(name), job.kind, None)
    if does:
        yield from does(job, *given)
