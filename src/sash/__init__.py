"""sash: everything that slides a window over an array, one engine, the fastest right method for each problem.

>>> import numpy as np, sash
>>> sash.correlate(np.arange(8), [1, -2, 1], stride=2)
array([0, 0, 0])

Names are loaded when first used (PEP 562), so that ``import sash`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sash.calibration import calibrate
    from sash.crossovers import Crossover, crossover
    from sash.errors import SashError
    from sash.machine import Machine
    from sash.ops.conv import conv, conv_transpose
    from sash.ops.correlate import convolve, correlate, separable_filter
    from sash.ops.depth import DepthReport, conv2_5d, depth_planes, depth_report
    from sash.ops.explain import plan
    from sash.ops.gaussian import gaussian_blur, gaussian_kernel
    from sash.ops.separation import Separation, separate
    from sash.ops.similarity import similarity
    from sash.ops.windows import windows
    from sash.plans import Plan
    from sash.tiles import threads
    from sash.window import Window
    from sash.wisdom import export_wisdom, forget_wisdom, import_wisdom

__version__ = "0.1.0"

_HOMES = {
    "Crossover": "crossovers",
    "DepthReport": "ops.depth",
    "Machine": "machine",
    "Plan": "plans",
    "SashError": "errors",
    "Separation": "ops.separation",
    "Window": "window",
    "calibrate": "calibration",
    "conv": "ops.conv",
    "conv2_5d": "ops.depth",
    "conv_transpose": "ops.conv",
    "convolve": "ops.correlate",
    "correlate": "ops.correlate",
    "crossover": "crossovers",
    "depth_planes": "ops.depth",
    "depth_report": "ops.depth",
    "export_wisdom": "wisdom",
    "forget_wisdom": "wisdom",
    "gaussian_blur": "ops.gaussian",
    "gaussian_kernel": "ops.gaussian",
    "import_wisdom": "wisdom",
    "plan": "ops.explain",
    "separable_filter": "ops.correlate",
    "separate": "ops.separation",
    "similarity": "ops.similarity",
    "threads": "tiles",
    "windows": "ops.windows",
}
"""Every public name, and the module that it lives in."""

__all__ = [
    "Crossover",
    "DepthReport",
    "Machine",
    "Plan",
    "SashError",
    "Separation",
    "Window",
    "calibrate",
    "conv",
    "conv2_5d",
    "conv_transpose",
    "convolve",
    "correlate",
    "crossover",
    "depth_planes",
    "depth_report",
    "export_wisdom",
    "forget_wisdom",
    "gaussian_blur",
    "gaussian_kernel",
    "import_wisdom",
    "plan",
    "separable_filter",
    "separate",
    "similarity",
    "threads",
    "windows",
]


def __getattr__(name: str) -> Any:
    if name == "nn":
        from importlib import import_module

        return import_module("sash.nn")
    if name not in _HOMES:
        raise AttributeError(f"module 'sash' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"sash.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
