"""Where and with what a run was made, and how fast this machine can multiply and add at most.

Imports: NumPy only; versions are read from what is installed, without loading it.
"""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import once
from benchmarks.peers import CORES, PEERS

SIDE = 2048
"""Of the matrices that peak multiply-adds are measured with."""


def record() -> dict[str, Any]:
    """Plain text and numbers: date, processor, cores, versions."""
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": CORES,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "versions": {name: found for name in packages() if (found := installed(name))},
    }


def packages() -> list[str]:
    return ["sash", "numba", *dict.fromkeys(peer.package for peer in PEERS.values())]


def installed(package: str) -> str:
    """The version of a package, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        if package != "sash":
            return ""
    import sash  # from a source tree

    return sash.__version__


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def peak() -> float:
    """float32 multiply-adds a second of a matrix product on all cores: the best of a few."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
    y = np.empty_like(a)
    return float(SIDE**3) / min(once(lambda: np.matmul(a, b, out=y))[1] for _ in range(10))
